"""Reading a file that may be gzipped, never more of it than was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ...errors import DrawError

_CHUNK = 1 << 20


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BinaryIO]:
    """Open for reading; decompresses where the content (not the name) says gzip.

    Raises:
        DrawError: the file is missing or unreadable, or its gzip data is damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                yield file
                return
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield cast(BinaryIO, stream)
    except EOFError as error:
        raise DrawError(f"{path} is cut off: its gzip data ends too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DrawError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise DrawError(f"cannot read {path}: {error.strerror or error}") from error


def read_at_most(stream: BinaryIO, count: int) -> bytearray:
    """``count`` bytes, or fewer where the stream ends. Memory grows with what is there, not with ``count``."""
    data = bytearray()
    while len(data) < count:
        chunk = stream.read(min(_CHUNK, count - len(data)))
        if not chunk:
            break
        data += chunk
    return data
