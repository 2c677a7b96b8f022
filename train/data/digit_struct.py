"""SVHN's digitStruct.mat: a MATLAB v7.3 file, that is HDF5, of file names and digit boxes.

Group ``digitStruct`` holds ``name`` and ``bbox``, references [n, 1]. A name is an array of UTF-16 characters. A
bbox is a group with ``left``, ``top``, ``width``, ``height`` and ``label``, each one number [1, 1], or [k, 1]
references to k numbers. ``left`` and ``top`` count from 0, and the label 10 is the digit 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5r, h5s, h5t  # pyright: ignore[reportAttributeAccessIssue]

from ... import console
from ...errors import DrawError

_FIELDS = (b"left", b"top", b"width", b"height", b"label")
_LABELS = frozenset(range(1, 11))
_MAX_DIGITS = 32  # in one photograph; the real maximum is 6
_MAX_IMAGES = 1_000_000
_REFERENCE = h5t.py_create(h5py.ref_dtype)


@dataclass(frozen=True)
class HouseNumber:
    """One annotated photograph."""

    name: str  # file name beside digitStruct.mat
    boxes: np.ndarray  # float64 [digits, 4]: left, top, width, height in pixels
    digits: tuple[int, ...]  # 0..9


def read_digit_struct(path: Path) -> list[HouseNumber]:
    """All entries, in the file's order.

    Some six hundred thousand small objects, of which HDF5 opens one after the other, whatever the number of threads: in
    some 50 microseconds each by its own functions, which h5py's classes around them would make minutes.

    Raises:
        DrawError: missing, not HDF5, damaged, or not laid out as above; names the entry.
    """
    numbers = []
    with _opened(path) as (names, boxes, file), console.progress(f"reading {path.name}", len(names)) as bar:
        for i, (name, box) in enumerate(zip(names[:, 0], boxes[:, 0], strict=True), 1):
            try:
                numbers.append(_entry(file, name, box))
            except Exception as error:  # h5py turns damage into errors of every kind
                raise _unusable(path, error, f", entry {i}") from error
            bar.advance()
    return numbers


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """(names, boxes, the file's id): the tables of references [n, 1], and what they lead into."""
    try:
        with h5py.File(path, "r") as file:
            names: Any = file["digitStruct/name"]
            boxes: Any = file["digitStruct/bbox"]
            if names.shape != boxes.shape or names.ndim != 2 or not 0 < len(names) <= _MAX_IMAGES:
                raise ValueError(f"{names.shape} names for {boxes.shape} boxes")
            yield names, boxes, file.id
    except DrawError:
        raise
    except FileNotFoundError as error:
        raise DrawError(f"{path} is missing") from error
    except Exception as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception, where: str = "") -> DrawError:
    return DrawError(f"{path} is not a usable digitStruct.mat{where}: {' '.join(str(error).split())}")


def _entry(file: Any, name: Any, box: Any) -> HouseNumber:
    """One photograph's name and digits, by HDF5's own functions, from the references to them.

    Raises:
        ValueError, or what h5py makes of damage.
    """
    letters = _small(h5r.dereference(name, file), 255, h5t.NATIVE_UINT16, np.uint16)
    text = letters.tobytes().decode("utf-16-le")
    if text in ("", "..") or Path(text).name != text or "\\" in text or "\0" in text:
        raise ValueError(f"{text!r} is not a file name")
    group = h5r.dereference(box, file)
    columns = [_numbers(file, h5d.open(group, key)) for key in _FIELDS]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its boxes and labels differ in number")
    table = np.array(columns).T
    boxes, labels = table[:, :4], table[:, 4]
    if not np.isfinite(boxes).all() or (np.abs(boxes) > 1e6).any() or (boxes[:, 2:] <= 0).any():
        raise ValueError("a box has no size or is out of range")
    if not all(label in _LABELS for label in labels.tolist()):
        raise ValueError("a label is not 1 to 10")
    return HouseNumber(text, boxes, tuple(int(label) % 10 for label in labels))


def _numbers(file: Any, dataset: Any) -> np.ndarray:
    if dataset.get_type().get_class() != h5t.REFERENCE:
        return _small(dataset, _MAX_DIGITS, h5t.NATIVE_DOUBLE, np.float64)
    references = _small(dataset, _MAX_DIGITS, _REFERENCE, h5py.ref_dtype)
    found = [_small(h5r.dereference(r, file), 1, h5t.NATIVE_DOUBLE, np.float64)[0] for r in references]
    return np.array(found)


def _small(dataset: Any, limit: int, kind: Any, dtype: Any) -> np.ndarray:
    """A short array, flat; its size is looked at before it is read."""
    size = dataset.get_space().get_simple_extent_npoints()
    if not 0 < size <= limit:
        raise ValueError(f"an array has {size} values; between 1 and {limit} are expected")
    values = np.empty(size, dtype)
    dataset.read(h5s.ALL, h5s.ALL, values, kind)
    return values
