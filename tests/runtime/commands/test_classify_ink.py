"""draw-classify on pictures of ink: classifier-figures.onnx reads figures of 12 pixels."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier
from draw_onnx.errors import DrawError

# --- pictures of ink: classifier-figures.onnx reads figures of 12 pixels


@pytest.fixture
def letters(tmp_path: Path) -> list[Path]:
    """The same figure in four ways, and a blank sheet."""
    ink = np.zeros((200, 150), np.uint8)
    ink[40:160, 60:75] = ink[40:55, 60:110] = ink[95:110, 60:100] = 255
    small = np.zeros((20, 24), np.uint8)
    small[4:16, 6:8] = small[4:6, 6:11] = small[9:11, 6:10] = 255
    pictures = {
        "0-input.png": small,
        "1-paper.png": 255 - small,
        "2-large.png": 250 - ink // 5 * 4,
        "3-clear.png": np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink]),
        "4-blank.png": np.full((60, 60), 255, np.uint8),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    return [tmp_path / name for name in pictures]


def test_what_was_done_is_printed(run, fake: Path, letters: list[Path]) -> None:
    base = ("classify", "--onnx", fake / "classifier-figures.onnx", *letters)
    table = run(*base)
    assert table.code == 0, table.err
    assert table.out.splitlines()[0].endswith("prepared")
    for line, end in zip(
        table.out.splitlines()[1:],
        [
            "  as it is",
            "  dark ink",
            "  dark ink, cropped, scaled from 120 to 12 pixels",
            "  ink from alpha, cropped, scaled from 120 to 12 pixels",
            "  as it is; blank: no ink was found",
        ],
        strict=True,
    ):
        assert line.endswith(end), line
    assert f"{letters[4]}: blank: no ink was found" in table.err.splitlines()
    rows = json.loads(run(*base, "--json").out)
    assert rows[2]["prepared"] == {
        "ink": "dark",
        "steps": ["dark ink", "cropped", "scaled from 120 to 12 pixels"],
        "warning": None,
    }
    assert rows[4]["prepared"]["warning"] == "blank: no ink was found"
    parsed = list(csv.DictReader(io.StringIO(run(*base, "--csv").out)))
    assert parsed[1]["prepared"] == "dark ink"


def test_prepared_pictures_are_read_alike(run, fake: Path, letters: list[Path]) -> None:
    model = Classifier(fake / "classifier-figures.onnx", "cpu")
    first, second, *large = (model.prepare(path).image for path in letters[:4])
    np.testing.assert_array_equal(
        first, np.asarray(Image.open(letters[0]), np.float32)[None] / np.float32(255)
    )
    np.testing.assert_array_equal(second, first)
    for image in large:  # in the middle, where the first one is not
        assert image[0].sum() == pytest.approx(first[0].sum(), rel=0.3)
    with pytest.raises(DrawError, match="ink is auto, light or dark, not 'black'"):
        model.prepare(letters[0], "black")


def test_the_gif_shows_the_prepared_picture(run, fake: Path, letters: list[Path], tmp_path: Path) -> None:
    base = ("classify", "--onnx", fake / "classifier-figures.onnx", "--scale", 4)
    for path, gif in ((letters[0], "0.gif"), (letters[1], "1.gif")):
        assert run(*base, path, "--gif", tmp_path / gif).code == 0
    assert (tmp_path / "0.gif").read_bytes() == (tmp_path / "1.gif").read_bytes()


def test_ink_can_be_said(run, fake: Path, letters: list[Path]) -> None:
    base = ("classify", "--onnx", fake / "classifier-figures.onnx", letters[1], "--csv")
    assert run(*base, "--ink", "dark").out == run(*base).out == run(*base, "--invert").out
    assert run(*base, "--ink", "light").out != run(*base).out
    light = (*base[:3], letters[0], "--csv")
    assert run(*light, "--invert").out == run(*light, "--ink", "dark").out != run(*light).out
    assert run(*base, "--invert", "--ink", "dark").code == 0
    wrong = run(*base, "--invert", "--ink", "light")
    assert wrong.code == 2
    assert "contradicts" in wrong.err
    assert run(*base, "--ink", "red").code == 2


def test_pictures_of_an_npz_are_prepared_too(run, fake: Path, letters: list[Path], tmp_path: Path) -> None:
    page = np.asarray(Image.open(letters[2]))
    np.savez(tmp_path / "x.npz", images=np.stack([page, page]))
    base = ("classify", "--onnx", fake / "classifier-figures.onnx", "--csv")
    one, two = (
        list(csv.DictReader(io.StringIO(run(*base, path).out))) for path in (letters[2], tmp_path / "x.npz")
    )
    assert two[0]["p_line"] == two[1]["p_line"] == one[0]["p_line"]
    np.savez(tmp_path / "y.npz", images=np.full((15, 30, 30), 255, np.uint8))
    lines = run(*base, tmp_path / "y.npz").err.splitlines()
    assert sum("blank: no ink" in line for line in lines) == 10
    assert "picture 0: blank: no ink was found" in lines
    assert any("and 5 more" in line for line in lines)
