"""How fast pictures are classified, beside torch and beside the two floors.

The packaged classifier. Cells as in sampling.py. Eager PyTorch runs as it comes and with subnormal numbers flushed.

    python bench/classifying.py --rounds 5
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from floors import classifier, onnx_floor, open_session, torch_floor, write_floor
from measure import (
    EAGER,
    ORT_FLOOR,
    TORCH_FLOOR,
    again,
    best_of,
    common,
    in_turns,
    instruction_set,
    medians,
    save_json,
    shares_table,
    work_or_compare,
)

FLUSHED = f"{EAGER}, flushed"
CONTENDERS = [ORT_FLOOR, TORCH_FLOOR, EAGER, FLUSHED, "image", "steps"]


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=1.0)
    parser.add_argument("--model", default="cluttered-mnist", help="a packaged classifier")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of each process")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    arguments = parser.parse_args()
    work_or_compare(arguments, worker, compare)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    from draw_onnx.export import ExportOptions, build

    checkpoint = packaged(arguments.model)
    write_floor(classifier(checkpoint.config), folder / "floor.onnx")
    for outputs in ("image", "steps"):
        (folder / f"{outputs}.onnx").write_bytes(build(checkpoint, ExportOptions(outputs=outputs)))
    raw: dict[int, Any] = {}
    for threads in arguments.threads:
        options = ["--threads", str(threads), "--batch", *map(str, arguments.batch)]
        options += ["--model", arguments.model]
        commands = {name: [*again(__file__, arguments, folder, name), *options] for name in CONTENDERS}
        raw[threads], failed = in_turns(commands, arguments.rounds, threads)
        print(f"{arguments.model}, {threads} thread(s), {instruction_set()}\n")
        columns = {str(n): f"{n} at a time" for n in arguments.batch}
        print(shares_table(medians(raw[threads]), columns, failed) + "\n", flush=True)
    save_json(arguments.json, raw)


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a call of one contender, by batch size."""
    name, folder, threads = arguments.worker[0], arguments.folder, arguments.threads[0]
    return {
        str(batch): best_of(
            call(name, folder, threads, batch, arguments.model),
            arguments.seconds,
        )
        for batch in arguments.batch
    }


def call(name: str, folder: Path, threads: int, batch: int, model: str) -> Callable[[], Any]:
    if name in ("image", "steps"):
        session = open_session(folder / f"{name}.onnx", threads)
        pictures = squares(batch, session.get_inputs()[0].shape[1:])
        return lambda: session.run(None, {"image": pictures})
    if name == ORT_FLOOR:
        return onnx_floor(folder / "floor.onnx", batch, threads)
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(name == FLUSHED)
    checkpoint = packaged(model)
    if name == TORCH_FLOOR:
        return torch_floor(classifier(checkpoint.config), batch)
    network, image = checkpoint.build(), checkpoint.config.image
    tensor = torch.from_numpy(squares(batch, (image.channels, image.height, image.width)))

    def run() -> Any:
        with torch.inference_mode():
            return network(tensor)

    return run


def squares(batch: int, shape: Any) -> Any:
    """Pictures with a bright square each: random pixels would keep every window in the middle."""
    import numpy as np

    generator = np.random.default_rng(0)
    pictures = np.zeros((batch, *shape), np.float32)
    for k in range(batch):
        y, x = generator.integers(0, shape[1] - 20), generator.integers(0, shape[2] - 20)
        pictures[k, :, y : y + 20, x : x + 8] = 1
    return pictures


def packaged(name: str) -> Any:
    """The weights beside this folder: the installed package leaves the large ones out."""
    from draw_onnx.models.checkpoint import load_checkpoint

    return load_checkpoint(Path(__file__).resolve().parent.parent / "pretrained" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
