"""Which classes are taken for which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.confusion import Confusion
from draw_onnx.runtime.pictures.confusion_matrix import write_confusion

TRUTH, ANSWERS = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 2, 2, 1, 0, 2])
PETS = Confusion.of(("cat", "dog", "a long-haired hamster"), TRUTH, ANSWERS)


def test_rows_are_right_classes() -> None:
    assert PETS.counts.tolist() == [[1, 0, 2], [1, 1, 0], [0, 0, 1]]
    assert PETS.mistakes() == [("cat", "a long-haired hamster", 2), ("dog", "cat", 1)]


def test_a_table() -> None:
    assert PETS.lines() == [
        "right     answer:      cat      dog a long-…",
        "cat                      1        .        2",
        "dog                      1        1        .",
        "a long-…                 .        .        1",
    ]


def test_of_many_classes_the_commonest_mistakes() -> None:
    labels = tuple(f"c{k}" for k in range(40))
    truth = np.arange(40).repeat(3)
    answers = truth.copy()
    answers[:2] = 7
    answers[5] = 9
    assert Confusion.of(labels, truth, answers).lines() == [
        "commonest mistakes:",
        "  c0 taken for c7: 2",
        "  c1 taken for c9: 1",
    ]
    assert Confusion.of(labels, truth, truth).lines() == ["no mistakes"]


def test_a_picture(tmp_path: Path) -> None:
    write_confusion(tmp_path / "a.png", PETS)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = {tuple(pixel) for pixel in pixels.tolist()}
    assert (59, 110, 165) in colours  # all hamsters are known
    assert any(red > 200 and blue < 150 for red, _, blue in colours)  # and cats are taken for them
    labels = tuple(map(str, range(501)))
    with pytest.raises(DrawError, match="501 classes would be too large"):
        write_confusion(tmp_path / "b.png", Confusion.of(labels, TRUTH, ANSWERS))
    write_confusion(tmp_path / "c.png", Confusion.of(labels[:500], TRUTH, ANSWERS))
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width < 2100
