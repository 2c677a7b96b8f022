"""From options to a finished run: what ``draw-train`` does once its options are read."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from ..console import note, progress
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, load_checkpoint
from ..models.config import ClassifierConfig, DrawConfig, ModelConfig
from .data.dataset import Dataset
from .data.registry import load_dataset
from .settings import Hardware, RunFolder, TrainSettings
from .sheets import write_sheet
from .trainer import Trainer, evaluate, format_duration


def make_fabric(hardware: Hardware, precision: str) -> Fabric:
    """Devices, precision and data parallelism. Raises DrawError where the machine lacks what is asked for."""
    device = hardware.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    if device == "cuda":
        if not torch.cuda.is_available():
            raise DrawError("--device cuda: PyTorch finds no CUDA device here (is its CUDA build installed?)")
        if hardware.devices > torch.cuda.device_count():
            raise DrawError(
                f"--devices {hardware.devices}: this machine has {torch.cuda.device_count()} GPU(s)"
            )
    elif device != "cpu":
        raise DrawError(f"unknown device {device!r}: auto, cpu or cuda")
    elif precision == "16-mixed":
        raise DrawError("--precision 16-mixed needs a GPU; on a CPU use bf16-mixed")
    if hardware.cuda_graph and (device != "cuda" or hardware.devices > 1):
        raise DrawError("--cuda-graph needs one GPU")
    # Fabric announces the precision that was asked for.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy = "ddp" if hardware.devices > 1 else "auto"
    fabric = Fabric(accelerator=device, devices=hardware.devices, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def train(
    settings: TrainSettings,
    config: ModelConfig,
    folder: RunFolder,
    hardware: Hardware,
    data_dir: Path | None,
    resume: Checkpoint | None = None,
    initial: Checkpoint | None = None,
) -> int:
    """Train, then print the test figure and the next commands. Gives the exit code (130 or 143 if interrupted).

    A fresh run starts from random weights or from those of ``initial``.

    Raises:
        DrawError: no device, no data, a diverged loss, a folder that cannot be written.
    """
    fabric = make_fabric(hardware, settings.precision)
    main = fabric.is_global_zero
    dataset = _load(settings, config, data_dir, fabric.device)
    config = _fit(config, dataset)
    if main:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.samples.mkdir(exist_ok=True)
        if resume is None:
            words = ["draw-train", *sys.argv[1:]]
            folder.command.write_text(shlex.join(words) + "\n", encoding="utf-8")
    fabric.barrier()
    trainer = Trainer(settings, config, dataset, folder, fabric, hardware, resume, initial)
    if main:
        parameters = sum(p.numel() for p in trainer.model.parameters())
        kind = "DRAW" if isinstance(config, DrawConfig) else "glimpse classifier"
        where = f"{hardware.devices} × {fabric.device.type}" if hardware.devices > 1 else fabric.device.type
        note(
            f"training {settings.preset}: {kind}, {parameters:,} parameters, {config.time_steps} steps,"
            f" {dataset.train_size:,} pictures of {config.image_height}×{config.image_width},"
            f" batch {settings.batch_size}, iterations {trainer.iteration:,} to {settings.iterations:,}, on {where}"
        )
        if dataset.note:
            note(f"data set {dataset.name}: {dataset.note}")
        note(
            f"run folder: {folder.path} (metrics.csv, samples/; tensorboard --logdir {shlex.quote(str(folder.path))})"
        )
        if initial is not None:
            begin = evaluate(trainer.refresh_evaluated(), dataset.evaluation("valid"), settings.eval_images)
            note(
                f"starts from the weights of iteration {initial.iteration:,} of another run: validation {begin}"
            )
    interrupt = trainer.run(
        lambda t: write_sheet(t.refresh_evaluated(), dataset, folder.samples, t.iteration)
    )
    if interrupt.signal is not None:
        if main:
            note(f"stopped at iteration {trainer.iteration:,}; go on with:")
            note(resume_command(folder, hardware, data_dir))
        return interrupt.exit_code
    if main:
        _finish(dataset, folder, trainer)
    fabric.barrier()
    return 0


def resume_command(folder: RunFolder, hardware: Hardware, data_dir: Path | None) -> str:
    """What to type to go on as before: settings are in the checkpoint, folders and the machine are not."""
    words = ["draw-train", "--resume", "--out", str(folder.path)]
    if data_dir is not None and str(data_dir) != os.environ.get("DRAW_DATA"):
        words += ["--data-dir", str(data_dir)]
    if hardware.device != "auto":
        words += ["--device", hardware.device]
    if hardware.devices != 1:
        words += ["--devices", str(hardware.devices)]
    if hardware.threads:
        words += ["--threads", str(hardware.threads)]
    words += [f"--{name}" for name in ("compile", "cuda-graph") if getattr(hardware, name.replace("-", "_"))]
    return shlex.join(words)


def _load(
    settings: TrainSettings, config: ModelConfig, data_dir: Path | None, device: torch.device
) -> Dataset:
    return load_dataset(
        settings.dataset,
        data_dir,
        device,
        image_dir=Path(settings.image_dir) if settings.image_dir else None,
        image_size=(settings.image_height, settings.image_width) if settings.image_height else None,
        channels=settings.image_channels or None,
    )


def _fit(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """Check that model and data belong together."""
    if config.image != dataset.image:
        have, want = dataset.image, config.image
        raise DrawError(
            f"data set {dataset.name} has {have.channels}×{have.height}×{have.width} pictures, the model takes"
            f" {want.channels}×{want.height}×{want.width}"
        )
    if isinstance(config, ClassifierConfig) and config.labels != dataset.labels:
        raise DrawError(f"data set {dataset.name} has other classes than the model")
    return config


def _finish(dataset: Dataset, folder: RunFolder, trainer: Trainer) -> None:
    """The test figure of the best weights, and what to type next."""
    best = load_checkpoint(folder.best)
    test = dataset.evaluation("test")
    with progress("test", len(test)) as bar:
        figures = evaluate(best.build().to(trainer.fabric.device), test, bar=bar)
    about = f" [{dataset.note}]" if dataset.note else ""
    print(
        f"test: {figures}{about}; weights of iteration {best.iteration:,}, trained for {format_duration(trainer.seconds)}"
    )
    (folder.path / "test.txt").write_text(f"{figures}{about}\n", encoding="utf-8")
    checkpoint = shlex.quote(str(folder.best))
    if isinstance(trainer.config, DrawConfig):
        print(
            f"next: draw-export --ckpt {checkpoint} -o draw.onnx && draw-gen --onnx draw.onnx --gif out.gif"
        )
    else:
        print(
            f"next: draw-export --ckpt {checkpoint} -o classifier.onnx && draw-classify --onnx classifier.onnx PICTURE"
        )
