"""MNIST's idx files: a big-endian header (magic, sizes), then the bytes of a uint8 array."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from ...errors import DrawError
from .gzipped import open_maybe_gzip, read_at_most

_MAX_BYTES = 1 << 30  # twenty times MNIST's training images


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A uint8 array from an idx file, gzipped or not.

    Args:
        path: the file.
        dimensions: number of axes: 3 for images [n, rows, columns], 1 for labels [n].

    Raises:
        DrawError: missing, not idx, another type or number of axes, damaged, cut off, with bytes after the
            end, empty, or declared larger than 1 GiB (refused before anything is allocated).
    """
    with open_maybe_gzip(path) as stream:
        header = read_at_most(stream, 4 + 4 * dimensions)
        if len(header) < 4 or header[:2] != b"\0\0":
            raise DrawError(f"{path} is not an idx file: it does not start with its magic number")
        kind, axes = header[2], header[3]
        if kind != 8 or axes != dimensions:
            raise DrawError(
                f"{path} holds an idx array of type 0x{kind:02x} with {axes} axes;"
                f" expected bytes (0x08) with {dimensions}"
            )
        if len(header) < 4 + 4 * dimensions:
            raise DrawError(f"{path} is cut off inside its header")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        size = math.prod(shape)
        text = " x ".join(f"{n:,}" for n in shape)
        if not 0 < size <= _MAX_BYTES:
            raise DrawError(
                f"{path} declares an array of {text} bytes; between 1 byte and 1 GiB are accepted"
            )
        data = read_at_most(stream, size)
        if len(data) < size:
            raise DrawError(f"{path} is cut off: {len(data):,} bytes of {text}")
        if stream.read(1):
            raise DrawError(f"{path} has bytes after its {text} array")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_pictures(path: Path) -> np.ndarray:
    """An idx image file: uint8 [n, 1, 28, 28].

    Raises:
        DrawError: as :func:`read_idx`; or pictures of another size.
    """
    pictures = read_idx(path, 3)
    if pictures.shape[1:] != (28, 28):
        size = " x ".join(map(str, pictures.shape[1:]))
        raise DrawError(f"{path} holds pictures of {size} pixels; expected 28 x 28")
    return pictures[:, None]


def read_labels(path: Path, count: int, classes: int) -> np.ndarray:
    """The labels of ``count`` pictures, below ``classes``: int64 [count].

    Raises:
        DrawError: as :func:`read_idx`; or another number of labels, or unknown ones.
    """
    numbers = read_idx(path, 1)
    if len(numbers) != count:
        raise DrawError(f"{path} has {len(numbers):,} labels for {count:,} pictures")
    if numbers.max() >= classes:
        raise DrawError(f"{path} has the label {numbers.max()}; expected 0 to {classes - 1}")
    return numbers.astype(np.int64)
