"""Photographs fill their frame: what training and drawing have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.runtime.pictures.cover import cover
from draw_onnx.runtime.pictures.reading import open_picture, read_picture

from .picture_files import save

RNG = np.random.default_rng(0)


@given(height=st.integers(1, 40), width=st.integers(1, 40), high=st.integers(1, 12), wide=st.integers(1, 12))
@settings(max_examples=60)
def test_covering_fills_the_frame_with_the_middle(height: int, width: int, high: int, wide: int) -> None:
    """A ramp stays a ramp about its middle, whatever the sizes; a constant stays constant."""
    ramp = np.broadcast_to(np.round(np.linspace(0, 255, width)).astype(np.uint8), (height, width))
    got = cover(Image.fromarray(ramp), wide, high).astype(int)
    assert got.shape == (1, high, wide)
    assert got.mean() == pytest.approx(127.5 if width > 1 else 0.0, abs=1)
    assert (np.diff(got[0], axis=1) >= 0).all()
    np.testing.assert_array_equal(got[0], got[0, :1].repeat(high, 0))
    constant = Image.new("RGB", (width, height), (64, 64, 64))
    np.testing.assert_array_equal(cover(constant, wide, high), np.full((3, high, wide), 64))


@pytest.mark.parametrize("size", [(45, 80), (48, 100), (61, 40), (300, 7)])
def test_cover_goes_along_x_first(size: tuple[int, int]) -> None:
    """Ports round after each pass as well: 45x80, a telephone's, differed in every fourth pixel."""
    width, height = size
    pixels = RNG.integers(256, size=(height, width)).astype(np.uint8)
    factor = min(width, height) / 32
    left, top = (width - 32 * factor) / 2, (height - 32 * factor) / 2
    wide = Image.fromarray(pixels).resize(
        (32, height), Image.Resampling.BILINEAR, box=(left, 0, left + 32 * factor, height)
    )
    both = wide.resize((32, 32), Image.Resampling.BILINEAR, box=(0, top, 32, top + 32 * factor))
    np.testing.assert_array_equal(cover(Image.fromarray(pixels), 32, 32)[0], np.asarray(both))


def test_cover_of_a_thin_tall_picture_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a few kB holds millions of rows, of which the box has one."""
    heights = []
    resize = Image.Image.resize

    def watched(picture: Image.Image, *arguments: Any, **options: Any) -> Image.Image:
        heights.append(picture.height)
        return resize(picture, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert cover(Image.new("RGB", (1, 2_000_000)), 54, 54).shape == (3, 54, 54)
    assert max(heights) < 10


def covered(path: Path, channels: int, height: int, width: int) -> np.ndarray:
    return cover(open_picture(path, channels), width, height)


def test_cover_keeps_proportions_and_cuts_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    picture = np.zeros((20, 80, 3), np.uint8)
    picture[:, 30:50] = 200  # the centre square
    save(path, picture)
    np.testing.assert_array_equal(covered(path, 3, 20, 20), np.full((3, 20, 20), 200))
    half = covered(path, 1, 10, 20)  # twice as wide as high: columns 20..59, halved
    assert half.shape == (1, 10, 20)
    assert (half[:, :, 6:14] == 200).all()
    assert (half[:, :, :4] == 0).all()
    np.testing.assert_array_equal(half, half[:, :, ::-1])
    tall = tmp_path / "tall.png"
    save(tall, picture.transpose(1, 0, 2))
    np.testing.assert_array_equal(covered(tall, 3, 20, 20), np.full((3, 20, 20), 200))
    small = tmp_path / "small.png"
    save(small, np.full((2, 3, 3), 7, np.uint8))
    np.testing.assert_array_equal(covered(small, 3, 40, 31), np.full((3, 40, 31), 7))  # enlarged
    same = tmp_path / "same.png"
    exact = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    save(same, exact)
    np.testing.assert_array_equal(covered(same, 3, 9, 7), exact.transpose(2, 0, 1))


def test_every_kind_of_picture_becomes_grey_or_colour(tmp_path: Path) -> None:
    path = tmp_path / "p.png"

    def opened(picture: Image.Image, channels: int = 3, kind: str = "PNG", **options: Any) -> np.ndarray:
        picture.save(path, kind, **options)
        return np.asarray(open_picture(path, channels))

    red = Image.new("RGB", (3, 2), (255, 0, 0))
    assert (opened(red, 1) == 76).all()  # Rec. 601: 0.299 * 255
    assert (opened(Image.new("L", (3, 2), 9)) == 9).all()
    assert (opened(Image.new("1", (3, 2), 1)) == 255).all()
    half = Image.new("RGBA", (3, 2), (200, 100, 0, 128))  # over black
    assert opened(half)[0, 0].tolist() == [100, 50, 0]
    assert (opened(Image.new("LA", (3, 2), (200, 0)), 1) == 0).all()
    palette = red.convert("P", palette=Image.Palette.ADAPTIVE)
    assert opened(palette)[0, 0].tolist() == [255, 0, 0]
    transparent = palette.copy()
    transparent.info["transparency"] = palette.getpixel((0, 0))
    assert opened(transparent).max() == 0
    deep = Image.fromarray(np.array([[0, 128, 129, 65535]], np.uint16))
    assert opened(deep, 1).tolist() == [[0, 0, 1, 255]]
    assert opened(deep, 3).shape == (1, 4, 3)
    bright = Image.fromarray(np.array([[0.0, 0.5, 2.0, np.nan]], np.float32))
    assert opened(bright, 1, "TIFF").tolist() == [[0, 128, 255, 0]]
    assert opened(Image.new("CMYK", (3, 2)), 3, "JPEG").min() > 250
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    assert opened(Image.new("L", (3, 2)), 1, "JPEG", exif=turned).shape == (3, 2)
    frames = [Image.new("L", (3, 2), v) for v in (5, 250)]
    assert opened(frames[0], 1, "GIF", save_all=True, append_images=frames[1:]).max() < 10


@pytest.mark.parametrize("channels", [1, 3])
def test_covering_pictures_are_inverted_under_their_alpha(tmp_path: Path, channels: int) -> None:
    """Black surroundings stay black, as with padded ones."""
    alpha = RNG.integers(0, 256, (8, 10), dtype=np.uint8)
    for picture in (
        RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8),
        RNG.integers(0, 256, (8, 10), dtype=np.uint16),
        np.dstack([RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8), alpha]),
    ):
        path = save(tmp_path / "x.png", picture)
        shape = (channels, 8, 10)  # the picture's own size: neither rule resizes
        got = read_picture(path, shape, invert=True, picture_fit="cover")
        np.testing.assert_allclose(got, read_picture(path, shape, invert=True), atol=1.5 / 255)
        assert np.abs(got - read_picture(path, shape, picture_fit="cover")).mean() > 0.1
