"""The picture arguments that draw-classify and draw-score share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...console import note
from ...errors import DrawError
from ..metadata import PAD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..pictures.prepare import Prepared
    from ..pictures.reading import Shape

_Read = TypeVar("_Read")


class PictureFiles:
    """Files and folders of pictures, read one by one.

    A file that the user named must be readable. One that merely lies in a folder is named on stderr and
    left out, also from ``names`` once all batches have been.
    """

    labels: None = None  # nobody says what is in them

    def __init__(self, arguments: list[Path]) -> None:
        from ..pictures.walk import Walk, walks

        self._paths: list[Path] = []
        for part in walks(arguments):
            if isinstance(part, Walk):
                self._paths += part.files
                if part.passed_over:
                    note(part.line())
            else:
                self._paths.append(part)
        self._must = set(arguments)
        self.names = [str(path) for path in self._paths]

    def prepared(
        self, size: int, shape: Shape, figure_size: int | None = None, ink: str = "auto"
    ) -> Iterator[list[Prepared]]:
        """Up to ``size`` pictures each as a model of figures reads them, and what was done to them.

        Raises:
            DrawError: none of the pictures could be read.
        """
        from ..pictures.prepare import prepare_file

        return self._read(size, lambda path: prepare_file(path, shape, figure_size, ink))

    def batches(
        self, size: int, shape: Shape, invert: bool = False, picture_fit: str = PAD
    ) -> Iterator[NDArray[np.float32]]:
        """[up to ``size``, C, H, W] in [0, 1] each; raises DrawError when no picture could be read."""
        import numpy as np

        from ..pictures.reading import read_picture

        for part in self._read(size, lambda path: read_picture(path, shape, invert, picture_fit)):
            yield np.stack(part)

    def _read(self, size: int, read: Callable[[Path], _Read]) -> Iterator[list[_Read]]:
        names: list[str] = []
        ready: list[_Read] = []
        for path in self._paths:
            try:
                ready.append(read(path))
            except DrawError as error:
                if path in self._must:
                    raise
                note(f"skipped: {error}")
                continue
            names.append(str(path))
            if len(ready) == size:
                yield ready
                ready = []
        if not names:
            raise DrawError("none of the pictures could be read")
        self.names = names
        if ready:
            yield ready
