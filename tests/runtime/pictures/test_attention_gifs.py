"""Glimpse and score GIFs: the right window on the right tile, the answer at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from draw_onnx.runtime.pictures.attention_gifs import write_glimpse_gif, write_score_gif
from draw_onnx.runtime.pictures.captions import captioned
from draw_onnx.runtime.pictures.drawing import READ_COLOUR, WRITE_COLOUR
from draw_onnx.streams import printable

from .picture_files import frames_of


def where(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns that carry a colour."""
    return np.nonzero((frame == np.array(colour)).all(-1).any(0))[0]


def test_the_window_is_on_the_picture_and_the_glimpse_beside_it(tmp_path: Path) -> None:
    """gamma is taken out again: a glimpse of 0.5 under gamma 4 is shown as the 0.5 it was read from."""
    images = np.zeros((1, 1, 20, 24), np.float32)
    glimpses = np.full((1, 2, 1, 4, 4), 2.0, np.float32)
    windows = np.array([[[6, 6, 1, 0.1, 4], [18, 14, 1, 0.1, 4]]], np.float32)
    write_glimpse_gif(tmp_path / "x.gif", images, glimpses, windows, ["seven"], scale=4)
    frames, _ = frames_of(tmp_path / "x.gif")
    assert len(frames) == 3
    half = frames[0].shape[1] / 2
    for frame in frames:
        columns = where(frame, READ_COLOUR)
        assert len(columns)
        assert columns.max() < half
        right = frame[:80, int(half) + 20 : int(half) + 60]
        assert np.abs(np.median(right) - 128) <= 1
    assert where(frames[0], READ_COLOUR).mean() < where(frames[1], READ_COLOUR).mean()
    for frame, text in zip(frames, ("glimpse 1 of 2", "glimpse 2 of 2", "seven"), strict=True):
        tile = frame[6:-6, 6:-6]  # without the gaps around it
        line = captioned(np.zeros((0, tile.shape[1], 3), np.uint8), text)
        assert np.abs(tile[-len(line) :].astype(int) - line).max() <= 1


def test_reading_is_blue_on_the_left_and_writing_red_on_the_right(tmp_path: Path) -> None:
    images = np.zeros((2, 3, 7, 6), np.float32)
    canvases = np.zeros((2, 3, 3, 7, 6), np.float32)
    windows = np.broadcast_to(np.array([3, 4, 1, 0.1, 1], np.float32), (2, 3, 5))
    write_score_gif(tmp_path / "x.gif", images, canvases, windows, windows, 2, 3, [1.0, 2.0], scale=10)
    frames, _ = frames_of(tmp_path / "x.gif")
    assert len(frames) == 4
    for frame in frames[:3]:
        assert where(frame, READ_COLOUR).min() < where(frame, WRITE_COLOUR).min()
        assert where(frame, READ_COLOUR).max() < where(frame, WRITE_COLOUR).max()
    assert not len(where(frames[3], READ_COLOUR))
    assert not len(where(frames[3], WRITE_COLOUR))
    write_score_gif(tmp_path / "y.gif", images, canvases, None, None, 0, 0, [1.0, 2.0])
    assert len(frames_of(tmp_path / "y.gif")[0]) == 4


def shortened(text: str, width: int) -> str:
    """Letter by letter from the end."""
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    font = ImageFont.load_default(min(max(12, width // 16), 24))
    if draw.textlength(text, font) <= width - 4:
        return text
    while text and draw.textlength(text + "…", font) > width - 4:
        text = text[:-1]
    return text + "…"


@pytest.mark.parametrize("width", [1, 5, 20, 61, 90, 400])
def test_a_caption_has_as_many_letters_as_fit(width: int) -> None:
    tile = np.zeros((1, width, 3), np.uint8)
    for text in ("", "i" * 30, "W" * 30, "AVAVAV, To. 99.8%" * 4, "絵é µ" * 9, "seven  99.8%"):
        short = shortened(text, width)
        np.testing.assert_array_equal(captioned(tile, text), captioned(tile, short))


def test_a_caption_is_one_line_of_letters_that_show() -> None:
    tile, text = np.zeros((1, 200, 3), np.uint8), "a\nb\x1b[31m"
    np.testing.assert_array_equal(captioned(tile, text), captioned(tile, printable(text)))


def test_a_label_without_end_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    whole = ImageDraw.ImageDraw.textlength

    def textlength(self, text: str, *more) -> float:
        measured.append(len(text))
        return whole(self, text, *more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "textlength", textlength)
    captioned(np.zeros((5, 90, 3), np.uint8), "o" * 2_000_000)
    assert sum(measured) < 1000


def test_captions_have_the_width_asked_for_and_no_colour() -> None:
    for width in (20, 90, 400):
        for text in ("", "7  99.8%", "a label that is much too long for any tile of this size, really " * 3):
            picture = captioned(np.full((5, width, 3), 9, np.uint8), text)
            assert picture.shape[1:] == (width, 3)
            assert (picture[:5] == 9).all()
            strip = picture[5:]
            assert (strip == strip[..., :1]).all()
    assert captioned(np.zeros((5, 90, 3), np.uint8), "x").max() > 150
