"""Writing .npz files batch by batch, so that a million pictures need no more memory than a hundred."""

from __future__ import annotations

import os
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...files import atomic_write, check_writable, scratch_beside, writing


class NpzWriter:
    """A context manager; the file appears, whole, when the block ends without an error.

    Each array is spooled to a temporary file on the target's disk first, since a zip takes one member after
    the other. The same arrays give the same bytes. ``np.load`` reads the result without pickle.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_writable(path)
        self._path = Path(path)
        self._stack = ExitStack()
        self._spools: dict[str, IO[bytes]] = {}
        self._headers: dict[str, dict[str, Any]] = {}  # as .npy files have them: dtype, order, shape
        self._scalars: dict[str, NDArray] = {}

    def __enter__(self) -> NpzWriter:
        return self

    def append(self, name: str, rows: NDArray) -> None:
        """Add rows (first axis) to the array ``name``."""
        rows = np.ascontiguousarray(rows)
        with writing(self._path):
            if name not in self._spools:
                self._spools[name] = self._stack.enter_context(scratch_beside(self._path))
                self._headers[name] = npy.header_data_from_array_1_0(rows[:0])
            self._spools[name].write(rows.data)
        count = self._headers[name]["shape"][0] + len(rows)
        self._headers[name]["shape"] = (count, *rows.shape[1:])

    def put(self, name: str, array: NDArray) -> None:
        """Set a whole (small) array."""
        self._scalars[name] = np.asarray(array)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self._finish()

    def _finish(self) -> None:
        with atomic_write(self._path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, spool in self._spools.items():
                spool.seek(0)
                with self._member(archive, name) as member:
                    npy.write_array_header_1_0(member, self._headers[name])
                    while chunk := spool.read(1 << 20):
                        member.write(chunk)
            for name, array in self._scalars.items():
                with self._member(archive, name) as member:
                    npy.write_array(member, array, allow_pickle=False)

    @staticmethod
    def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
        # ZipInfo without a date is 1980: the time of writing would change the bytes.
        return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
