"""Which classes are taken for which, as a picture."""

from __future__ import annotations

import os

import numpy as np

from ...errors import DrawError
from ...streams import printable
from ..confusion import Confusion, short
from .drawing import write_png

MAX_CLASSES = 500
_LETTERS = 16  # of a class's name


def write_confusion(path: str | os.PathLike[str], confusion: Confusion) -> None:
    """A PNG of the matrix: each row's shares as shades, counts where there is room for them.

    Raises:
        DrawError: more than 500 classes, or the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    labels, counts = [short(printable(label), _LETTERS) for label in confusion.labels], confusion.counts
    size = len(labels)
    if size > MAX_CLASSES:
        raise DrawError(f"a picture of {size} classes would be too large: {MAX_CLASSES} at most")
    cell = max(4, min(48, 1600 // size))
    font = ImageFont.load_default(max(8, min(15, cell - 4)))
    measure = ImageDraw.Draw(Image.new("L", (1, 1))).textlength
    longest = max(measure(label, font) for label in labels)
    margin = int(longest) + 34 if cell >= 10 else 24
    side = margin + size * cell + 8
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((margin, 2), "answer", "#555", ImageFont.load_default(13))
    upright = Image.new("RGB", (60, 18), "white")
    ImageDraw.Draw(upright).text((0, 0), "right class", "#555", ImageFont.load_default(11))
    picture.paste(upright.rotate(90, expand=True), (2, margin))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for i in range(size):
        for j in range(size):
            share = float(shares[i, j])
            # Small shares stay visible: a mistake in a hundred is what one looks for.
            shade = share**0.5
            colour = (59, 110, 165) if i == j else (200, 69, 47)
            fill = tuple(round(255 + (c - 255) * shade) for c in colour)
            x, y = margin + j * cell, margin + i * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=fill)  # type: ignore[arg-type]
            text = f"{counts[i, j]}"
            if counts[i, j] and measure(text, font) <= cell - 3:
                ink = "white" if shade > 0.6 else "black"
                draw.text((x + cell / 2 - 1, y + cell / 2 - 1), text, ink, font, anchor="mm")
    if cell >= 10:
        for k, label in enumerate(labels):
            middle = margin + k * cell + cell / 2
            draw.text((margin - 6, middle), label, "black", font, anchor="rm")
            name = Image.new("RGB", (int(longest) + 4, cell), "white")
            ImageDraw.Draw(name).text((2, cell / 2), label, "black", font, anchor="lm")
            picture.paste(name.rotate(90, expand=True), (margin + k * cell - 1, margin - name.width - 4))
    write_png(path, np.asarray(picture))
