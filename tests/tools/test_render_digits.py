"""Test digits as people have them: the same pictures each time, and what the packaged classifier makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier
from draw_onnx.runtime.pictures.reading import read_levels

TARGETS = {"trained": 97, "paper": 95, "large": 93, "transparent": 95, "page": 90, "photo": 88}


@pytest.fixture
def tool(load_tool: Callable[[str], Any]) -> Any:
    return load_tool("render_digits")


@pytest.fixture
def digits(tool: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's test digits and what they are."""
    monkeypatch.setenv("DRAW_DATA", str(data_dir))
    return tool.read_digits("test")


def test_every_kind_is_a_picture_and_the_same_again(tool: Any, tmp_path: Path) -> None:
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = digit[4:8, 8:16] = 255
    for kind in tool.KINDS:
        (path,) = tool.write(tmp_path / kind, kind, digit[None], np.array([1]))
        assert path.name.startswith("0000-1.")
        levels, _ = read_levels(path, 1024)
        assert np.ptp(levels) > 0.05 or kind == "transparent"
        assert tool.encode(kind, 0, digit)[0] == path.read_bytes()


def test_some_of_each_kind_are_read(tool: Any, digits: Any, tmp_path: Path) -> None:
    pictures, labels = digits
    classifier = Classifier("cluttered-mnist", "cpu")
    for kind in tool.KINDS:
        paths = list(tool.write(tmp_path / kind, kind, pictures[:5], labels))
        assert tool.score(paths, classifier) >= 80, kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS)
def test_a_thousand_of_each_kind(tool: Any, digits: Any, tmp_path: Path, kind: str) -> None:
    pictures, labels = digits
    paths = list(tool.write(tmp_path, kind, pictures[:1000], labels))
    assert tool.score(paths, Classifier("cluttered-mnist", "cpu")) >= TARGETS[kind]


def test_the_sheet(tool: Any, digits: Any, tmp_path: Path) -> None:
    tool.draw_sheet(tmp_path / "sheet.png", *digits, Classifier("cluttered-mnist", "cpu"))
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 900
    assert (tmp_path / "sheet.png").stat().st_size < 200_000
