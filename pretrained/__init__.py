"""Trained models shipped with the package; see the cards (``*.md``) beside them."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path


def packaged_models(suffix: str) -> dict[str, Path]:
    """Name to file of every packaged model of a kind: ``.onnx`` or ``.ckpt``."""
    folder = Path(str(files(__name__)))
    return {file.stem: file for file in sorted(folder.glob(f"*{suffix}"))}


def find_packaged(name: str, suffix: str) -> Path | None:
    """The packaged file called ``name``; None where ``name`` is a path or unknown. A real file goes first."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", name) or Path(name).exists():
        return None
    return packaged_models(suffix).get(name)
