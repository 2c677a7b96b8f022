"""What draw-train looks at, and clears away, before its first update."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models import checkpoint
from draw_onnx.train import cli, launch
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.update import Update

from ..conftest import Command


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
