"""scikit-learn's 1,797 scanned digits of 8 x 8 pixels: comes with the package, trains in a minute."""

from __future__ import annotations

import numpy as np
import torch

from ...models.config import ImageSize
from .dataset import Dataset, Pictures
from .stream import DIGITS_SPLIT, permutation

LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
VALID_SIZE = TEST_SIZE = 200


def load_digits(device: torch.device) -> Dataset:
    """Intensities 0..16 divided by 16, as Bernoulli means; a fixed shuffle split 1,397 / 200 / 200."""
    from sklearn.datasets import load_digits as load

    images, labels = load(return_X_y=True)
    order = permutation(DIGITS_SPLIT, len(images))
    pictures = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    shuffled = Pictures(pictures, np.asarray(labels, np.int64), maximum=16)[order]
    parts = {
        "train": shuffled[: -VALID_SIZE - TEST_SIZE].on(device),
        "valid": shuffled[-VALID_SIZE - TEST_SIZE : -TEST_SIZE].on(device),
        "test": shuffled[-TEST_SIZE:].on(device),
    }
    return Dataset(
        name="digits",
        image=ImageSize(1, 8, 8),
        train=parts["train"],
        evaluations={name: (lambda part=part: part) for name, part in parts.items()},
        binary=False,
        labels=LABELS,
    )
