"""Tiles, windows, sheets: checked pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.drawing import (
    GAP_COLOUR,
    WRITE_COLOUR,
    arrange,
    check_size,
    chosen_steps,
    draw_windows,
    grid,
    grid_columns,
    pairs,
    sheet,
    to_rgb,
    write_png,
)
from draw_onnx.runtime.pictures.gif import write_steps_gif


def framed(tile: np.ndarray) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) screen pixels that carry the window's colour."""
    marked = (tile == np.array(WRITE_COLOUR)).all(-1)
    ys, xs = np.nonzero(marked)
    return int(xs.min()), int(xs.max()), int(ys.min()), int(ys.max())


def test_to_rgb_rounds_and_enlarges() -> None:
    rgb = to_rgb(np.array([[[0.0, 1.0], [0.5, 2.0]]]), 3)
    assert rgb.shape == (6, 6, 3)
    assert rgb[::3, ::3, 0].tolist() == [[0, 255], [128, 255]]
    assert np.array_equal(rgb[::3, ::3], rgb[2::3, 2::3])
    colour = to_rgb(np.array([1.0, 0.0, np.nan]).reshape(3, 1, 1))
    assert colour.tolist() == [[[255, 0, 0]]]


def test_the_paper_grid_frames_the_whole_picture() -> None:
    """N = 5, A = 28, centre 14.5, stride 6.75: the outer centres are pixels 1 and 28, in the middle of their squares."""
    scale = 10
    tile = draw_windows(np.zeros((280, 280, 3), np.uint8), [14.5, 14.5, 6.75, 0.1, 1], 5, WRITE_COLOUR, scale)
    left, right, top, bottom = framed(tile)
    assert (left, top) == (5, 5)
    assert (right, bottom) == (275, 275)
    assert tile[140, 140].tolist() == [0, 0, 0]  # a frame, not a filled square


def test_the_line_grows_with_sigma_within_bounds() -> None:
    widths = []
    for sigma in (0.01, 0.5, 1.0, 2.0, 50.0):
        tile = draw_windows(np.zeros((280, 280, 3), np.uint8), [14.5, 14.5, 3, sigma, 1], 5, WRITE_COLOUR, 10)
        widths.append(int((tile[140, :140] == np.array(WRITE_COLOUR)).all(-1).sum()))
    assert widths == [1, 2, 5, 10, 10]


def test_one_filter_frames_one_pixel() -> None:
    tile = draw_windows(np.zeros((80, 80, 3), np.uint8), [3, 5, 99.0, 0.01, 1], 1, WRITE_COLOUR, 10)
    assert framed(tile) == (20, 30, 40, 50)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@settings(max_examples=150)
@given(
    row=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), n=st.integers(1, 12), scale=st.integers(1, 5)
)
def test_no_window_leaves_the_tile(row: tuple[float, ...], n: int, scale: int) -> None:
    """Whatever a network says, the tile keeps its size, and a finite window can be seen."""
    tile = np.zeros((7 * scale, 6 * scale, 3), np.uint8)
    draw_windows(tile, row, n, WRITE_COLOUR, scale)
    assert tile.shape == (7 * scale, 6 * scale, 3)
    assert tile.any() == bool(np.isfinite(row[:4]).all())


def test_a_window_off_the_picture_lies_along_its_edge() -> None:
    tile = draw_windows(np.zeros((60, 60, 3), np.uint8), [-40, 3, 1, 0.01, 1], 3, WRITE_COLOUR, 10)
    assert framed(tile) == (0, 0, 15, 35)


def test_arrange_keeps_every_tile() -> None:
    tiles = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    canvas = arrange(tiles, 2, 1)
    assert canvas.shape == (2 * 3 + 1, 2 * 4 + 1, 3)
    assert canvas[1, 1, 0] == 10
    assert canvas[1, 5, 0] == 20
    assert canvas[4, 1, 0] == 30
    assert canvas[4, 5].tolist() == list(GAP_COLOUR)
    assert canvas[0, 0].tolist() == list(GAP_COLOUR)


def test_grids_are_nearly_square() -> None:
    assert [grid_columns(n) for n in (1, 2, 4, 9, 10, 64)] == [1, 2, 2, 3, 4, 8]
    assert grid(np.zeros((64, 1, 28, 28))).shape[:2] == (8 * (28 * 4 + 2) + 2,) * 2


@pytest.mark.parametrize("total", [1, 2, 9, 10, 11, 32, 64])
def test_chosen_steps(total: int) -> None:
    steps = chosen_steps(total)
    assert steps[0] == 1
    assert steps[-1] == total
    assert len(steps) == min(total, 10)
    assert steps == sorted(set(steps))


def test_a_sheet_shows_each_chosen_step_once() -> None:
    """Every tile has a brightness of its own; reading the sheet back gives them in order."""
    count, total = 3, 4
    values = np.arange(count * total).reshape(count, total) / 16
    canvases = np.broadcast_to(values[:, :, None, None, None], (count, total, 1, 5, 40))
    picture = sheet(canvases, steps=[1, 3, 4], scale=2)
    gap = 1
    got = [
        [picture[gap + k * (10 + gap) + 3, gap + s * (80 + gap) + 3, 0] for s in range(3)]
        for k in range(count)
    ]
    expected = (values[:, [0, 2, 3]] * 255 + 0.5).astype(int)
    assert np.array_equal(got, expected)
    assert picture.shape == (count * 11 + 1, 3 * 81 + 1, 3)


def test_a_long_sheet_is_broken_into_blocks() -> None:
    picture = sheet(np.zeros((64, 10, 1, 28, 28)))
    height, width, _ = picture.shape
    assert 0.5 < height / width < 2
    assert max(height, width) < 2000


def test_the_finished_picture_of_a_sheet_has_no_window() -> None:
    windows = np.broadcast_to(np.array([3, 3, 1, 0.1, 1.0]), (1, 2, 5))
    picture = sheet(np.zeros((1, 2, 1, 5, 5)), windows, 3, scale=4)
    red = (picture == np.array(WRITE_COLOUR)).all(-1)
    assert red[:, : red.shape[1] // 2].any()
    assert not red[:, red.shape[1] // 2 :].any()


def test_each_picture_of_a_sheet_has_the_window_of_its_step() -> None:
    places = np.array([[1, 3, 5, 7], [2, 4, 6, 8]])  # of two pictures in four steps
    windows = np.stack([places, places, *np.broadcast_to([[[0]], [[0.1]], [[1]]], (3, 2, 4))], -1)
    picture = sheet(np.zeros((2, 4, 1, 9, 9)), windows, 1, steps=[3, 1], scale=2)
    for row, column, place in ((0, 0, 5), (0, 1, 1), (1, 0, 6), (1, 1, 2)):
        tile = picture[1 + 19 * row :, 1 + 19 * column :][:18, :18]
        left, _, top, _ = framed(tile)
        assert left == top == 2 * (place - 1)


def test_sizes_beyond_use_are_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(DrawError, match=r"more than 16384 a side.*fewer pictures"):
        grid(np.broadcast_to(np.float32(0), (1_000_000, 1, 28, 28)))
    with pytest.raises(DrawError, match="more than 16384 a side"):
        sheet(np.broadcast_to(np.float32(0), (1_000_000, 10, 1, 28, 28)))
    check_size(16_384, 16_384)
    for size in ((16_385, 1), (1, 16_385)):
        with pytest.raises(DrawError, match=f"{size[0]} x {size[1]} pixels, more than 16384 a side"):
            check_size(*size)


def test_png_is_exact_and_grey_stays_grey(tmp_path: Path) -> None:
    rgb = to_rgb(np.linspace(0, 1, 256).reshape(1, 16, 16))
    write_png(tmp_path / "grey.png", rgb)
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), rgb[..., 0])
    rgb[0, 0] = (255, 0, 0)
    write_png(tmp_path / "colour.png", rgb)
    with Image.open(tmp_path / "colour.png") as picture:
        assert np.array_equal(np.asarray(picture), rgb)
    first = (tmp_path / "colour.png").read_bytes()
    write_png(tmp_path / "colour.png", rgb)
    assert (tmp_path / "colour.png").read_bytes() == first


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda c, w: grid(c[:, 0], 0), "the scale must be at least 1, not 0"),
        (lambda c, w: grid(c[:, 0], cast(Any, 1.5)), "the scale must be a whole number, not 1.5"),
        (lambda c, w: sheet(c, scale=-1), "the scale must be at least 1, not -1"),
        (lambda c, w: pairs(c[:, 0], c[:, 0], scale=0), "the scale must be at least 1, not 0"),
        (lambda c, w: pairs(c[:, 0], c[:1, 0]), "images of different shapes"),
        (lambda c, w: pairs(c, c), r"images must have shape \[n, C, H, W\], C 1 or 3, not"),
        (lambda c, w: grid(c), r"images must have shape \[n, C, H, W\], C 1 or 3, not"),
        (lambda c, w: grid(c[:, 0, 0]), r"images must have shape \[n, C, H, W\], C 1 or 3, not"),
        (lambda c, w: grid(np.zeros((2, 2, 8, 8))), r"images must have shape \[n, C, H, W\], C 1 or 3, not"),
        (lambda c, w: sheet(c, steps=cast(Any, [1.5])), "the step must be a whole number, not 1.5"),
        (lambda c, w: sheet(None), r"no canvases: the file gives finished pictures only"),
        (lambda c, w: sheet(c[0]), r"canvases must have shape \[n, T, C, H, W\]"),
        (lambda c, w: sheet(c, w[:, 1:], 3), r"windows must have shape \[2, 3, 5\], not \[2, 2, 5\]"),
        (lambda c, w: write_steps_gif("x.gif", c, w[:1], 3), r"windows must have shape \[2, 3, 5\]"),
        (lambda c, w: write_steps_gif("x.gif", c, fps=-1), "a GIF runs at"),
    ],
)
def test_bad_arguments_are_named(draw: Callable[..., object], message: str) -> None:
    with pytest.raises(DrawError, match=message):
        draw(np.zeros((2, 3, 1, 4, 5)), np.ones((2, 3, 5)))


def test_levels_are_the_same_pictures() -> None:
    """uint8 from 0 to 255, as every model takes them."""
    levels = np.random.default_rng(0).integers(256, size=(2, 3, 1, 4, 5), dtype=np.uint8)
    pictures = levels / 255
    assert np.array_equal(grid(levels[:, 0]), grid(pictures[:, 0]))
    assert np.array_equal(sheet(levels), sheet(pictures))
    assert np.array_equal(pairs(levels[:, 0], pictures[:, 0]), pairs(pictures[:, 0], levels[:, 0]))
    assert np.array_equal(to_rgb(levels[0, 0])[..., 0], levels[0, 0, 0])
