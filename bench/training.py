"""How fast an update is on a CPU, beside a plain PyTorch loop and beside the floor.

Each contender runs in a process of its own, subnormals flushed in all of them, and they take turns: the best of several
rounds counts. The peer is bench/plain.py. The floor is the matrix products of the LSTMs, the heads and the windows
alone, forward and twice for the backward pass, in float32. Printed are speeds relative to the plain loop's and shares of
the floor's; bfloat16 can pass 100 %, because its products are cheaper than the floor's. On a machine that is doing
something else the figures mean nothing.

    python bench/training.py --models mnist-paper cluttered-mnist --rounds 3 --seconds 10
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

from measure import best_of, instruction_set

# Name -> (precision, time steps compiled).
WAYS: dict[str, tuple[str, bool]] = {
    "32-true": ("32-true", False),
    "32-true --compile": ("32-true", True),
    "bf16-mixed": ("bf16-mixed", False),
    "bf16-mixed --compile": ("bf16-mixed", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mnist-paper", "cluttered-mnist"], help="presets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="time spent on each figure in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=WAYS, help="ways to leave out")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        preset, name = arguments.worker
        print(json.dumps(worker(preset, name, arguments.threads, arguments.seconds)))
        return
    print(f"an update with the preset's batch, {arguments.threads} thread(s), {instruction_set()}")
    print(f"{'':<18} {'':<22} {'of the plain loop':>18} {'of the SGEMM floor':>19}")
    ways = [name for name in WAYS if name not in arguments.without]
    for preset in arguments.models:
        best: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for name in ("floor", "plain", *ways):
                value = measure(preset, name, arguments)
                if isinstance(value, str):
                    print(f"{preset:<18} {name:<22} skipped: {value}")
                else:
                    best[name] = min(value, best.get(name, value))
        for name in ("plain", *ways):
            if name in best:
                times, share = best["plain"] / best[name], best["floor"] / best[name]
                print(f"{preset:<18} {name:<22} {times:17.2f}x {share:19.0%}", flush=True)


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

    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    if name == "floor":
        return best_of(floor(preset), seconds)
    return best_of(plain(preset) if name == "plain" else update(preset, *WAYS[name]), seconds)


def plain(preset: str) -> Callable[[], Any]:
    """An update of the plain loop: forward, backward, clip and Adam's step."""
    import torch
    from plain import PlainClassifier, PlainDraw

    from draw_onnx.models.config import DrawConfig
    from draw_onnx.train.presets import find_preset

    chosen = find_preset(preset)
    config, batch = chosen.model, chosen.settings.batch_size
    torch.manual_seed(0)
    images = torch.rand(batch, 1, config.image_height, config.image_width)
    if isinstance(config, DrawConfig):
        model = PlainDraw(
            config.image_width, config.hidden_size, config.latent_size, config.read_size, config.write_size
        )
        other = torch.randn(batch, config.time_steps, config.latent_size)
    else:
        classes = len(config.labels)
        model = PlainClassifier(
            config.image_width, config.hidden_size, config.read_size, config.time_steps, classes
        )
        other = torch.randint(classes, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), lr=chosen.settings.learning_rate)

    def run() -> None:
        optimizer.zero_grad()
        model(images, other).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.settings.clip_norm)
        optimizer.step()

    return run


def update(
    preset: str, precision: str, compiled: bool, device: str = "cpu", captured: bool = False
) -> Callable[[], Any]:
    """Forward, backward, clip and step on a random batch: what Trainer does, without data and logs.

    On a GPU each call waits for its end; ``captured`` replays it as one CUDA graph.
    """
    import torch
    from lightning_fabric import Fabric

    from draw_onnx.models.checkpoint import build_model
    from draw_onnx.train.cuda_graph import CapturedUpdate
    from draw_onnx.train.objective import make_objective
    from draw_onnx.train.optimizer import make_optimizer
    from draw_onnx.train.presets import find_preset

    chosen = find_preset(preset)
    settings, image = chosen.settings, chosen.model.image
    fabric = Fabric(accelerator=device, devices=1)
    torch.manual_seed(0)
    model = build_model(chosen.model)
    if precision == "bf16-mixed":
        model.product_dtype = torch.bfloat16
    if compiled:
        model.compile_chunk()
    objective = make_objective(model, settings.glimpse_loss)
    plain_optimizer = make_optimizer(objective, settings, fabric.device, captured)
    forward, optimizer = fabric.setup(objective, plain_optimizer)
    generator = torch.Generator(fabric.device).manual_seed(0)
    size = (settings.batch_size, image.channels, image.height, image.width)
    images = torch.rand(size, generator=generator, device=fabric.device)
    labels = torch.randint(10, size[:1], generator=generator, device=fabric.device)
    noise = objective.noise(settings.batch_size, generator)

    def one(images: torch.Tensor, labels: torch.Tensor | None, noise: torch.Tensor | None) -> dict[str, Any]:
        optimizer.zero_grad()
        loss = forward(images, labels, noise)["loss"]
        fabric.backward(loss)
        fabric.clip_gradients(forward, optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False)
        optimizer.step()
        return {"loss": loss.detach()}

    step = CapturedUpdate(one, plain_optimizer, images, labels, noise) if captured else one

    def run() -> None:
        step(images, labels, noise)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

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
