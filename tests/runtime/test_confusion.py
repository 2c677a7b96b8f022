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


def test_rows_of_the_picture_are_right_classes(tmp_path: Path) -> None:
    """Shaded by their share of the row: a quarter of the cats are known, the others are taken for dogs."""
    truth, answers = np.array([0] * 4 + [1] * 4), np.array([0] + [1] * 7)
    write_confusion(tmp_path / "a.png", Confusion.of(("cat", "dog"), truth, answers))
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    centres = []
    for shade, colour in ((0.25, (59, 110, 165)), (0.75, (200, 69, 47)), (1.0, (59, 110, 165))):
        fill = [255 + (c - 255) * shade**0.5 for c in colour]
        ys, xs = np.nonzero((abs(pixels - fill) <= 0.5).all(-1))
        assert len(ys) > 500, shade
        centres.append((ys.mean(), xs.mean()))
    known, mistaken, dogs = centres
    assert known[0] == pytest.approx(mistaken[0], abs=4)  # the cats' row, above the dogs'
    assert mistaken[0] < dogs[0] - 20
    assert known[1] < mistaken[1] - 20
    assert mistaken[1] == pytest.approx(dogs[1], abs=4)
