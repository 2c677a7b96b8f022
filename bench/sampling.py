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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from floors import decoder, onnx_floor, open_session, torch_floor, write_floor
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

# The paper's MNIST decoder (table 3).
T, HIDDEN, LATENT, WRITE, SIDE = 64, 256, 100, 5, 28

ONNX_FILES: dict[str, dict[str, Any]] = {
    "image": {"outputs": "image"},
    "steps": {"outputs": "steps"},
    "lstm": {"outputs": "image", "recurrence": "lstm"},
    "lstm steps": {"outputs": "steps", "recurrence": "lstm"},
    "fp16": {"outputs": "image", "dtype": "fp16"},
}
CONTENDERS = [ORT_FLOOR, TORCH_FLOOR, EAGER, "torch.compile", "torch.onnx.export", *ONNX_FILES]


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
    arguments = parser.parse_args()
    work_or_compare(arguments, worker, compare)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Run every contender and print a table for each number of threads."""
    prepare(folder, arguments.time_steps)
    raw: dict[int, Any] = {}
    for threads in arguments.threads:
        options = ["--threads", str(threads), "--batch", *map(str, arguments.batch)]
        options += ["--time-steps", str(arguments.time_steps), "--traced-steps", str(arguments.traced_steps)]
        commands = {
            name: [*again(__file__, arguments, folder, name), *options]
            for name in CONTENDERS
            if name in arguments.only or name in (ORT_FLOOR, TORCH_FLOOR, EAGER)
        }
        raw[threads], failed = in_turns(commands, arguments.rounds, threads)
        print(
            f"MNIST decoder, h {HIDDEN}, T {arguments.time_steps}; {threads} thread(s), {instruction_set()}\n"
        )
        columns = {str(n): f"{n} at a time" for n in arguments.batch}
        print(shares_table(medians(raw[threads]), columns, failed) + "\n", flush=True)
    save_json(arguments.json, raw)


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a call of one contender, by batch size, and where a file is loaded, of that."""
    name, folder, threads = arguments.worker[0], arguments.folder, arguments.threads[0]
    products, scale = decoder(model_config(arguments.time_steps)), 1.0
    result: dict[str, float] = {}
    if name in ONNX_FILES:
        step, result["load"] = onnx_sampler(folder / f"{name}.onnx", threads)
    elif name == ORT_FLOOR:
        step = lambda batch: onnx_floor(folder / "floor.onnx", batch, threads)  # noqa: E731
    elif name == "torch.onnx.export":
        step, _ = traced_sampler(folder, threads, arguments.traced_steps)
        scale = arguments.time_steps / arguments.traced_steps
    else:
        import torch

        torch.set_num_threads(threads)
        model = None if name == TORCH_FLOOR else torch_model(folder / "draw.ckpt", threads)
        if model is None:
            step = lambda batch: torch_floor(products, batch)  # noqa: E731
        else:
            step = torch_sampler(model, name == "torch.compile")
    for batch in arguments.batch:
        result[str(batch)] = scale * best_of(step(batch), arguments.seconds)
    return result


Sampler = Callable[[int], Callable[[], Any]]  # batch -> a call that draws so many pictures


def model_config(time_steps: int, hidden: int = HIDDEN, side: int = SIDE) -> Any:
    from draw_onnx.models.config import DrawConfig

    return DrawConfig(1, side, side, time_steps, hidden, LATENT, 2, WRITE)


def prepare(folder: Path, time_steps: int) -> None:
    """A checkpoint with random weights, our files and the floor's."""
    import torch

    from draw_onnx.export import ExportOptions, build
    from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint

    torch.manual_seed(0)
    config = model_config(time_steps)
    checkpoint = Checkpoint(config, "mnist", build_model(config).state_dict())
    save_checkpoint(folder / "draw.ckpt", checkpoint)
    for name, options in ONNX_FILES.items():
        (folder / f"{name}.onnx").write_bytes(build(checkpoint, ExportOptions(**options)))
    write_floor(decoder(config), folder / "floor.onnx")


def onnx_sampler(path: Path, threads: int) -> tuple[Sampler, float]:
    import numpy as np

    start = time.perf_counter()
    session = open_session(path, threads)
    load = time.perf_counter() - start
    shape = session.get_inputs()[0].shape[1:]

    def step(batch: int) -> Callable[[], Any]:
        noise = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
        return lambda: session.run(None, {"noise": noise})

    return step, load


def torch_model(checkpoint: Path, threads: int) -> Any:
    import torch

    from draw_onnx.models.checkpoint import load_checkpoint

    torch.set_num_threads(threads)
    return load_checkpoint(checkpoint).build()


def torch_sampler(model: Any, compiled: bool) -> Sampler:
    """``compiled``: a step compiled, the loop eager, because compiling 64 unrolled steps takes minutes."""
    import torch

    if compiled:
        model._paint = torch.compile(model._paint, dynamic=True)

    def step(batch: int) -> Callable[[], Any]:
        noise = torch.randn(batch, model.config.time_steps, LATENT)

        def run() -> Any:
            with torch.inference_mode():
                return model.generate(noise).image

        return run

    return step


def traced_sampler(folder: Path, threads: int, steps: int) -> tuple[Sampler, float]:
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
        module = Generate(torch_model(folder / "draw.ckpt", threads)).eval()
        sizes = {"noise": {0: torch.export.Dim("batch_size")}}
        torch.onnx.export(
            module, (noise,), path, input_names=["noise"], dynamic_shapes=sizes, dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
        # Torch is in this process now; a fresh one times the file.
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ))
    return onnx_sampler(path, threads)


if __name__ == "__main__":
    main()
