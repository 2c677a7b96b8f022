"""What Pillow's decoders are held by: quiet, in the memory that a file can fill, and not too many pictures at once."""

from __future__ import annotations

import ctypes
import functools
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_PIXELS = 64_000_000  # of a picture


@functools.cache
def hush_decoders() -> None:
    """libtiff writes on stderr what Pillow raises as an error, and some of what it does not even mind; Pillow logs more.

    libtiff's two handlers belong to the process; where Pillow does not show them (Windows) they stay.
    """
    from PIL import _imaging

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # who sets logging up still hears it
    with suppress(Exception):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetWarningHandler(None)
        library.TIFFSetErrorHandler(None)


class _Quiet:
    """Ignores Pillow's warnings, which come where this module raises.

    Python's filters belong to the process, and ``catch_warnings`` in two threads at once can leave them changed for
    good: the first thread that decodes sets them, the last one puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._filters is not None:
                self._filters.__exit__(None, None, None)


QUIET = _Quiet()


class Whole(io.BufferedReader):
    """A file that gives no room to bytes which it does not hold: damaged lengths ask for gigabytes of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, self._size - self.tell()))
        return super().read(size)


class Room:
    """Memory for pictures that several threads decode at once, counted in pixels; one alone always finds room."""

    def __init__(self, pixels: int) -> None:
        self._pixels, self._taken, self._changed = pixels, 0, threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """A block that waits until there is room for so many."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self._pixels)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


ROOM = Room(2 * MAX_PIXELS)  # 512 MB, as Pillow keeps them
