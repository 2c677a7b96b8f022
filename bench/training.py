"""How fast an update is on a CPU, beside a plain PyTorch loop and beside the floor.

Subnormals are flushed for all of them. Cells as in sampling.py; the peer is the plain loop of bench/plain.py. The floors are
the matrix products of the LSTMs, the heads and the windows alone, forward and twice for the backward pass, in float32;
bfloat16 can pass 100 %, because its products are cheaper. It is left out on a CPU that would emulate them.

    python bench/training.py --models mnist-paper cluttered-mnist --rounds 3 --seconds 10
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from floors import onnx_floor, torch_floor, write_floor
from floors import update as products
from measure import (
    ORT_FLOOR,
    TORCH_FLOOR,
    best_of,
    common,
    instruction_set,
    save_json,
    shares_table,
    work_or_compare,
    workers_in_turns,
)

from draw_onnx.models.config import DrawConfig
from draw_onnx.train.presets import PRESETS, Preset, find_preset

PLAIN = "plain loop"
# Name -> (precision, time steps compiled).
WAYS: dict[str, tuple[str, bool]] = {
    "32-true": ("32-true", False),
    "32-true --compile": ("32-true", True),
    "bf16-mixed": ("bf16-mixed", False),
    "bf16-mixed --compile": ("bf16-mixed", True),
}


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=10.0)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["mnist-paper", "cluttered-mnist"],
        choices=[name for name, preset in PRESETS.items() if has_peer(preset)],
        help="presets that bench/plain.py has a loop for",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=[], choices=WAYS, help="ways to leave out")
    work_or_compare(parser, worker, compare)


def has_peer(preset: Preset) -> bool:
    """Whether bench/plain.py can be this model, and its update this one: square pictures of one channel, windows, Adam."""
    config, plain = preset.model, preset.settings.optimizer == "adam" and not preset.settings.write_window
    windows = not isinstance(config, DrawConfig) or (config.attention and config.prior == "standard")
    return plain and windows and config.image.channels == 1 and config.image_height == config.image_width


def compare(arguments: argparse.Namespace) -> None:
    """All ways of all presets in turns, and the table."""
    cpu = instruction_set()
    without = {*arguments.without, *(name for name in WAYS if "bf16" in name and "BF16" not in cpu)}
    ways = [name for name in (ORT_FLOOR, TORCH_FLOOR, PLAIN, *WAYS) if name not in without]
    for preset in arguments.models:
        write_floor(products(find_preset(preset).model), arguments.folder / f"{preset}.onnx")
    workers = {f"{preset}: {name}": [preset, name] for preset in arguments.models for name in ways}
    raw, failed = workers_in_turns(arguments, workers, arguments.threads)
    save_json(arguments.json, raw)
    seconds: dict[str, dict[str, float]] = {name: {} for name in ways}
    for label, values in raw.items():
        preset, name = label.split(": ", 1)
        seconds[name][preset] = statistics.median(values)
    whole = {name: of for name, of in seconds.items() if len(of) == len(arguments.models)}
    print(f"an update with the preset's batch, {arguments.threads} thread(s), {cpu}\n")
    print(shares_table(whole, {preset: preset for preset in arguments.models}, failed, PLAIN))


def worker(arguments: argparse.Namespace) -> float:
    preset, name = arguments.worker
    chosen = find_preset(preset)
    batch = chosen.settings.batch_size
    if name == ORT_FLOOR:
        run = onnx_floor(arguments.folder / f"{preset}.onnx", batch, arguments.threads)
        return best_of(run, arguments.seconds)
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(arguments.threads)
    if name == TORCH_FLOOR:
        run = torch_floor(products(chosen.model), batch)
    else:
        run = plain(preset) if name == PLAIN else update(preset, *WAYS[name])
    return best_of(run, arguments.seconds)


def plain(preset: str) -> Callable[[], Any]:
    """An update of the plain loop: forward, backward, clip and Adam's step."""
    import torch
    from plain import PlainClassifier, PlainDraw

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
    """The trainer's update on a random batch, without data and logs: forward, backward, clip and step.

    On a GPU each call waits for its end; ``captured`` replays it as one CUDA graph.
    """
    import torch
    from lightning_fabric import Fabric

    from draw_onnx.train.data.dataset import Dataset, Split
    from draw_onnx.train.settings import Hardware
    from draw_onnx.train.stages import Place, Stage, Start
    from draw_onnx.train.update import Update

    chosen = find_preset(preset)
    settings, image = chosen.settings.replace(precision=precision, compile=compiled), chosen.model.image
    fabric = Fabric(accelerator=device, devices=1)
    stored = Split(torch.zeros(1, *image, dtype=torch.uint8))  # is never asked for a batch
    data = Dataset(name=preset, image=image, train=stored, evaluations={}, binary=False)
    start, hardware = Start(Place((Stage(settings, chosen.model),))), Hardware(cuda_graph=captured)
    step = Update(start, data, fabric, hardware)
    generator = torch.Generator(fabric.device).manual_seed(0)
    size = (settings.batch_size, *image)
    images = torch.rand(size, generator=generator, device=fabric.device)
    labels = torch.randint(10, size[:1], generator=generator, device=fabric.device)
    batch = images, labels, step.objective.noise(settings.batch_size, generator)

    def run() -> None:
        step.on(*batch)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
