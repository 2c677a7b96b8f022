"""Sample sheets of any size of picture; one that cannot be written ends no run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import build_model
from draw_onnx.models.config import ClassifierConfig, DrawConfig, ImageSize
from draw_onnx.runtime.pictures.drawing import MAX_SIDE
from draw_onnx.train import launch
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.sheets import glimpse_sheet, sample_sheet


@pytest.mark.parametrize(("height", "width", "steps"), [(16, 2000, 12), (2000, 16, 12), (8, 8, 200)])
def test_sheets_keep_within_what_programs_open(height: int, width: int, steps: int) -> None:
    draw: Any = build_model(DrawConfig(1, height, width, steps, 4, 2, 2, 2))
    assert max(sample_sheet(draw.eval()).shape) <= MAX_SIDE
    classifier: Any = build_model(ClassifierConfig(1, height, width, steps, 4, 2, ("a", "b")))
    stored = Split(torch.zeros(12, 1, height, width, dtype=torch.uint8))
    data = Dataset(
        name="x",
        image=ImageSize(1, height, width),
        train=stored,
        evaluations={"valid": lambda: stored},
        binary=False,
    )
    assert max(glimpse_sheet(classifier.eval(), data).shape) <= MAX_SIDE


def test_a_sheet_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    def full(*_: object) -> None:
        raise DrawError("cannot write 0000005.png: No space left on device")

    monkeypatch.setattr(launch, "write_sheet", full)
    trainer: Any = SimpleNamespace(selection=SimpleNamespace(refresh=lambda: None), dataset=None, iteration=5)
    launch._write_sheet(trainer, tmp_path)
    assert "no sample sheet: cannot write 0000005.png: No space left" in capsys.readouterr().err
