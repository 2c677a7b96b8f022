"""A run in stages: what each trains, and where a run stands in them.

A stage begins from the averaged weights of the one before with a fresh optimiser and a learning rate of its own. Its
best.ckpt, and the guard against divergence, are its own too: longer sequences or other data have other figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from ..console import is_about_room
from ..errors import DrawError, first_line
from ..models.checkpoint import Checkpoint, build_model
from ..models.config import ClassifierConfig, ModelConfig, config_from_dict, config_to_dict, model_kind
from .settings import TrainSettings


@dataclass(frozen=True)
class Stage:
    """Settings, whose iterations are the stage's alone, and the model: its steps, windows and prior differ."""

    settings: TrainSettings
    config: ModelConfig

    @cached_property
    def work(self) -> int:
        """Multiplications of pictures with weights at all steps and updates: what its time is roughly proportional to."""
        with torch.device("meta"):
            weights = sum(p.numel() for p in build_model(self.config).parameters())
        return self.settings.iterations * self.settings.batch_size * self.config.time_steps * weights


@dataclass(frozen=True)
class Place:
    """A run's stages, and the one that is trained."""

    plan: tuple[Stage, ...]
    index: int = 0
    first: int = 0  # iterations of the run before this stage

    @property
    def stage(self) -> Stage:
        return self.plan[self.index]

    @property
    def end(self) -> int:
        """The run's iteration at which this stage is done."""
        return self.first + self.stage.settings.iterations

    @property
    def total(self) -> int:
        """Iterations of the whole run, or of what it trains of its plan."""
        return self.end + sum(stage.settings.iterations for stage in self.plan[self.index + 1 :])

    @property
    def last(self) -> bool:
        return self.index == len(self.plan) - 1

    def next(self) -> Place:
        """The stage after this one."""
        return Place(self.plan, self.index + 1, self.end)

    def seconds_left(self, iteration: int, seconds_per_update: float) -> float:
        """Until the whole run's end, from the time that an update of this stage takes."""
        here = self.stage
        later = (
            sum(stage.work for stage in self.plan[self.index + 1 :]) / here.work * here.settings.iterations
        )
        return (self.end - iteration + later) * seconds_per_update

    def replace(self, change: Callable[[TrainSettings], TrainSettings]) -> Place:
        """The same with other settings in every stage."""
        plan = tuple(Stage(change(stage.settings), stage.config) for stage in self.plan)
        return Place(plan, self.index, self.first)

    def with_labels(self, labels: tuple[str, ...]) -> Place:
        """The same with classifiers of these classes in every stage."""
        plan = tuple(
            Stage(stage.settings, replace(cast(ClassifierConfig, stage.config), labels=labels))
            for stage in self.plan
        )
        return Place(plan, self.index, self.first)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint stores them."""
        plan = [
            {"settings": stage.settings.to_dict(), "config": config_to_dict(stage.config)}
            for stage in self.plan
        ]
        return {"plan": plan, "index": self.index, "first": self.first}


@dataclass(frozen=True)
class Start:
    """Where training begins: at random weights, at another run's, or at this run's own checkpoint."""

    place: Place
    resume: Checkpoint | None = None  # with the optimiser's state, in the middle of place.stage
    initial: Checkpoint | None = None  # weights alone: of --init-from, or of the stage before
    seconds: float = 0.0  # of updates before this stage
    fresh: bool = True  # a new run, and not one that goes on in its folder

    @property
    def settings(self) -> TrainSettings:
        return self.place.stage.settings


def place_of(checkpoint: Checkpoint) -> Place:
    """Where a checkpoint stands.

    Raises:
        DrawError: a weights-only checkpoint, or settings of a version that does not fit.
    """
    training = checkpoint.training
    if training is None:
        raise DrawError(
            "last.ckpt is a weights-only checkpoint: it cannot be resumed (that of a run of draw-train can)"
        )
    if not isinstance(training, dict):
        raise DrawError("the checkpoint's training state is damaged")
    try:
        TrainSettings.from_dict(training.get("settings"))
    except TypeError as error:  # a number that is a text, or the like
        raise DrawError(f"the checkpoint's training settings are damaged: {error}") from error
    kind = model_kind(checkpoint.config)
    try:
        stored = training["stages"]
        plan = tuple(
            Stage(TrainSettings.from_dict(stage["settings"]), config_from_dict(kind, stage["config"]))
            for stage in stored["plan"]
        )
        place = Place(plan, int(stored["index"]), int(stored["first"]))
        if not 0 <= place.index < len(plan):
            raise ValueError("no such stage")
    except (KeyError, TypeError, ValueError) as error:
        raise DrawError(f"the checkpoint's stages are damaged: {error}") from error
    return place


@contextmanager
def reading_state(path: Path) -> Iterator[None]:
    """What a training state of another model, or a damaged one, leads to becomes one DrawError that names its file."""
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if is_about_room(error) or (isinstance(error, RuntimeError) and "CUDA error" in str(error)):
            raise  # the machine's fault, not the file's
        raise DrawError(f"{path}: its training state is damaged: {first_line(error, 200)}") from error


def start_from(checkpoint: Checkpoint, place: Place, finished: bool = True) -> Start:
    """How a run goes on from its checkpoint at ``place``: in the middle of a stage, with the next one, or at its end.

    At the end of one that is not ``finished`` only its test figure is missing: it was killed in between.
    """
    training = checkpoint.training
    assert training is not None
    if checkpoint.iteration < place.end or (
        place.last and not finished and checkpoint.iteration == place.end
    ):
        return Start(place, resume=checkpoint, fresh=False)
    if place.last:
        onwards = (
            "give a larger --iterations to go on"
            if len(place.plan) == 1
            else "begin a new run from its best.ckpt with --init-from to go on"
        )
        raise DrawError(
            f"this run has already reached iteration {checkpoint.iteration} of {place.total}; {onwards}"
        )
    seconds = training.get("seconds")
    return Start(
        place.next(),
        initial=checkpoint,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        fresh=False,
    )
