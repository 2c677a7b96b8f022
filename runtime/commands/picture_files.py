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

    from ..pictures.prepare import Prepared
    from ..pictures.reading import Shape


class PictureFiles:
    """Files and folders of pictures, read one by one.

    A file that the user named must be readable. One that merely lies in a folder is named on stderr and
    left out, also from ``names`` and ``labels`` once all batches have been.

    Args:
        classes: of the model. Folders of pictures in a folder for each class say what is in them.
    """

    def __init__(self, arguments: list[Path], classes: tuple[str, ...] = ()) -> None:
        from ..pictures.walk import walks

        self._paths: list[Path] = []
        folders: list[str | None] = []  # below which each lies
        for part in walks(arguments):
            self._paths += part.files
            folders += map(part.label, part.files)
            if part.passed_over:
                note(part.line())
        self._numbers = _class_numbers(folders, classes)
        self._must = set(arguments)
        self.names = [str(path) for path in self._paths]
        self._read_rows: list[int] = []

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class numbers [n] of the pictures that were read; None where nobody says what is in them."""
        import numpy as np

        return None if self._numbers is None else np.array(self._numbers, np.int64)[self._read_rows]

    def prepared(
        self, size: int, shape: Shape, figure_size: int | None, ink: str, picture_fit: str
    ) -> Iterator[list[Prepared]]:
        """Up to ``size`` pictures each as a model of figures reads them, and what was done to them.

        Raises:
            DrawError: none of the pictures could be read.
        """
        from ..pictures.prepare import prepare_file

        ready: list[Prepared] = []
        for row, path in enumerate(self._paths):
            try:
                ready.append(prepare_file(path, shape, figure_size, ink, picture_fit))
            except DrawError as error:
                if path in self._must:
                    raise
                note(f"skipped: {error}")
                continue
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
