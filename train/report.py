"""What a run says of itself: what it trains, the line of each validation, how to go on, and what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import command_line, format_duration
from ..models.config import DrawConfig, ModelConfig, prior_remark
from ..streams import printable
from .data.registry import is_environments
from .settings import Hardware, RunFolder
from .stages import Place

if TYPE_CHECKING:
    from .trainer import Trainer


def announcement(trainer: Trainer) -> list[str]:
    """What is trained, on what, and where its files are, in lines."""
    settings, config, dataset, place = trainer.settings, trainer.config, trainer.dataset, trainer.place
    parameters = sum(p.numel() for p in trainer.model.parameters())
    kind = f"DRAW{prior_remark(config.prior)}" if isinstance(config, DrawConfig) else "glimpse classifier"
    device, count = trainer.fabric.device.type, trainer.fabric.world_size
    where = f"{count} × {device}" if count > 1 else device
    stage = f" (stage {place.index + 1} of {len(place.plan)})" if len(place.plan) > 1 else ""
    lines = [
        f"training {settings.preset}{stage}: {kind}, {parameters:,} parameters, {config.time_steps} steps,"
        f" {dataset.train_size:,} pictures of {config.image_height}×{config.image_width},"
        f" batch {settings.batch_size}, iterations {trainer.iteration:,} to {place.end:,}, on {where}"
        f"{', compiled' if settings.compile else ''}"
    ]
    if dataset.balance:
        lines.append(dataset.balance)
    if dataset.note:
        lines.append(f"data set {dataset.name}: {dataset.note}")
    folder = trainer.folder.path
    follow = command_line([str(folder)])
    return [*lines, f"run folder: {folder} (metrics.csv, samples/; tensorboard --logdir {follow})"]


def figures(row: dict[str, Any]) -> str:
    """``train 28.66 nats = 26.08 + 2.58; 3,195 images/s``: what stands on the bar."""
    parts = []
    for split in ("train", "valid"):
        if f"{split}_bound" in row:
            parts.append(
                f"{split} {row[f'{split}_bound']:.2f} nats"
                f" = {row[f'{split}_reconstruction']:.2f} + {row[f'{split}_kl']:.2f}"
            )
        elif f"{split}_error" in row:
            parts.append(
                f"{split} {row[f'{split}_error']:.2f} % error, {row[f'{split}_cross_entropy']:.3f} nats"
            )
    return "; ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])


def line(row: dict[str, Any], place: Place) -> str:
    """The same with the place in the run: a line of its own, which has no bar beside it."""
    settings = place.stage.settings
    speed = row["images_per_second"]  # none without an update since the run went on
    left = (
        format_duration(place.seconds_left(row["iteration"], settings.batch_size / speed)) if speed else "0 s"
    )
    stage = f", stage {place.index + 1} of {len(place.plan)}" if len(place.plan) > 1 else ""
    where = f"{settings.preset} {row['iteration']:,}/{place.total:,}{stage}"
    return f"{where}; {figures(row)}, {left} left"


def resume_command(folder: RunFolder, hardware: Hardware, data_dir: Path | None) -> str:
    """What to type to go on as before: settings are in the checkpoint, folders and the machine are not."""
    words = ["draw-train", "--resume", "--out", str(folder.path)]
    if data_dir is not None and not is_environments(data_dir):
        words += ["--data-dir", str(data_dir)]
    for name in ("device", "devices", "threads"):
        if getattr(hardware, name) != getattr(Hardware, name):
            words += [f"--{name}", str(getattr(hardware, name))]
    if hardware.compile is not None:
        words.append("--compile" if hardware.compile else "--no-compile")
    if hardware.cuda_graph:
        words.append("--cuda-graph")
    return command_line(words)


def next_commands(config: ModelConfig, folder: RunFolder) -> str:
    """What to type with a finished run."""
    checkpoint = printable(command_line([str(folder.best)]))
    if isinstance(config, DrawConfig):
        onnx, use = "draw.onnx", "draw-gen --onnx draw.onnx --gif out.gif"
    else:
        onnx, use = "classifier.onnx", "draw-classify --onnx classifier.onnx PICTURE"
    return f"next: draw-export --ckpt {checkpoint} -o {onnx} && {use}"
