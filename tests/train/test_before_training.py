"""What draw-train looks at, and clears away, before its first update."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models import checkpoint
from draw_onnx.train import cli, launch
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.settings import TrainSettings
from draw_onnx.train.stages import Place, Stage, Start
from draw_onnx.train.update import Update

from ..conftest import Command
from .conftest import MODELS


@pytest.mark.parametrize("option", ["--resume", "--init-from"])
def test_weights_are_read_when_subnormals_are_flushed(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Looking at large ones starts PyTorch's threads, which keep the mode that they are started in."""
    seen = []

    def read(path: Path) -> None:
        seen.append(int((torch.full((4,), 1e-30) * 1e-10).count_nonzero()))
        raise DrawError("read")

    monkeypatch.setattr(checkpoint, "load_checkpoint", read)
    arguments = {"--resume": ["--out", finished], "--init-from": [finished / "best.ckpt", "--out", tmp_path]}
    code, _, error = command(cli.main, option, *arguments[option])
    assert (code, error.splitlines()[-1]) == (1, "draw-train: error: read")
    assert seen == [0]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_missing_pictures_are_found_before_the_training(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    def load(*arguments: Any, **options: Any) -> Dataset:
        def missing() -> Split:
            raise DrawError("nothing to see")

        data = load_dataset("digits", None, "cpu")
        return replace(data, evaluations={**data.evaluations, split: missing})

    monkeypatch.setattr(launch, "load_dataset", load)
    code, _, error = command(cli.main, "--out", tmp_path / "run", "--iterations", 2)
    assert (code, error.splitlines()[-1]) == (1, "draw-train: error: nothing to see")
    assert not (tmp_path / "run").exists()


def test_without_a_compiler(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*_: object) -> None:
        raise type("TorchDynamoException", (RuntimeError,), {})("no C++ compiler\nand how it came to that")

    monkeypatch.setattr(Update, "prepare", prepare)
    code, _, error = command(cli.main, "--out", tmp_path / "run", "--iterations", 2, "--compile")
    assert code == 1
    assert error.endswith(
        "draw-train: error: torch.compile does not work here (no C++ compiler and how it came to that): give --no-compile\n"
    )


def test_a_fresh_run_keeps_no_rows_of_a_dead_one(command: Command, tmp_path: Path) -> None:
    """It was killed before its first checkpoint."""
    (tmp_path / "metrics.csv").write_text("iteration,stage,seconds\n0,1,1.0\n")
    sizes = ("--hidden", 4, "--time-steps", 1, "--latent", 1, "--eval-every", 1)
    assert command(cli.main, "--out", tmp_path, "--iterations", 1, *sizes)[0] == 0
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1"]


@pytest.mark.parametrize(
    "change", [{"dataset": "mnist"}, {"deform": 1.0}, {"all_digits": True}, {"shift": 1}]
)
def test_a_stage_with_other_pictures_loads_its_own(change: dict[str, Any]) -> None:
    settings = TrainSettings("bars", "digits", 10)
    assert launch._data(replace(settings, **change)) != launch._data(settings)


@pytest.mark.parametrize(("validation_dir", "refused"), [("", True), ("own", False)])
def test_fewer_pictures_to_validate_with(validation_dir: str, refused: bool) -> None:
    """Those of a folder of their own are none of the training's."""
    settings = TrainSettings("x", "labelled-images", 10, validation_dir=validation_dir)
    before = {"train_size": 8, "valid_size": 4, "test_size": 4}
    now = {**before, "valid_size": 3, "train_checksum": 1, "valid_checksum": 1, "test_checksum": 1}
    training = {"settings": settings.to_dict(), **before}
    last = checkpoint.Checkpoint(MODELS["draw"], "labelled-images", {}, training=training)
    start = Start(Place((Stage(settings, MODELS["draw"]),)), resume=last, fresh=False)
    dataset: Any = SimpleNamespace(fingerprint=now)
    with pytest.raises(DrawError, match="8 training, 4 validation") if refused else nullcontext():
        launch._check_data(start, dataset)
