"""Labelled pictures in an .npz file: ``images`` and, for an error rate, ``labels``, or what other programs call them."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...console import note
from ...errors import DrawError, first_line
from ...files import check_ordinary
from ...streams import printable
from ..metadata import PictureRule
from .prepare import WORK, Prepared, prepare
from .reading import check_images

MAX_BYTES = 4 << 30  # of an array, unpacked


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures as a file holds them; they become a model's input batch by batch."""

    path: str
    pictures: NDArray[Any]  # [n, c, h, w] uint8 or float
    labels: NDArray[np.int64] | None  # [n] class numbers

    @property
    def names(self) -> list[str]:
        """Their numbers."""
        return [str(k) for k in range(len(self.pictures))]

    def prepared(self, size: int, rule: PictureRule, ink: str) -> Iterator[list[Prepared]]:
        """Up to ``size`` pictures each as the input of a model, as :func:`prepare` makes them.

        Raises:
            DrawError: a picture has values out of range.
        """
        for begin in range(0, len(self.pictures), size):
            part = self.pictures[begin : begin + size]
            if rule.figure_size is not None and part.dtype == np.uint8:  # whole bytes, as those of a file
                part = _averaged(part)
            try:
                images = check_images(part, part.shape[1:])
            except DrawError as error:
                raise DrawError(f"{self.path}: {error}") from error
            if rule.figure_size is not None:
                images = _averaged(images)
            yield [
                prepare(levels, None, rule.shape, rule.figure_size, ink, rule.picture_fit)
                for levels in images
            ]


def _averaged(images: NDArray[Any]) -> NDArray[Any]:
    """Pictures [n, c, h, w] of bytes or floats, large ones averaged down as :func:`.reading.read_levels` does with files."""
    from PIL import Image

    times = -(-max(images.shape[2:]) // WORK)
    if times == 1:
        return images
    planes = images.reshape(-1, *images.shape[2:])
    small = np.stack([np.asarray(Image.fromarray(plane).reduce(times)) for plane in planes])
    return small.reshape(*images.shape[:2], *small.shape[1:])


# Names that programs give the two arrays, those of the test pictures first.
_PAIRS = (
    ("images", "labels"),
    *(
        (pictures, labels)
        for part in ("test", "valid", "val", "train")
        for pictures, labels in ((f"x_{part}", f"y_{part}"), (f"{part}_images", f"{part}_labels"))
    ),
    ("x", "y"),
    ("data", "target"),
)


def read_labelled(path: str | os.PathLike[str], classes: tuple[str, ...]) -> LabelledPictures:
    """Read ``images`` ([n, h, w], [n, c, h, w] or [n, h, w, c]; uint8 or 0..1) and, if there, ``labels``.

    The arrays may also be called ``x_test`` and ``y_test``, ``test_images`` and ``test_labels`` and the like; of several
    pairs the test set's is taken. Labels ([n], [n, 1] or one-hot [n, classes]) are class numbers, or names among
    ``classes``. Nothing is unpickled, and an array that claims to be larger than its file can hold is refused before
    memory is asked for.

    Raises:
        DrawError: no npz file, damaged, or arrays that do not fit; names what was found.
    """
    with _opened(path) as archive:
        names = _names(archive)
        known = {name.lower(): name for name in names}  # X_test is x_test
        pair = next((pair for pair in _PAIRS if pair[0] in known), None)
        found = _holds(names)
        if pair is None:
            raise DrawError(f"{path} holds no array named images (or x_test, test_images, …): {found}")
        pictures_in, labels_in = known[pair[0]], known.get(pair[1])
        if labels_in is None and len(names) > 1:
            note(f"{path} has no labels named {pair[1]} beside {pictures_in}, so nothing is scored: {found}")
        images = _array(archive, pictures_in)
        numbers = _array(archive, labels_in) if labels_in else None
    try:
        pictures = _as_channels_first(images)
        labels = None if numbers is None else _class_numbers(numbers, classes, len(pictures))
        return LabelledPictures(os.fspath(path), pictures, labels)
    except DrawError as error:
        raise DrawError(f"{path}: {error}") from error


def read_arrays(
    path: str | os.PathLike[str], names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Some arrays of an npz file, without pickle; ``optional`` ones where they are there.

    Raises:
        DrawError: no npz file, damaged, or an array is missing; names what was found.
    """
    with _opened(path) as archive:
        there = _names(archive)
        for name in names:
            if name not in there:
                raise DrawError(f"{path} holds no array {name}: {_holds(there)}")
        return {name: _array(archive, name) for name in (*names, *optional) if name in there}


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _holds(names: Sequence[str]) -> str:
    return f"it holds {', '.join(map(printable, names))}" if names else "it is empty"


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """The archive; what goes wrong in the block is the file's fault."""
    try:
        if os.path.exists(path):
            check_ordinary(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (DrawError, MemoryError):
        raise
    except FileNotFoundError:
        raise DrawError(f"no file at {path}") from None
    except Exception as error:  # zipfile and numpy raise whatever damaged bytes lead them to
        raise DrawError(f"{path} is not an npz file, or it is damaged: {first_line(error, 120)}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(member)
        if dtype.hasobject:
            raise DrawError(f"{archive.filename}: {name} holds Python objects, which are never loaded")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size > min(MAX_BYTES, info.file_size):
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
    shape = list(images.shape)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in shape:
        raise DrawError(
            f"images must have shape [n, h, w], or [n, c, h, w] or [n, h, w, c] with c = 1 or 3, none of them 0, not {shape}"
        )
    return images


def _class_numbers(found: NDArray[Any], labels: tuple[str, ...], count: int) -> NDArray[np.int64]:
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape == (count, len(labels)) and found.dtype.kind in "fbiu":
        if not (np.isin(found, (0, 1)).all() and (found.sum(1) == 1).all()):
            raise DrawError(f"labels [{count}, {len(labels)}] must have one 1 a row, and else zeros")
        return found.argmax(1)
    if found.shape != (count,):
        raise DrawError(f"labels must have shape [{count}], not {list(found.shape)}")
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "replace")
    if found.dtype.kind == "U":
        unknown = sorted(set(found.tolist()) - set(labels))
        if unknown:
            raise DrawError(f"label {unknown[0]!r} is none of the model's: {', '.join(labels)}")
        return np.array([labels.index(name) for name in found.tolist()], np.int64)
    whole = found.dtype.kind in "iu" or (found.dtype.kind == "f" and (found == np.floor(found)).all())
    if not whole:
        raise DrawError(f"labels must be class numbers or names, not {found.dtype}")
    if found.min() < 0 or found.max() >= len(labels):
        raise DrawError(
            f"labels run from {found.min()} to {found.max()}, the model's from 0 to {len(labels) - 1}"
        )
    return found.astype(np.int64)
