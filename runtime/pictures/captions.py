"""Short texts under tiles."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from ...streams import printable
from .drawing import GAP_COLOUR, Rgb


def captioned(tile: Rgb, text: str) -> Rgb:
    """The tile with a line of text below; its letters grow with the width of the tile.

    White on the colour of the gaps, in greys only; cut off with an ellipsis where it is too long.
    """
    from PIL import Image, ImageDraw, ImageFont

    text = printable(text)  # a class may be called anything
    width = tile.shape[1]
    strip = Image.new("L", (width, caption_height(width)), GAP_COLOUR[0])
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(_letters(width))
    short = text[:width]  # letters take a pixel at least; measuring takes time for each
    if short != text or draw.textlength(short, font) > width - 4:
        lengths = range(1, len(short) + 1)
        fitting = bisect_left(lengths, True, key=lambda n: draw.textlength(short[:n] + "…", font) > width - 4)
        text = short[:fitting] + "…"
    draw.text((2, 0), text, 255, font)
    return np.concatenate([tile, np.repeat(np.asarray(strip)[..., None], 3, axis=2)])


def caption_height(width: int) -> int:
    """Screen pixels that the line below a tile of this width takes."""
    return _letters(width) * 3 // 2


def _letters(width: int) -> int:
    return min(max(12, width // 16), 24)
