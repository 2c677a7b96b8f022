"""Trained models shipped with the package, found by name; see the cards (``*.md``) beside them."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from ..errors import DrawError


def packaged_models(suffix: str) -> list[str]:
    """Names of the packaged files of a kind: ``.onnx`` or ``.ckpt``."""
    return sorted(
        item.name.removesuffix(suffix) for item in files(__name__).iterdir() if item.name.endswith(suffix)
    )


def find_packaged(path: str | os.PathLike[str], suffix: str, what: str) -> Path:
    """The file of a path, or of a bare name among the packaged models.

    A packaged name wins over a file of that name without a suffix; a path with a folder or a suffix is a path.

    Args:
        suffix: ``.onnx`` or ``.ckpt``.
        what: how messages call it: "model", "checkpoint".

    Raises:
        DrawError: there is none, or it is a folder; lists the packaged names.
    """
    text = os.fspath(path)
    bare = isinstance(path, str) and bool(text) and not text.endswith(suffix) and Path(text).name == text
    if bare and text in packaged_models(suffix):
        return Path(str(files(__name__) / f"{text}{suffix}"))
    found = Path(text)
    if found.is_dir():
        raise DrawError(f"{text} is a folder, not a {what}")
    if not found.exists():
        known = ", ".join(packaged_models(suffix))
        packaged = f"packaged models: {known}" if known else "no models are packaged with this version"
        raise DrawError(f"no {what} {text} ({packaged})" if bare else f"no {what} at {text} ({packaged})")
    return found
