"""From options to a finished run: what ``draw-train`` does once its options are read."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..console import format_duration, is_about_room, note, progress
from ..errors import DrawError, first_line
from ..files import make_folder, write_text
from ..models.checkpoint import load_checkpoint, save_checkpoint, save_weights
from ..models.config import ClassifierConfig, prior_of, prior_remark
from .data.dataset import Dataset
from .data.registry import load_dataset
from .evaluation.figures import as_metrics, evaluate
from .interrupt import Interrupt, Interrupted
from .machine import agree_on_largest, bfloat16_pays, decide_compile, launch_fabric, make_fabric
from .options import data_options
from .ranks import Crew, Rank, is_about_others
from .report import announcement, next_commands, resume_command
from .run_lock import RunLock
from .settings import Hardware, RunFolder, TrainSettings
from .sheets import write_sheet
from .stages import Place, Stage, Start
from .trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class _Run:
    """What stays the same from a run's first stage to its last."""

    folder: RunFolder
    hardware: Hardware
    data_dir: Path | None
    lock: RunLock
    rank: Rank
    weights: str  # whose they are that a fresh run starts from

    @property
    def resume_command(self) -> str:
        return resume_command(self.folder, self.hardware, self.data_dir)


def train(
    start: Start,
    folder: RunFolder,
    hardware: Hardware,
    data_dir: Path | None,
    lock: RunLock,
    rank: Rank,
    init_from: str | None = None,
) -> int:
    """Train, then print the test figure and the next commands. Gives the exit code (130 or 143 if interrupted).

    Args:
        init_from: the name of the file that ``start.initial`` of a fresh run was read from.

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
    run = _Run(folder, hardware, data_dir, lock, rank, init_from or "the file of --init-from")
    try:
        with Crew(rank) as crew:
            try:
                return _train(start, run, crew)
            except RuntimeError as error:
                if rank.count > 1 and is_about_others(error):
                    raise crew.failure(error) from error
                raise
    except torch.OutOfMemoryError as error:
        raise DrawError(f"out of GPU memory ({error}); try a smaller --batch-size") from error
    except RuntimeError as error:
        if is_about_room(error):
            raise DrawError(
                f"no room for it on this machine ({first_line(error, 200)}); try a smaller --batch-size, or a smaller model"
            ) from error
        raise


_PARTS = {"train": "training", "valid": "validation", "test": "test"}


def _train(start: Start, run: _Run, crew: Crew) -> int:
    fabric, folder = make_fabric(run.hardware, run.rank), run.folder
    dataset = _load(start, run.data_dir, fabric.device)
    start = _with_classes(start, dataset)
    _check_data(start, dataset)
    if run.rank.main:
        for split in ("valid", "test"):  # what is missing is found before the training, not after it
            dataset.evaluation(split)
        # Before anything is written, and before the others start: what fails until here fails once.
        run.lock.take()
        if start.fresh:
            folder.require_fresh()
    crew.start()
    launch_fabric(fabric)
    start = dataclasses.replace(start, place=_with_compile(start, run.hardware, fabric))
    if run.rank.main:
        if start.settings.precision == "bf16-mixed" and not bfloat16_pays(fabric.device):
            note("bfloat16 is not known to be faster than float32 on this CPU: --precision 32-true may be")
        make_folder(folder.samples)
        if start.fresh:
            folder.metrics.unlink(missing_ok=True)  # of a run that ended before its first checkpoint
            # Also of `draw-onnx train ...`: no argument of draw-train's stands without an option.
            words = ["draw-train", *sys.argv[2 if sys.argv[1:2] == ["train"] else 1 :]]
            write_text(folder.command, shlex.join(words) + "\n")
        else:
            folder.test.unlink(missing_ok=True)  # of weights that change from here on
    fabric.barrier()
    with Interrupt(agree_on_largest() if fabric.world_size > 1 else None) as interrupt:
        try:
            code = _stages(start, dataset, run, fabric, interrupt)
        except KeyboardInterrupt:  # a second one
            if run.rank.main and folder.last.exists():
                note("stopped without saving; go on from what was saved with:")
                note(run.resume_command)
            raise
    fabric.barrier()  # nobody leaves before rank 0 has saved
    return code


def _stages(start: Start, dataset: Dataset, run: _Run, fabric: Fabric, interrupt: Interrupt) -> int:
    """Train them one after the other, and then the test figure. Gives the exit code."""
    main, folder = run.rank.main, run.folder
    while True:
        place = start.place
        trainer = Trainer(start, dataset, folder, fabric, run.hardware)
        if main:
            _announce(trainer, start, run, interrupt)
        trainer.run(interrupt, partial(_write_sheet, folder=folder.samples))
        if place.last or interrupt.signal is not None:
            break
        before = start.settings
        start = Start(place.next(), None, trainer.weights_only(), trainer.clock.seconds, fresh=False)
        if _data(start.settings) != _data(before):
            dataset = _load(start, run.data_dir, fabric.device)
            start = _with_classes(start, dataset)
    if main and interrupt.signal is None:
        with suppress(Interrupted):
            _finish(dataset, folder, trainer, interrupt)
    if main and interrupt.signal is not None:
        note(f"stopped at iteration {trainer.iteration:,}; go on with:")
        note(run.resume_command)
    return fabric.broadcast(interrupt.exit_code)  # a signal while the main process tests is its own


def _announce(trainer: Trainer, start: Start, run: _Run, interrupt: Interrupt) -> None:
    """What is trained, on what, from where."""
    for text in announcement(trainer):
        note(text)
    if start.initial is not None:
        of = f"in {run.weights}" if start.fresh else "of the stage before"
        with suppress(Interrupted):
            figures = trainer.selection.validation(interrupt.check)
            iteration = start.initial.iteration
            note(f"starts from the weights of iteration {iteration:,} {of}: validation {figures}")
    if trainer.selection.saw_validation:
        note(
            "these weights were trained on the validation pictures too: only the test figure says something of new ones"
        )


def _write_sheet(trainer: Trainer, folder: Path) -> None:
    """A sheet that cannot be written, on a full disk for instance, is no reason to end a run."""
    try:
        write_sheet(trainer.selection.refresh(), trainer.dataset, folder, trainer.iteration)
    except DrawError as error:
        note(f"no sample sheet: {error}")


def _finish(dataset: Dataset, folder: RunFolder, trainer: Trainer, interrupt: Interrupt) -> None:
    """The test figure of the best weights, kept beside them, and what to type next.

    Raises:
        Interrupted: a signal has come before the figure was there.
    """
    best = load_checkpoint(folder.best)
    test = dataset.evaluation("test")
    with progress("test", len(test)) as bar:

        def advance(pictures: int) -> None:
            bar.advance(pictures)
            interrupt.check()

        figures = evaluate(best.build().to(trainer.fabric.device), test, advance=advance)
    about = f" [{dataset.note}]" if dataset.note else ""
    about += prior_remark(prior_of(best.config))
    hours = format_duration(trainer.clock.seconds)
    best.metrics.update(as_metrics(figures))  # a card reads them there
    save_checkpoint(folder.best, best)
    save_weights(folder.weights, best)
    write_text(folder.test, f"{figures}{about}\n")  # the last: it says that the run is finished
    print(f"test: {figures}{about}; weights of iteration {best.iteration:,}, trained for {hours}")
    print(next_commands(trainer.config, folder))


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


def _check_data(start: Start, dataset: Dataset) -> None:
    """Refuse to go on with more or fewer pictures than the run began with: every batch would be another one, and what
    was trained on might be tested.

    Others of the same number are said, as those of another --validation-dir are; another version of an image library
    already decodes a few values differently.
    """
    last = None if start.fresh else start.resume or start.initial  # the latter at the beginning of a stage
    kept = (last.training if last is not None else None) or {}
    if not kept or _data(TrainSettings.from_dict(kept["settings"])) != _data(start.settings):
        return  # a new run, or the stage before had others
    before = [kept.get(f"{name}_size") for name in _PARTS]
    sizes = [dataset.fingerprint[f"{name}_size"] for name in _PARTS]
    judged = 1 if start.settings.validation_dir else len(sizes)
    if None not in before and before[:judged] != sizes[:judged]:
        raise DrawError(
            "this run began with {:,} training, {:,} validation and {:,} test pictures, and now there are".format(
                *before
            )
            + " {:,}, {:,} and {:,}: bring back the data it began with, or begin a new run".format(*sizes)
            + " from its weights with --init-from and its last.ckpt"
        )
    for name, what in _PARTS.items():
        now = dataset.fingerprint[f"{name}_checksum"]
        if kept.get(f"{name}_checksum") not in (None, now):
            then = (
                "it is not bit-exact"
                if name == "train"
                else "figures from here on cannot be compared with earlier ones"
            )
            note(f"the {what} pictures are not quite those that this run began with: {then}")


def _data(settings: TrainSettings) -> tuple[object, ...]:
    """What decides the training pictures."""
    return settings.dataset, settings.deform, settings.all_digits, settings.shift


def _load(start: Start, data_dir: Path | None, device: torch.device) -> Dataset:
    """The stage's data set, checked to fit the model."""
    settings, config = start.settings, start.place.stage.config
    labels = config.labels if isinstance(config, ClassifierConfig) else None
    dataset = load_dataset(settings.dataset, data_dir, device, labels=labels, **data_options(settings))
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
