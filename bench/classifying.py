"""How fast pictures are classified, beside torch and beside the two floors.

The packaged classifier. Cells as in sampling.py. Eager PyTorch runs as it comes and with subnormal numbers flushed.

    python bench/classifying.py --rounds 5
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from floors import Step, squares, step_of, write_files
from measure import (
    EAGER,
    ORT_FLOOR,
    TORCH_FLOOR,
    best_of,
    common,
    compare_batches,
    work_or_compare,
)

FLUSHED = f"{EAGER}, flushed"
FILES = {outputs: {"outputs": outputs} for outputs in ("image", "steps")}


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=1.0)
    parser.add_argument("--model", default="cluttered-mnist", help="a packaged classifier")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of each process")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    work_or_compare(parser, worker, compare)


def compare(arguments: argparse.Namespace) -> None:
    write_files(packaged(arguments.model), arguments.folder, FILES)
    compare_batches(arguments, [ORT_FLOOR, TORCH_FLOOR, EAGER, FLUSHED, *FILES], f"{arguments.model},")


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a call of one contender, by batch size."""
    (name,), threads, model = arguments.worker, arguments.threads[0], arguments.model
    if name in (EAGER, FLUSHED):
        step = eager(model, threads, name == FLUSHED)
    else:
        step = step_of(name, arguments.folder, threads, lambda: packaged(model).config)
    return {str(batch): best_of(step(batch), arguments.seconds) for batch in arguments.batch}


def eager(model: str, threads: int, flush: bool) -> Step:
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    checkpoint = packaged(model)
    network, image = checkpoint.build(), checkpoint.config.image

    @torch.inference_mode()
    def classify(pictures: torch.Tensor) -> Any:
        return network(pictures)

    shape = (image.channels, image.height, image.width)
    return lambda batch: partial(classify, torch.from_numpy(squares(batch, shape)))


def packaged(name: str) -> Any:
    """The weights beside this folder: the installed package leaves the large ones out."""
    from draw_onnx.models.checkpoint import load_checkpoint

    return load_checkpoint(Path(__file__).resolve().parent.parent / "pretrained" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
