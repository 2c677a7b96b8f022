"""Digits that are none: what a reader of digits should not be sure of."""

from __future__ import annotations

import numpy as np


def torn_digits(images: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The upper half of one digit joined to the lower half of another with another label.

    Args:
        images: [n, h, w].
        labels: int64 [n], at least two different ones.

    Returns:
        [m, h, w], m a little below n: pairs that happen to have the same label are left out.
    """
    upper, lower = random.integers(len(images), size=(2, len(images)))
    differ = labels[upper] != labels[lower]
    half = images.shape[1] // 2
    return np.concatenate([images[upper[differ], :half], images[lower[differ], half:]], axis=1)
