"""SVHN's digitStruct.mat: a MATLAB v7.3 file, that is HDF5, of file names and digit boxes.

Group ``digitStruct`` holds ``name`` and ``bbox``, references [n, 1]. A name is an array of UTF-16 characters. A
bbox is a group with ``left``, ``top``, ``width``, ``height`` and ``label``, each one number [1, 1], or [k, 1]
references to k numbers. ``left`` and ``top`` count from 0, and the label 10 is the digit 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import console
from ...errors import DrawError

_BOX = ("left", "top", "width", "height")
_MAX_DIGITS = 32  # in one photograph; the real maximum is 6
_MAX_IMAGES = 1_000_000


@dataclass(frozen=True)
class HouseNumber:
    """One annotated photograph."""

    name: str  # file name beside digitStruct.mat
    boxes: np.ndarray  # float64 [digits, 4]: left, top, width, height in pixels
    digits: tuple[int, ...]  # 0..9


def read_digit_struct(path: Path) -> list[HouseNumber]:
    """All entries, in the file's order.

    Raises:
        DrawError: missing, not HDF5, damaged, or not laid out as above; names the entry.
    """
    import h5py

    where = ""
    try:
        with h5py.File(path, "r") as file:
            names: Any = file["digitStruct/name"]
            boxes: Any = file["digitStruct/bbox"]
            if names.shape != boxes.shape or names.ndim != 2 or not 0 < len(names) <= _MAX_IMAGES:
                raise ValueError(f"{names.shape} names for {boxes.shape} boxes")
            numbers = []
            with console.progress(f"reading {path.name}", len(names)) as bar:
                for i, (name, box) in enumerate(zip(names[:, 0], boxes[:, 0], strict=True)):
                    where = f", entry {i + 1}"
                    numbers.append(_entry(file, name, box))
                    bar.advance()
            return numbers
    except FileNotFoundError as error:
        raise DrawError(f"{path} is missing") from error
    except Exception as error:  # h5py turns damage into errors of every kind
        raise DrawError(
            f"{path} is not a usable digitStruct.mat{where}: {' '.join(str(error).split())}"
        ) from error


def _entry(file: Any, name: Any, box: Any) -> HouseNumber:
    characters = _small(file[name], 255)
    text = characters.astype(np.uint16).tobytes().decode("utf-16-le")
    if text in ("", "..") or Path(text).name != text or "\\" in text:
        raise ValueError(f"{text!r} is not a file name")
    group = file[box]
    columns = [_numbers(file, group[key]) for key in (*_BOX, "label")]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its boxes and labels differ in number")
    table = np.array(columns).T
    boxes, labels = table[:, :4], table[:, 4]
    if not np.isfinite(boxes).all() or (np.abs(boxes) > 1e6).any() or (boxes[:, 2:] <= 0).any():
        raise ValueError("a box has no size or is out of range")
    if not np.isin(labels, np.arange(1, 11)).all():
        raise ValueError("a label is not 1 to 10")
    return HouseNumber(text, boxes, tuple(int(label) % 10 for label in labels))


def _numbers(file: Any, dataset: Any) -> list[float]:
    values = _small(dataset, _MAX_DIGITS)
    if values.dtype == object:
        values = [_small(file[reference], 1)[0] for reference in values]
    return [float(value) for value in values]


def _small(dataset: Any, limit: int) -> np.ndarray:
    """A short array, flat; its size is looked at before it is read."""
    if not 0 < dataset.size <= limit:
        raise ValueError(f"{dataset.name} has {dataset.size} values; between 1 and {limit} are expected")
    return dataset[()].reshape(-1)
