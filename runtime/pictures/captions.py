"""Short texts under tiles."""

from __future__ import annotations

import numpy as np

from .drawing import GAP_COLOUR, Rgb


def caption(text: str, width: int) -> Rgb:
    """White on the colour of the gaps, in greys only; cut off with an ellipsis where it is too long.

    Args:
        text: one line.
        width: screen pixels of the strip; the letters grow with it.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = min(max(12, width // 16), 24)
    strip = Image.new("L", (width, size + size // 2), GAP_COLOUR[0])
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size)
    if draw.textlength(text, font) > width - 4:
        while text and draw.textlength(text + "…", font) > width - 4:
            text = text[:-1]
        text += "…"
    draw.text((2, 0), text, 255, font)
    return np.repeat(np.asarray(strip)[..., None], 3, axis=2)


def captioned(tile: Rgb, text: str) -> Rgb:
    """The tile with a caption below."""
    return np.concatenate([tile, caption(text, tile.shape[1])])
