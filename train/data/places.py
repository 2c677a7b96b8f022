"""Folders that users name, and the one in their cache."""

from __future__ import annotations

from pathlib import Path

from ...errors import DrawError


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
