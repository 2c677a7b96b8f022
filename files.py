"""Writing files so that an interruption leaves either the old file or the whole new one."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import DrawError

_WINDOWS = os.name == "nt"


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary handle whose content becomes ``path`` when the block ends without an error.

    The bytes go to a temporary file in the same folder, are flushed and fsynced, and replace
    ``path`` in one step. After an error nothing is left behind and an existing file is untouched.

    Raises:
        DrawError: the folder is missing or cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = None
    try:
        check_writable(target)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent or ".")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            # mkstemp makes private files; give what open() would have given.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, target)
        temporary = None
    except OSError as error:
        raise DrawError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """``os.replace``. On Windows it fails while a scanner or a viewer holds one of the files: mostly for a moment."""
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            return os.replace(source, target)
        except PermissionError:
            if not _WINDOWS:
                raise
            time.sleep(pause)
    return os.replace(source, target)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise DrawError unless a file could be created at ``path``: said before the work, not after it."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise DrawError(f"cannot write {target}: it is a folder")
    if target.exists() and not target.is_file():
        # os.replace would put a file in the place of /dev/null.
        raise DrawError(f"cannot write {target}: it is not an ordinary file")
    if not folder.is_dir():
        raise DrawError(f"cannot write {target}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DrawError(f"cannot write {target}: the folder {folder} is not writable")


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Call ``write(handle)`` inside :func:`atomic_write`."""
    with atomic_write(path) as handle:
        write(handle)
