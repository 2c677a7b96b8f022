"""What draw-classify found, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...console import note
from ...streams import as_data, printable
from .columns import columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..confusion import Confusion
    from ..pictures.prepare import Prepared

OPEN = "open"  # in the table's column of answers: nothing is likely enough
MANY = 10  # lines about single pictures that are worth reading


@dataclass(frozen=True)
class Answers:
    """One row a picture."""

    names: list[str]
    probabilities: NDArray[np.float32]  # [n, classes]
    labels: tuple[str, ...]
    truth: NDArray[np.int64] | None  # [n]
    done: list[Prepared]  # [n], without the pictures
    least: float | None  # probability below which an answer is left open; None: never

    def likeliest(self) -> list[tuple[str, float]]:
        """(name of the likeliest class, its probability)"""
        return [(self.labels[int(row.argmax())], float(row.max())) for row in self.probabilities]

    def is_open(self, probability: float) -> bool:
        """Whether this is too little for an answer."""
        return self.least is not None and probability < self.least

    def captions(self) -> list[str]:
        """Answer and probability in a few letters."""
        return [f"{OPEN if self.is_open(p) else label}  {p:.1%}" for label, p in self.likeliest()]

    def note_warnings(self) -> None:
        """A line on stderr for every picture outside of what the model knows, up to ten."""
        lines = [
            f"{f'picture {name}' if name.isdigit() else name}: {done.warning}"
            for name, done in zip(self.names, self.done, strict=True)
            if done.warning
        ]
        for line in lines[:MANY]:
            note(line)
        if len(lines) > MANY:
            every = "--json" if self.truth is None else "--csv"
            note(f"and {len(lines) - MANY} more of that kind; {every} names them all")

    def confusion(self) -> Confusion | None:
        """Of the answers that were given; None where the classes are not known."""
        import numpy as np

        from ..confusion import Confusion

        if self.truth is None:
            return None
        given = np.array([not self.is_open(probability) for _, probability in self.likeliest()], bool)
        return Confusion.of(self.labels, self.truth[given], self.probabilities.argmax(1)[given])

    def as_json(self) -> Any:
        if (confusion := self.confusion()) is not None:
            error = confusion.error_rate
            answered = error.images if error else 0
            figures = {
                "images": len(self.names),
                "answered": answered,  # what the errors and their rate are of
                "errors": error.wrong if error else 0,
                "error_rate": error.rate if error else None,
                "interval": list(error.interval) if error else None,
                "labels": list(self.labels),
                "confusion": confusion.counts.tolist(),
            }
            return figures if self.least is None else {**figures, "open": len(self.names) - answered}
        return [
            {
                "picture": name,
                "answer": None if self.is_open(probability) else label,
                **({} if self.least is None else {"open": self.is_open(probability), "likeliest": label}),
                "probability": probability,
                "probabilities": dict(zip(self.labels, map(float, row), strict=True)),
                "prepared": {
                    "ink": done.ink,
                    "steps": list(done.steps),
                    "warning": done.warning or None,
                },
            }
            for name, (label, probability), row, done in zip(
                self.names, self.likeliest(), self.probabilities, self.done, strict=True
            )
        ]

    def print_csv(self) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")

        def write(cells: list[str]) -> None:
            writer.writerow(map(as_data, cells))

        truth = ["label"] if self.truth is not None else []
        mark = [] if self.least is None else [OPEN]
        classes = [f"p_{label}" for label in self.labels]
        write(["picture", *truth, "answer", *mark, "probability", *classes, "prepared"])
        for k, (name, (label, probability)) in enumerate(zip(self.names, self.likeliest(), strict=True)):
            known = [self.labels[self.truth[k]]] if self.truth is not None else []
            is_open = self.is_open(probability)
            mark = [] if self.least is None else [str(is_open).lower()]
            row = [f"{p:.6f}" for p in self.probabilities[k]]
            answer = "" if is_open else label
            write([name, *known, answer, *mark, f"{probability:.6f}", *row, _shown(self.done[k])])

    def print_table(self) -> None:
        from rich.cells import cell_len

        if (confusion := self.confusion()) is not None:
            error = confusion.error_rate
            if error is not None:
                print(error)
            if self.least is not None:
                left = len(self.names) - (error.images if error else 0)
                print(f"{left:,} of {len(self.names):,} left open")
            if error is not None and error.wrong:
                shown = replace(confusion, labels=tuple(map(printable, self.labels)))
                print("\n".join(shown.lines(cell_len)))
            return
        names, labels = ([printable(text) for text in texts] for texts in (self.names, self.labels))
        rows = [["picture", "answer", "probability", "runner-up", "prepared"]]
        for name, row, done in zip(names, self.probabilities, map(_shown, self.done), strict=True):
            best, next_ = (int(k) for k in (-row).argsort(kind="stable")[:2])  # of a tie the first, as argmax
            is_open = self.is_open(float(row[best]))
            likeliest = f"{labels[best]} " if is_open else ""
            rows.append(
                [
                    name,
                    OPEN if is_open else labels[best],
                    f"{likeliest}{row[best]:.2%}",
                    f"{labels[next_]} {row[next_]:.2%}",
                    done,
                ]
            )
        print("\n".join(columns(rows, right=(2,))))


def _shown(done: Prepared) -> str:
    return f"{done}; {done.warning}" if done.warning else str(done)
