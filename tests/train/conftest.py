"""A small made-up data set, so that trainer tests take milliseconds a step, and a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from draw_onnx.models.config import ClassifierConfig, DrawConfig, ImageSize
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.interrupt import Interrupt
from draw_onnx.train.presets import Preset
from draw_onnx.train.settings import Hardware, RunFolder, TrainSettings
from draw_onnx.train.stages import Place, Stage, Start, place_of
from draw_onnx.train.trainer import Trainer

from ..conftest import TINY


@pytest.fixture(scope="session")
def bars() -> Dataset:
    return make_bars(torch.device("cpu"))


def make_bars(device: torch.device) -> Dataset:
    """6x5 pictures with one bright row (label 0) or column (label 1); 48 for training, 20 each to evaluate."""

    def split(count: int, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        images = torch.zeros(count, 1, 6, 5, dtype=torch.uint8)
        labels = torch.randint(2, (count,), generator=generator)
        for k, label in enumerate(labels.tolist()):
            place = int(torch.randint(5, (1,), generator=generator))
            if label:
                images[k, :, :, place] = 255
            else:
                images[k, :, place, :] = 255
        return Split(images.to(device), labels.to(device))

    train = split(48, 0)
    return Dataset(
        name="bars",
        image=ImageSize(1, 6, 5),
        train=train,
        evaluations={"valid": lambda: split(20, 1), "test": lambda: split(20, 2), "train": lambda: train},
        binary=True,
        labels=("row", "column"),
    )


Make = Callable[..., Trainer]
DRAW = DrawConfig(1, 6, 5, time_steps=3, hidden_size=8, latent_size=2, read_size=2, write_size=3)
WHOLE = DrawConfig(
    1, 6, 5, time_steps=3, hidden_size=8, latent_size=2, read_size=0, write_size=0, attention=False
)
MODELS = {
    "draw": DRAW,
    "draw-no-attention": WHOLE,
    "draw-learned-prior": dataclasses.replace(DRAW, prior="learned"),
    "classifier": ClassifierConfig(
        1, 6, 5, time_steps=3, hidden_size=8, read_size=4, labels=("row", "column")
    ),
}

# A preset of two stages on ``bars``, the second's model larger.
STAGED = Preset(
    "two stages",
    DrawConfig(1, 6, 5, time_steps=2, hidden_size=8, latent_size=2, read_size=2, write_size=3),
    TrainSettings(
        "bars", "digits", 10, batch_size=10, learning_rate=5e-3, warmup=2, eval_every=5, save_every=3
    ),
    (
        {"iterations": 8},
        {
            "iterations": 12,
            "time_steps": 3,
            "read_size": 3,
            "write_size": 5,
            "hidden_size": 12,
            "learning_rate": 2e-3,
            "batch_size": 6,
            "prior": "learned",
        },
    ),
)


@pytest.fixture
def make_trainer(tmp_path: Path, bars: Dataset) -> Make:
    """A trainer on ``bars``; keyword arguments change the settings."""

    def make(
        model: str = "draw",
        folder: str = "run",
        resume: Any = None,
        initial: Any = None,
        hardware: Hardware = Hardware(device="cpu"),  # noqa: B008 (frozen)
        **changes: Any,
    ) -> Trainer:
        values = {
            "preset": "bars",
            "dataset": "bars",
            "iterations": 20,
            "batch_size": 10,
            "learning_rate": 5e-3,
        }
        values |= {"warmup": 2, "eval_every": 5, "save_every": 4}
        settings = TrainSettings(**(values | changes))
        run = RunFolder(tmp_path / folder)
        run.path.mkdir(exist_ok=True)
        fabric = Fabric(accelerator=hardware.device, devices=1)
        config = MODELS[model]
        if resume:
            start = Start(place_of(resume), resume=resume, fresh=False)
        else:
            start = Start(Place((Stage(settings, config),)), initial=initial)
        return Trainer(
            start, bars if hardware.device == "cpu" else make_bars(fabric.device), run, fabric, hardware
        )

    return make


def run_stage(trainer: Trainer, on_evaluation: Callable[[Trainer], None] = lambda _: None) -> Interrupt:
    """Train to the stage's end, or until a signal, which is then in the answer."""
    with Interrupt() as interrupt:
        trainer.run(interrupt, on_evaluation)
    return interrupt


@pytest.fixture(scope="session")
def finished(whole_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short finished run on the digits, made by draw-train in a process of its own."""
    lengths = ("--iterations", 60, "--save-every", 7, "--eval-every", 30)
    return whole_run(tmp_path_factory.mktemp("finished") / "run", *lengths, *TINY)
