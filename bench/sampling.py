"""How fast pictures are drawn, beside torch and beside the two floors.

Each cell is the speed as a share of the bare matrix products' through ONNX Runtime, as a share of the same through torch
(floors.py), and times eager PyTorch's. measure.py says how it is measured.

    python bench/sampling.py --threads 1 2 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from floors import Step, file_call, open_session, step_of, write_files
from measure import (
    EAGER,
    ORT_FLOOR,
    TORCH_FLOOR,
    best_of,
    common,
    compare_batches,
    work_or_compare,
)

from draw_onnx.models.config import DrawConfig

# The paper's MNIST decoder (table 3).
T, HIDDEN, LATENT, WRITE, SIDE = 64, 256, 100, 5, 28

ONNX_FILES: dict[str, dict[str, Any]] = {
    "image": {"outputs": "image"},
    "steps": {"outputs": "steps"},
    "lstm": {"outputs": "image", "recurrence": "lstm"},
    "lstm steps": {"outputs": "steps", "recurrence": "lstm"},
    "fp16": {"outputs": "image", "dtype": "fp16"},
}
BATCH = "image --batch"  # a file for each number of pictures at a time
TRACED = "torch.onnx.export *"  # timed for a few steps and scaled: the tables say so
CONTENDERS = [ORT_FLOOR, TORCH_FLOOR, EAGER, "torch.compile", TRACED, *ONNX_FILES, BATCH]


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=1.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of each process")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    parser.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS, help="contenders")
    parser.add_argument("--time-steps", type=int, default=T, help=f"T of the decoder ({T}, the paper's)")
    parser.add_argument(
        "--traced-steps",
        type=int,
        default=4,
        help="steps of the traced graph: tracing all 64 takes minutes, so its time is scaled up from these",
    )
    work_or_compare(parser, worker, compare)


def compare(arguments: argparse.Namespace) -> None:
    """Run every contender and print a table for each number of threads."""
    fixed = {f"{BATCH} {n}": {"outputs": "image", "batch": n} for n in arguments.batch}
    prepare(arguments.folder, model_config(arguments.time_steps), ONNX_FILES | fixed)
    always = (ORT_FLOOR, TORCH_FLOOR, EAGER)
    contenders = [name for name in CONTENDERS if name in arguments.only or name in always]
    steps, traced = arguments.time_steps, arguments.traced_steps
    scaled = (
        f" (* {traced} steps traced, their time times {steps / traced:g})" if TRACED in contenders else ""
    )
    compare_batches(arguments, contenders, f"MNIST decoder, h {HIDDEN}, T {steps}{scaled};")


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a call of one contender, by batch size, and where a file is loaded, of that."""
    (name,), folder, threads = arguments.worker, arguments.folder, arguments.threads[0]
    scale = 1.0
    result: dict[str, float] = {}
    start = time.perf_counter()
    if name == TRACED:
        step = traced_sampler(folder, threads, arguments.traced_steps)
        scale = arguments.time_steps / arguments.traced_steps
    elif name in (EAGER, "torch.compile"):
        step = torch_sampler(folder, threads, compiled=name != EAGER)
    elif name == BATCH:
        step = batch_files(folder, threads)
    else:
        step = step_of(name, folder, threads, lambda: model_config(arguments.time_steps))
    if name in ONNX_FILES:
        result["load"] = time.perf_counter() - start
    for batch in arguments.batch:
        result[str(batch)] = scale * best_of(step(batch), arguments.seconds)
    return result


def model_config(time_steps: int, hidden: int = HIDDEN, side: int = SIDE) -> DrawConfig:
    return DrawConfig(1, side, side, time_steps, hidden, LATENT, 2, WRITE)


def prepare(folder: Path, config: DrawConfig, files: dict[str, dict[str, Any]]) -> None:
    """A checkpoint with random weights, our files and the floor's."""
    import torch

    from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint

    torch.manual_seed(0)
    checkpoint = Checkpoint(config, "mnist", build_model(config).state_dict())
    write_files(checkpoint, folder, files)
    save_checkpoint(folder / "draw.ckpt", checkpoint)


def batch_files(folder: Path, threads: int) -> Step:
    return lambda batch: file_call(open_session(folder / f"{BATCH} {batch}.onnx", threads), batch)


def torch_model(folder: Path, threads: int) -> Any:
    import torch

    from draw_onnx.models.checkpoint import load_checkpoint

    torch.set_num_threads(threads)
    return load_checkpoint(folder / "draw.ckpt").build()


def torch_sampler(folder: Path, threads: int, compiled: bool = False) -> Step:
    """``compiled``: a step compiled, the loop eager, because compiling 64 unrolled steps takes minutes."""
    import torch

    model = torch_model(folder, threads)
    if compiled:
        model.paint = torch.compile(model.paint, dynamic=True)

    @torch.inference_mode()
    def draw(noise: torch.Tensor) -> Any:
        return model.generate(noise).image

    return lambda batch: partial(draw, torch.randn(batch, model.config.time_steps, LATENT))


def traced_sampler(folder: Path, threads: int, steps: int) -> Step:
    """What torch.onnx.export makes of the plain loop, with ``steps`` steps."""
    path = folder / f"traced-{steps}.onnx"
    if not path.exists():
        import torch

        class Generate(torch.nn.Module):
            def __init__(self, model: Any) -> None:
                super().__init__()
                self.model = model

            def forward(self, noise: Any) -> Any:
                return self.model.generate(noise).image

        noise = torch.randn(2, steps, LATENT)
        module = Generate(torch_model(folder, threads)).eval()
        sizes = {"noise": {0: torch.export.Dim("batch_size")}}
        torch.onnx.export(
            module, (noise,), path, input_names=["noise"], dynamic_shapes=sizes, dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
        # Torch is in this process now; a fresh one times the file.
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ))
    return partial(file_call, open_session(path, threads))


if __name__ == "__main__":
    main()
