"""Which classes are taken for which."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DrawError

MAX_TABLE = 30  # classes that a table shows
MAX_PICTURE = 500  # classes that a picture shows
_WORST = 10  # mistakes that are listed in place of a table
_LETTERS = 8  # of a class's name in a table


@dataclass(frozen=True)
class Confusion:
    """Counts of a classifier's answers."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]  # [right class, answer]

    @classmethod
    def of(cls, labels: tuple[str, ...], truth: NDArray[np.int64], answers: NDArray[np.int64]) -> Confusion:
        """From class numbers [n] each."""
        size = len(labels)
        counts = np.bincount(truth * size + answers, minlength=size * size).reshape(size, size)
        return cls(labels, counts.astype(np.int64))

    def mistakes(self) -> list[tuple[str, str, int]]:
        """(right class, answer, how often), the commonest first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.labels[i], self.labels[j], int(wrong[i, j])) for i, j in zip(rows, columns, strict=True)
        ]

    def lines(self) -> list[str]:
        """A table, rows the right classes, columns the answers; of many classes the commonest mistakes."""
        if len(self.labels) > MAX_TABLE:
            mistakes = self.mistakes()
            listed = [f"  {right} taken for {answer}: {n:,}" for right, answer, n in mistakes[:_WORST]]
            return ["commonest mistakes:", *listed] if listed else ["no mistakes"]
        names = [_short(label) for label in self.labels]
        width = max(3, *map(len, names), len(f"{self.counts.max():,}"))
        head = max(len("right"), *map(len, names))
        rows = [f"{'right':<{head}}  answer: " + " ".join(f"{name:>{width}}" for name in names)]
        for k, row in enumerate(self.counts):
            cells = (f"{n:,}" if n or i == k else "." for i, n in enumerate(row))
            rows.append(f"{names[k]:<{head}}          " + " ".join(f"{cell:>{width}}" for cell in cells))
        return rows


def write_confusion(path: str | os.PathLike[str], confusion: Confusion) -> None:
    """A PNG of the matrix: each row's shares as shades, counts where there is room for them.

    Raises:
        DrawError: more than 500 classes, or the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    from .pictures.drawing import write_png

    labels, counts = confusion.labels, confusion.counts
    size = len(labels)
    if size > MAX_PICTURE:
        raise DrawError(f"a picture of {size} classes would be too large: {MAX_PICTURE} at most")
    cell = max(4, min(48, 1600 // size))
    font = ImageFont.load_default(max(8, min(15, cell - 4)))
    measure = ImageDraw.Draw(Image.new("L", (1, 1))).textlength
    longest = max(measure(_short(label, 16), font) for label in labels)
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
            draw.text((margin - 6, middle), _short(label, 16), "black", font, anchor="rm")
            name = Image.new("RGB", (int(longest) + 4, cell), "white")
            ImageDraw.Draw(name).text((2, cell / 2), _short(label, 16), "black", font, anchor="lm")
            picture.paste(name.rotate(90, expand=True), (margin + k * cell - 1, margin - name.width - 4))
    write_png(path, np.asarray(picture))


def _short(label: str, letters: int = _LETTERS) -> str:
    return label if len(label) <= letters else label[: letters - 1] + "…"
