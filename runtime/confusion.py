"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .error_rate import ErrorRate

MAX_TABLE = 30  # classes that a table shows
_WORST = 10  # mistakes that are listed in place of a table
_LETTERS = 8  # of a class's name in a table


def counted(truth: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often [right class, answer] occurs, from class numbers [n] each."""
    pairs = np.bincount(truth * classes + answers, minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class Confusion:
    """Counts of a classifier's answers."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]  # [right class, answer]

    @classmethod
    def of(cls, labels: tuple[str, ...], truth: NDArray[np.int64], answers: NDArray[np.int64]) -> Confusion:
        """From class numbers [n] each."""
        return cls(labels, counted(truth, answers, len(labels)))

    @property
    def error_rate(self) -> ErrorRate | None:
        """None without answers."""
        images = int(self.counts.sum())
        return ErrorRate(images, images - int(self.counts.trace())) if images else None

    def mistakes(self) -> list[tuple[str, str, int]]:
        """(right class, answer, how often), the commonest first."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.labels[i], self.labels[j], int(wrong[i, j])) for i, j in zip(rows, columns, strict=True)
        ]

    def lines(self, cells: Callable[[str], int] = len) -> list[str]:
        """A table, rows the right classes, columns the answers; of many classes the commonest mistakes.

        Args:
            cells: how wide a text is: ``rich.cells.cell_len`` on a terminal, where some letters take two places.
        """
        if len(self.labels) > MAX_TABLE:
            mistakes = self.mistakes()
            listed = [f"  {right} taken for {answer}: {n:,}" for right, answer, n in mistakes[:_WORST]]
            return ["commonest mistakes:", *listed] if listed else ["no mistakes"]
        names = [short(label) for label in self.labels]
        width = max(3, *map(cells, names), len(f"{self.counts.max():,}"))
        head = max(len("right"), *map(cells, names))

        def line(first: str, middle: str, rest: Iterable[str]) -> str:
            padded = (" " * (width - cells(text)) + text for text in rest)
            return f"{first}{' ' * (head - cells(first))}{middle}{' '.join(padded)}"

        rows = [line("right", "  answer: ", names)]
        for k, row in enumerate(self.counts):
            counts = (f"{n:,}" if n or i == k else "." for i, n in enumerate(row))
            rows.append(line(names[k], "          ", counts))
        return rows


def short(label: str, letters: int = _LETTERS) -> str:
    """A class's name, cut off with an ellipsis where it is longer."""
    return label if len(label) <= letters else label[: letters - 1] + "…"
