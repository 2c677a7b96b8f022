"""How fast an update is on a CPU, beside torch's ways to speed it up and beside the floor.

Each contender runs in a process of its own. The floor is the matrix products of the LSTMs, the heads and the
windows alone, forward and twice for the backward pass, in float32: what is printed are shares of its speed,
measured in the same run. bfloat16 can pass 100 %, because its products are cheaper than the floor's. On a machine
that is doing something else the figures mean nothing.

    python bench/training.py --models mnist cluttered-mnist --seconds 12
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampling import best_of

# Name -> (precision of Lightning Fabric, one time step compiled).
WAYS: dict[str, tuple[str, bool]] = {
    "32-true": ("32-true", False),
    "32-true --compile": ("32-true", True),
    "bf16-mixed": ("bf16-mixed", False),
    "bf16-mixed --compile": ("bf16-mixed", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mnist", "cluttered-mnist"], help="presets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="time spent on each figure")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        preset, name = arguments.worker
        print(json.dumps(worker(preset, name, arguments.threads, arguments.seconds)))
        return
    print(
        f"an update with the preset's batch, {arguments.threads} thread(s); per cent of the SGEMM floor's speed"
    )
    for preset in arguments.models:
        floor_seconds = measure(preset, "floor", arguments)
        assert isinstance(floor_seconds, float), floor_seconds
        for name in WAYS:
            value = measure(preset, name, arguments)
            share = f"{floor_seconds / value:6.0%}" if isinstance(value, float) else f" skipped: {value}"
            print(f"{preset:<18} {name:<22} {share}", flush=True)


def measure(preset: str, name: str, arguments: argparse.Namespace) -> float | str:
    """Seconds an update, or the last line of what went wrong."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", preset, name]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return float(json.loads(done.stdout.splitlines()[-1]))


def worker(preset: str, name: str, threads: int, seconds: float) -> float:
    import torch

    torch.set_num_threads(threads)
    return best_of(floor(preset) if name == "floor" else update(preset, *WAYS[name]), seconds)


def update(preset: str, precision: str, compiled: bool) -> Callable[[], Any]:
    """Forward, backward, clip and step on a random batch: what Trainer does, without data and logs."""
    import torch
    from lightning_fabric import Fabric

    from draw_onnx.models.checkpoint import build_model
    from draw_onnx.train.objective import make_objective
    from draw_onnx.train.optimizer import make_optimizer
    from draw_onnx.train.presets import find_preset

    chosen = find_preset(preset)
    settings, image = chosen.settings, chosen.model.image
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = build_model(chosen.model)
    if compiled:
        model.compile_step()
    objective = make_objective(model, settings.glimpse_loss)
    forward, optimizer = fabric.setup(objective, make_optimizer(objective, settings, fabric.device, False))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(settings.batch_size, image.channels, image.height, image.width, generator=generator)
    labels = torch.randint(10, (settings.batch_size,), generator=generator)
    noise = objective.noise(settings.batch_size, generator)

    def run() -> None:
        optimizer.zero_grad()
        fabric.backward(forward(images, labels, noise)["loss"])
        fabric.clip_gradients(forward, optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False)
        optimizer.step()

    return run


def floor(preset: str) -> Callable[[], Any]:
    """The products of one step, T times, thrice."""
    import torch

    from draw_onnx.models.config import DrawConfig
    from draw_onnx.train.presets import find_preset

    chosen = find_preset(preset)
    config, batch = chosen.model, chosen.settings.batch_size
    h, image, read = config.hidden_size, config.image, config.read_size
    linear: list[tuple[int, int]] = []  # inputs, outputs
    windows: list[tuple[int, int]] = []  # planes, N
    if isinstance(config, DrawConfig):
        z, planes = config.latent_size, image.channels
        linear += [(config.read_length + 2 * h, 4 * h), (z + h, 4 * h), (h, 2 * z)]
        if config.attention:
            linear += [(h, 10 + planes * config.write_size**2)]
            windows += [(2 * planes, read), (planes, config.write_size)]
        else:
            linear += [(h, planes * image.height * image.width)]
    else:
        linear += [(image.channels * read**2 + h, 4 * h), (h, 5 + len(config.labels))]
        windows += [(image.channels, read)]
    products = [(torch.randn(batch, a), torch.randn(a, b)) for a, b in linear]
    for planes, n in windows:
        for a, b, c in ((n, image.height, image.width), (n, image.width, n)):
            products.append((torch.randn(batch * planes, a, b), torch.randn(batch * planes, b, c)))

    def run() -> None:
        with torch.inference_mode():
            for _ in range(3 * config.time_steps):
                for left, right in products:
                    torch.matmul(left, right)

    return run


if __name__ == "__main__":
    main()
