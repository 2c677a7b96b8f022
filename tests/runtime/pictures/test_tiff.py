"""TIFFs whose levels are deeper than bytes, as cameras of microscopes write them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.runtime.pictures.reading import open_picture, read_levels, read_picture

LEVELS = np.array([[0, 1, 2047, 2048], [4094, 4095, 300, 3000]], np.uint16)


def twelve_bits(path: Path, levels: np.ndarray, orientation: int = 1) -> Path:
    """Little-endian, uncompressed; two levels in three bytes."""
    height, width = levels.shape
    first, second = levels.reshape(-1, 2).T.astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8)
    entries = [
        (256, width),
        (257, height),
        (258, 12),  # bits of a level
        (259, 1),  # no compression
        (262, 1),  # 0 is black
        (273, 8),  # where the levels are
        (274, orientation),
        (277, 1),  # levels a pixel
        (278, height),
        (279, packed.size),
    ]
    data = packed.tobytes() + bytes(packed.size % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + directory + bytes(4))
    return path


def test_white_is_white(tmp_path: Path) -> None:
    path = twelve_bits(tmp_path / "x.tif", LEVELS)
    expected = LEVELS / 4095
    np.testing.assert_allclose(read_picture(path, (1, 2, 4))[0], expected, atol=1e-6)
    np.testing.assert_allclose(read_picture(path, (1, 2, 4), invert=True)[0], 1 - expected, atol=1e-6)
    levels, alpha = read_levels(path, 1024)
    np.testing.assert_allclose(levels[0], expected, atol=1e-6)
    assert alpha is None
    whole = np.asarray(open_picture(path, 1))
    np.testing.assert_array_equal(whole, np.floor(expected * 255 + 0.5))
    assert np.asarray(open_picture(path, 3))[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("orientation", "turned"), [(3, np.rot90(LEVELS, 2)), (6, np.rot90(LEVELS, -1))])
def test_upright_all_the_same(tmp_path: Path, orientation: int, turned: np.ndarray) -> None:
    path = twelve_bits(tmp_path / "x.tif", LEVELS, orientation)
    np.testing.assert_allclose(read_picture(path, (1, *turned.shape))[0], turned / 4095, atol=1e-6)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1), (np.uint8, 255)])
def test_zero_may_be_white(tmp_path: Path, dtype: type, white: int) -> None:
    light = np.linspace(0, 1, 12).reshape(3, 4)
    for photometric in (0, 1):
        # Pillow turns bytes around as it writes them.
        written = 1 - light if photometric == 0 and dtype is not np.uint8 else light
        Image.fromarray((written * white).astype(dtype)).save(tmp_path / "x.tif", tiffinfo={262: photometric})
        levels = read_picture(tmp_path / "x.tif", (1, 3, 4))[0]
        np.testing.assert_allclose(levels, light, atol=1.01 / 255 if white == 255 else 2e-5)
        whole = np.asarray(open_picture(tmp_path / "x.tif", 1))
        np.testing.assert_allclose(whole / 255, light, atol=1.01 / 255)


def test_a_palette_with_alpha(tmp_path: Path) -> None:
    """As an editor saves it: numbers of colours, and an alpha beside each."""
    numbers, alpha = (
        np.array([[0, 1, 2], [2, 1, 0]], np.uint8),
        np.array([[255, 0, 51], [0, 255, 102]], np.uint8),
    )
    picture = Image.fromarray(numbers).convert("P")
    picture.putpalette([255, 255, 255, 255, 0, 0, 0, 0, 255])
    picture = picture.convert("PA")
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as saved:
        assert saved.mode == "PA"
    colours = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 1]])[numbers]
    expected = (colours * (alpha / 255)[..., None]).transpose(2, 0, 1)
    np.testing.assert_allclose(read_picture(tmp_path / "x.tif", (3, 2, 3)), expected, atol=1e-6)
    levels, opaque = read_levels(tmp_path / "x.tif", 1024)
    assert opaque is not None
    np.testing.assert_allclose(opaque, alpha / 255, atol=1e-6)
    assert levels.shape == (3, 2, 3)
    whole = np.asarray(open_picture(tmp_path / "x.tif", 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(whole / 255, expected, atol=1.01 / 255)
