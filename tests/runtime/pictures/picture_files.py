"""Picture files as tests write and read them, with Pillow alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def frames_of(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """A GIF's frames, and how many milliseconds each is shown."""
    frames, durations = [], []
    with Image.open(path) as picture:
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")))
            durations.append(picture.info["duration"])
    return frames, durations
