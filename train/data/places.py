"""Folders that users name, and the one in their cache."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from ...errors import DrawError

_OLD = 86_400.0  # seconds: nobody unpacks or writes for a day


def cache_root() -> Path:
    """``draw-onnx`` in the user's cache: where data and prepared pictures are kept unless a folder is named.

    Raises:
        DrawError: nobody knows where that is: HOME is not set, and the system does not know this user.
    """
    from pooch import os_cache

    try:
        return Path(os_cache("draw-onnx"))
    except RuntimeError as error:
        raise DrawError("there is no home folder to keep data in: set HOME, or DRAW_DATA") from error


def expand_home(path: Path) -> Path:
    """``path`` with a leading ``~`` or ``~name`` as that user's folder.

    Raises:
        DrawError: there is no such folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise DrawError(f"{path}: the home folder is not known") from error


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove hidden files and folders that a killed process left in the middle of its work, a day ago or more."""
    for part in folder.glob(pattern):
        with suppress(OSError):
            if part.name.startswith(".") and time.time() - part.stat().st_mtime > _OLD:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
