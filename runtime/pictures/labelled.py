"""Labelled pictures in an .npz file: ``images`` and, for an error rate, ``labels``."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...errors import DrawError, first_line
from .ink import AUTO
from .prepare import Prepared, prepare
from .reading import Shape, check_images

MAX_BYTES = 4 << 30  # of an array, unpacked


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures as a file holds them; they become a model's input batch by batch."""

    pictures: NDArray[Any]  # [n, c, h, w] uint8 or float
    labels: NDArray[np.int64] | None  # [n] class numbers

    @property
    def names(self) -> list[str]:
        """Their numbers."""
        return [str(k) for k in range(len(self.pictures))]

    def prepared(
        self, size: int, shape: Shape, figure_size: int | None = None, ink: str = AUTO
    ) -> Iterator[list[Prepared]]:
        """Up to ``size`` pictures each as the input of a model, as :func:`prepare` makes them."""
        for begin in range(0, len(self.pictures), size):
            part = self.pictures[begin : begin + size]
            yield [
                prepare(levels, None, shape, figure_size, ink)
                for levels in check_images(part, part.shape[1:])
            ]


def read_labelled(path: str | os.PathLike[str], classes: tuple[str, ...]) -> LabelledPictures:
    """Read ``images`` ([n, h, w], [n, c, h, w] or [n, h, w, c]; uint8 or 0..1) and, if there, ``labels``.

    Labels are class numbers, or names among ``classes``. Nothing is unpickled, and an array that claims to be
    larger than its file can hold is refused before memory is asked for.

    Raises:
        DrawError: no npz file, damaged, or arrays that do not fit.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "images.npy" not in names:
                raise DrawError(f"{path} holds no array named images")
            images = _array(archive, "images")
            found = _array(archive, "labels") if "labels.npy" in names else None
    except (DrawError, MemoryError):
        raise
    except FileNotFoundError:
        raise DrawError(f"no file at {path}") from None
    except Exception as error:  # zipfile and numpy raise whatever damaged bytes lead them to
        raise DrawError(f"{path} is not an npz file, or it is damaged: {first_line(error, 120)}") from error
    try:
        pictures = _as_channels_first(images)
        labels = None if found is None else _class_numbers(found, classes, len(pictures))
        return LabelledPictures(pictures, labels)
    except DrawError as error:
        raise DrawError(f"{path}: {error}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(member)
        if dtype.hasobject:
            raise DrawError(f"{archive.filename}: {name} holds Python objects, which are never loaded")
        size = math.prod(shape) * dtype.itemsize
        if size > min(MAX_BYTES, info.file_size):
            raise DrawError(
                f"{archive.filename}: {name} claims {size} bytes, more than it holds or than is read"
            )
        data = member.read(size)
    if len(data) != size:
        raise DrawError(f"{archive.filename}: {name} ends too early")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _as_channels_first(images: NDArray[Any]) -> NDArray[Any]:
    if images.dtype.kind not in "fbiu":
        raise DrawError(f"images must be numbers, not {images.dtype}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise DrawError(
            f"images must have shape [n, h, w] or [n, c, h, w] with c = 1 or 3, not {list(images.shape)}"
        )
    return images


def _class_numbers(found: NDArray[Any], labels: tuple[str, ...], count: int) -> NDArray[np.int64]:
    if found.shape != (count,):
        raise DrawError(f"labels must have shape [{count}], not {list(found.shape)}")
    if found.dtype.kind == "U":
        unknown = sorted(set(found.tolist()) - set(labels))
        if unknown:
            raise DrawError(f"label {unknown[0]!r} is none of the model's: {', '.join(labels)}")
        return np.array([labels.index(name) for name in found.tolist()], np.int64)
    if found.dtype.kind not in "iu":
        raise DrawError(f"labels must be class numbers or names, not {found.dtype}")
    numbers = found.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(labels):
        raise DrawError(
            f"labels run from {numbers.min()} to {numbers.max()}, the model's from 0 to {len(labels) - 1}"
        )
    return numbers
