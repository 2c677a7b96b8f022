"""House-number digits cut out of photographs by their boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx.train.data.digit_struct import HouseNumber


@pytest.fixture
def tool(load_tool: Callable[[str], Any]) -> Any:
    return load_tool("svhn_digits")


def test_squares_around_the_boxes(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:28] = 255  # a digit of 8 by 20
    pixels[:, 59] = 7
    Image.fromarray(pixels).save(tmp_path / "1.png")
    boxes = np.array([[20.0, 10, 8, 20], [52, 10, 8, 20]])
    monkeypatch.setattr(tool, "read_digit_struct", lambda _: [HouseNumber("1.png", boxes, (4, 0))])
    (four, first, inside), (zero, second, over) = tool.digits(tmp_path)
    assert (four, first, zero, second) == (4, "1-1.png", 0, "1-2.png")
    assert inside.size == over.size == (22, 22)
    assert np.array_equal(np.asarray(inside), pixels[9:31, 13:35])
    assert (np.asarray(over)[:, -6:] == 7).all()  # what sticks out repeats the edge


def test_the_real_ones(tool: Any, data_dir: Path) -> None:
    found = [digit for digit, _, _ in tool.digits(data_dir / "svhn" / "test")]
    assert len(found) == 486
    assert set(found) == set(range(10))
