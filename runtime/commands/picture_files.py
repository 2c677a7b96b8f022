"""The picture arguments that draw-classify and draw-score share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...console import note
from ...errors import DrawError
from ...streams import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..metadata import PictureRule
    from ..pictures.prepare import Prepared


class PictureFiles:
    """Files and folders of pictures, read one by one.

    A file that the user named must be readable. One that merely lies in a folder is named on stderr and
    left out, also from ``names`` and ``labels`` once all batches have been.

    Args:
        classes: of the model. Folders of pictures in a folder for each class say what is in them.
        threads: pictures prepared at the same time, a few before they are asked for.
    """

    def __init__(self, arguments: list[Path], classes: tuple[str, ...] = (), threads: int = 1) -> None:
        from ..pictures.walk import walks

        self._paths: list[Path] = []
        folders: list[str | None] = []  # below which each lies
        for part in walks(arguments):
            self._paths += part.files
            folders += map(part.label, part.files)
            if part.passed_over:
                note(part.line())
        self._numbers = _class_numbers(folders, classes)
        self._must, self._threads = set(arguments), threads
        self.names = [str(path) for path in self._paths]
        self._read_rows: list[int] = []

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class numbers [n] of the pictures that were read; None where nobody says what is in them."""
        import numpy as np

        return None if self._numbers is None else np.array(self._numbers, np.int64)[self._read_rows]

    def prepared(self, size: int, rule: PictureRule, ink: str) -> Iterator[list[Prepared]]:
        """Up to ``size`` pictures each as a model of figures reads them, and what was done to them.

        Raises:
            DrawError: none of the pictures could be read.
        """
        from ..batches import map_in_order
        from ..pictures.prepare import prepare_file

        def prepare(path: Path) -> Prepared | DrawError:
            try:
                return prepare_file(path, rule, ink)
            except DrawError as error:
                return error

        ready: list[Prepared] = []
        # A photograph takes most of its time here, in Pillow, which leaves the interpreter to other threads.
        for row, done in enumerate(map_in_order(prepare, self._paths, self._threads)):
            if isinstance(done, DrawError):
                if self._paths[row] in self._must:
                    raise done
                note(f"skipped: {done}")
                continue
            ready.append(done)
            self._read_rows.append(row)
            if len(ready) == size:
                yield ready
                ready = []
        if not self._read_rows:
            raise DrawError("none of the pictures could be read")
        self.names = [str(self._paths[row]) for row in self._read_rows]
        if ready:
            yield ready


def _class_numbers(folders: list[str | None], classes: tuple[str, ...]) -> list[int] | None:
    """Of the folders' names, where each is a class; None otherwise, and a line where only some are."""
    numbers: dict[str | None, int] = {name: k for k, name in enumerate(classes)}
    found = [numbers[name] for name in folders if name in numbers]
    if len(found) == len(folders):
        return found or None
    if found:
        other = next(name for name in folders if name not in numbers)
        what = (
            "pictures lie in no folder"
            if other is None
            else f"the folder {printable(other)} is none of the classes"
        )
        note(f"not scored: some folders are classes of the model, but {what}")
    return None
