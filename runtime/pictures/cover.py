"""``cover``: how pictures fill the frame of a model of photographs, in training and in use (docs/embedding.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image


def cover(picture: Image.Image, width: int, height: int) -> NDArray[np.uint8]:
    """The largest centred box of the frame's aspect, resized to the frame: [C, height, width]."""
    from PIL import Image

    factor = min(picture.width / width, picture.height / height)
    # Rounding must not push the box over the picture's edge.
    left = max((picture.width - factor * width) / 2, 0.0)
    top = max((picture.height - factor * height) / 2, 0.0)
    right, bottom = min(left + factor * width, picture.width), min(top + factor * height, picture.height)
    # Along x, then along y: in one call Pillow 13 begins with y for some tall pictures, which gives other pixels.
    # Only the rows that the second sees: a file of a few kB may have millions of others.
    reach = math.ceil(max(factor, 1.0))
    first = max(int(top) - reach, 0)
    rows = picture.crop((0, first, picture.width, min(math.ceil(bottom) + reach, picture.height)))
    wide = rows.resize((width, rows.height), Image.Resampling.BILINEAR, box=(left, 0, right, rows.height))
    # Pillow's float32, rounded before the rows are left out.
    box = 0, float(np.float32(top)) - first, width, float(np.float32(bottom)) - first
    resized = wide.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.atleast_3d(np.asarray(resized)).transpose(2, 0, 1)


def cover_levels(levels: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """:func:`cover` for an array [1 or 3, h, w] in [0, 1], in whole bytes as a file's picture: [C, H, W] in [0, 1]."""
    from PIL import Image

    channels, height, width = shape
    pixels = (np.clip(levels, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    picture = Image.fromarray(pixels[..., 0] if len(levels) == 1 else pixels)
    covered = cover(picture.convert("RGB" if channels == 3 else "L"), width, height)
    return covered.astype(np.float32) / np.float32(255)
