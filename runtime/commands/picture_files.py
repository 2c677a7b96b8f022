"""The picture arguments that draw-classify and draw-score share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...console import note
from ...errors import DrawError
from ..metadata import PAD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PictureFiles:
    """Files and folders of pictures, read one by one.

    A file that the user named must be readable. One that merely lies in a folder is named on stderr and
    left out, also from ``names``.
    """

    def __init__(
        self, arguments: list[Path], shape: tuple[int, int, int], invert: bool, picture_fit: str = PAD
    ) -> None:
        from ..pictures.reading import picture_paths

        self._paths = picture_paths(arguments)
        self._must = set(arguments)
        self._shape, self._invert, self._picture_fit = shape, invert, picture_fit
        self.names = [str(path) for path in self._paths]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """[C, H, W] each; raises DrawError when none could be read."""
        from ..pictures.reading import read_picture

        self.names = []
        for path in self._paths:
            try:
                picture = read_picture(path, self._shape, self._invert, self._picture_fit)
            except DrawError as error:
                if path in self._must:
                    raise
                note(f"skipped: {error}")
                continue
            self.names.append(str(path))
            yield picture
        if not self.names:
            raise DrawError("none of the pictures could be read")
