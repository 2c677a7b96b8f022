"""From options to a finished run: what ``draw-train`` does once its options are read."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from ..console import command_line, format_duration, note, progress
from ..errors import DrawError, first_line
from ..files import make_folder, write_text
from ..models.checkpoint import load_checkpoint, save_checkpoint, save_weights
from ..models.config import ClassifierConfig, DrawConfig, prior_of, prior_remark
from ..streams import printable
from .data.dataset import Dataset
from .data.registry import load_dataset
from .evaluation.figures import as_metrics, evaluate
from .machine import bfloat16_pays, decide_compile, is_about_compiling, make_fabric
from .ranks import Crew, Rank, is_about_others
from .run_lock import RunLock
from .settings import Hardware, RunFolder, TrainSettings
from .sheets import write_sheet
from .stages import Place, Stage, Start
from .trainer import Trainer


def train(
    start: Start, folder: RunFolder, hardware: Hardware, data_dir: Path | None, lock: RunLock, rank: Rank
) -> int:
    """Train, then print the test figure and the next commands. Gives the exit code (130 or 143 if interrupted).

    Raises:
        DrawError: no device, no data, no memory, a diverged loss, a folder that cannot be written.
    """
    for stage in start.place.plan:
        if stage.settings.batch_size % rank.count:
            raise DrawError(
                f"a batch of {stage.settings.batch_size} does not divide among {rank.count} devices:"
                " choose another --devices, or for a new run another --batch-size"
            )
        if hardware.cuda_graph and stage.settings.optimizer == "soap":
            raise DrawError("--cuda-graph records Adam's updates, not SOAP's: leave it out")
    try:
        with Crew(rank) as crew:
            try:
                return _train(start, folder, hardware, data_dir, lock, rank, crew)
            except RuntimeError as error:
                if rank.count > 1 and is_about_others(error):
                    raise crew.failure(error) from error
                raise
    except torch.OutOfMemoryError as error:
        raise DrawError(f"out of GPU memory ({error}); try a smaller --batch-size") from error
    except RuntimeError as error:
        if is_about_compiling(error):
            reason = first_line(error, 200)
            raise DrawError(f"torch.compile does not work here ({reason}): give --no-compile") from error
        # PyTorch's own words for a full memory.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise DrawError("out of memory; try a smaller --batch-size, or a smaller model") from error
        raise


def _train(
    start: Start,
    folder: RunFolder,
    hardware: Hardware,
    data_dir: Path | None,
    lock: RunLock,
    rank: Rank,
    crew: Crew,
) -> int:
    fabric, main = make_fabric(hardware, rank), rank.main
    dataset = _load(start, data_dir, fabric.device)
    start = _with_classes(start, dataset)
    _check_data(start, dataset)
    if main:
        for split in ("valid", "test"):  # what is missing is found before the training, not after it
            dataset.evaluation(split)
        # Before anything is written, and before the others start: what fails until here fails once.
        lock.take()
        if start.fresh:
            folder.require_fresh()
    crew.start()
    fabric.launch()
    start = dataclasses.replace(start, place=_with_compile(start, hardware, fabric))
    if main and start.settings.precision == "bf16-mixed" and not bfloat16_pays(fabric.device):
        note("bfloat16 is not known to be faster than float32 on this CPU: --precision 32-true may be")
    if main:
        make_folder(folder.samples)
        if start.fresh:
            folder.metrics.unlink(missing_ok=True)  # of a run that ended before its first checkpoint
            # Also of `draw-onnx train ...`: no argument of draw-train's stands without an option.
            words = ["draw-train", *sys.argv[2 if sys.argv[1:2] == ["train"] else 1 :]]
            write_text(folder.command, shlex.join(words) + "\n")
    fabric.barrier()
    while True:
        place = start.place
        trainer = Trainer(start, dataset, folder, fabric, hardware)
        if main:
            _announce(trainer, start)
        interrupt = trainer.run(partial(_write_sheet, folder=folder.samples))
        if interrupt.signal is not None:
            if main:
                note(f"stopped at iteration {trainer.iteration:,}; go on with:")
                note(resume_command(folder, hardware, data_dir))
            fabric.barrier()  # nobody leaves before rank 0 has saved
            return interrupt.exit_code
        if place.last:
            break
        before = start.settings
        start = Start(place.next(), None, trainer.weights_only(), trainer.clock.seconds)
        if _data(start.settings) != _data(before):
            dataset = _load(start, data_dir, fabric.device)
            _with_classes(start, dataset)
    if main:
        _finish(dataset, folder, trainer)
    fabric.barrier()
    return 0


def _write_sheet(trainer: Trainer, folder: Path) -> None:
    """A sheet that cannot be written, on a full disk for instance, is no reason to end a run."""
    try:
        write_sheet(trainer.refresh_evaluated(), trainer.dataset, folder, trainer.iteration)
    except DrawError as error:
        note(f"no sample sheet: {error}")


def _with_compile(start: Start, hardware: Hardware, fabric: Fabric) -> Place:
    """The place with compiling decided: once for the whole run, or resuming it would not be bit-exact."""
    place = start.place
    chosen = hardware.compile
    if not start.fresh:
        if chosen is not None and chosen != start.settings.compile:
            note("another --compile than the run began with: this run is not bit-exact")
    elif chosen is None:
        seconds = sum(expected_seconds(stage) for stage in place.plan)
        chosen = decide_compile(seconds, fabric.device) if fabric.is_global_zero else False
        chosen = fabric.broadcast(chosen)
    return place if chosen is None else place.replace(lambda settings: settings.replace(compile=chosen))


def expected_seconds(stage: Stage) -> float:
    """What a stage takes on one thread of a usual CPU, within a factor of two or three, for decisions alone.

    Three passes of two operations a multiplication at 30 billion a second.
    """
    return 6 * stage.work / 30e9


def _announce(trainer: Trainer, start: Start) -> None:
    """What is trained, on what, from where."""
    settings, config, dataset, place = trainer.settings, trainer.config, trainer.dataset, trainer.place
    parameters = sum(p.numel() for p in trainer.model.parameters())
    kind = f"DRAW{prior_remark(config.prior)}" if isinstance(config, DrawConfig) else "glimpse classifier"
    device, count = trainer.fabric.device.type, trainer.fabric.world_size
    where = f"{count} × {device}" if count > 1 else device
    stage = f" (stage {place.index + 1} of {len(place.plan)})" if len(place.plan) > 1 else ""
    note(
        f"training {settings.preset}{stage}: {kind}, {parameters:,} parameters, {config.time_steps} steps,"
        f" {dataset.train_size:,} pictures of {config.image_height}×{config.image_width},"
        f" batch {settings.batch_size}, iterations {trainer.iteration:,} to {place.end:,}, on {where}"
        f"{', compiled' if settings.compile else ''}"
    )
    if dataset.balance:
        note(dataset.balance)
    if dataset.note:
        note(f"data set {dataset.name}: {dataset.note}")
    folder = trainer.folder.path
    note(f"run folder: {folder} (metrics.csv, samples/; tensorboard --logdir {command_line([str(folder)])})")
    if start.initial is not None:
        whose = "of another run" if start.fresh and not place.index else "of the stage before"
        note(
            f"starts from the weights of iteration {start.initial.iteration:,} {whose}: validation {trainer.validation()}"
        )


def resume_command(folder: RunFolder, hardware: Hardware, data_dir: Path | None) -> str:
    """What to type to go on as before: settings are in the checkpoint, folders and the machine are not."""
    words = ["draw-train", "--resume", "--out", str(folder.path)]
    if data_dir is not None and str(data_dir) != os.environ.get("DRAW_DATA"):
        words += ["--data-dir", str(data_dir)]
    for name in ("device", "devices", "threads"):
        if getattr(hardware, name) != getattr(Hardware, name):
            words += [f"--{name}", str(getattr(hardware, name))]
    if hardware.compile is not None:
        words.append("--compile" if hardware.compile else "--no-compile")
    if hardware.cuda_graph:
        words.append("--cuda-graph")
    return command_line(words)


def _check_data(start: Start, dataset: Dataset) -> None:
    """Refuse to go on with more or fewer pictures than the run began with: every batch would be another one.

    Others of the same number are said; another version of an image library already decodes a few values differently.
    """
    last = None if start.fresh else start.resume or start.initial  # the latter at the beginning of a stage
    kept = (last.training if last is not None else None) or {}
    if kept and _data(TrainSettings.from_dict(kept["settings"])) != _data(start.settings):
        return  # the stage before had others
    before, checksum = kept.get("train_size"), kept.get("train_checksum")
    if before is not None and before != dataset.train_size:
        raise DrawError(
            f"this run has trained on {before:,} pictures, and now there are {dataset.train_size:,}: bring back the data"
            " it began with, or begin a new run from its weights with --init-from and its last.ckpt"
        )
    if checksum is not None and checksum != dataset.train_checksum:
        note("the training pictures are not quite those that this run began with: it is not bit-exact")


def _data(settings: TrainSettings) -> tuple[object, ...]:
    """What decides the training pictures."""
    return settings.dataset, settings.deform, settings.all_digits, settings.shift


def _load(start: Start, data_dir: Path | None, device: torch.device) -> Dataset:
    """The stage's data set, checked to fit the model."""
    settings, config = start.settings, start.place.stage.config
    dataset = load_dataset(
        settings.dataset,
        data_dir,
        device,
        image_dir=Path(settings.image_dir) if settings.image_dir else None,
        image_size=(settings.image_height, settings.image_width) if settings.image_height else None,
        channels=settings.image_channels or None,
        strength=settings.deform,
        all_digits=settings.all_digits,
        labels=config.labels if isinstance(config, ClassifierConfig) else None,
        validation_dir=Path(settings.validation_dir) if settings.validation_dir else None,
        shift=settings.shift,
    )
    dataset.check_fits(config.image)
    return dataset


def _with_classes(start: Start, dataset: Dataset) -> Start:
    """The start with the data set's classes, where nothing has been trained on others: EMNIST's letters are not digits.

    Raises:
        DrawError: weights of other classes.
    """
    config = start.place.stage.config
    if not isinstance(config, ClassifierConfig):
        return start
    for split in ("valid", "test", None):  # before the training, not after it
        dataset.check_labels(split)
    if dataset.labels == config.labels:
        return start
    if not start.fresh or start.initial is not None or len(dataset.labels) < 2:
        dataset.check_classes(config.labels)
    note(f"{len(dataset.labels)} classes, the data set's: {', '.join(dataset.labels)}")
    return dataclasses.replace(start, place=start.place.with_labels(dataset.labels))


def _finish(dataset: Dataset, folder: RunFolder, trainer: Trainer) -> None:
    """The test figure of the best weights, kept beside them, and what to type next."""
    best = load_checkpoint(folder.best)
    test = dataset.evaluation("test")
    with progress("test", len(test)) as bar:
        figures = evaluate(best.build().to(trainer.fabric.device), test, advance=bar.advance)
    about = f" [{dataset.note}]" if dataset.note else ""
    about += prior_remark(prior_of(best.config))
    hours = format_duration(trainer.clock.seconds)
    best.metrics.update(as_metrics(figures))  # a card reads them there
    save_checkpoint(folder.best, best)
    save_weights(folder.weights, best)
    write_text(folder.test, f"{figures}{about}\n")  # the last: it says that the run is finished
    print(f"test: {figures}{about}; weights of iteration {best.iteration:,}, trained for {hours}")
    checkpoint = printable(command_line([str(folder.best)]))
    if isinstance(trainer.config, DrawConfig):
        onnx, use = "draw.onnx", "draw-gen --onnx draw.onnx --gif out.gif"
    else:
        onnx, use = "classifier.onnx", "draw-classify --onnx classifier.onnx PICTURE"
    print(f"next: draw-export --ckpt {checkpoint} -o {onnx} && {use}")
