"""The fixed binarised MNIST: text, one picture a line, 784 zeros and ones between single spaces."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import DrawError
from .gzipped import open_maybe_gzip, read_at_most

_MAX_LINES = 100_000
_ZERO, _SPACE, _NEWLINE = 0x30, 0x20, 0x0A


def read_amat(path: Path, rows: int = 28, columns: int = 28) -> np.ndarray:
    """Binary pictures, uint8 0/1 [n, 1, rows, columns], from an ``.amat`` file, gzipped or not.

    Windows line ends and a missing last line end are accepted.

    Raises:
        DrawError: missing, damaged, empty, longer than 100,000 lines, or a line of another length or with
            other characters (named by its number).
    """
    fields = rows * columns
    width = 2 * fields  # a digit and a separator each
    limit = (width + 1) * _MAX_LINES
    with open_maybe_gzip(path) as stream:
        data = read_at_most(stream, limit + 1)
    if len(data) > limit:
        raise DrawError(f"{path} is longer than {_MAX_LINES:,} lines of {fields} values")
    if b"\r" in data[: width + 1]:
        data = data.replace(b"\r\n", b"\n")
    if data and data[-1] != _NEWLINE:
        data.append(_NEWLINE)
    if not data:
        raise DrawError(f"{path} is empty")
    if len(data) % width == 0:
        table = np.frombuffer(data, np.uint8).reshape(-1, fields, 2)
        values = table[..., 0] ^ _ZERO  # '0' and '1' differ from 0x30 in the last bit only
        separators = np.array([_SPACE] * (fields - 1) + [_NEWLINE], np.uint8)
        if values.max() <= 1 and (table[..., 1] == separators).all():
            return values.reshape(-1, 1, rows, columns)
    # The first line that is not as the check above wants it.
    raise DrawError(f"{path}, {next(_faults(data, fields))}")


def _faults(data: bytearray, fields: int) -> Iterator[str]:
    """What is wrong with the lines, each that is not ``fields`` zeros and ones between single spaces."""
    for number, line in enumerate(io.BytesIO(data), 1):
        if len(line) - 1 > 4 * fields:  # splitting a huge line would cost sixty times its size
            yield f"line {number}: {len(line) - 1:,} characters, expected {2 * fields - 1:,}"
            continue
        words = line.removesuffix(b"\n").split(b" ")
        for position, word in enumerate(words, 1):
            if word not in (b"0", b"1"):
                shown = word[:12].decode("ascii", "backslashreplace")
                yield f"line {number}: value {position} is {shown!r}, expected 0 or 1"
        if len(words) != fields:
            yield f"line {number}: {len(words)} values, expected {fields}"
