"""MNIST with two digits, 60 x 60 (section 4.3 of the paper).

Two 28 x 28 digits of the same split, each with its upper left corner at one of the 33 x 33 places where it
lies fully inside, uniform and independent; intensities added and clipped at one. The paper does not say
whether its digits were binarised here. Ours are, each pixel drawn with the probability of its intensity
before the digits are added, as in ``mnist-dynamic``: so targets are zeros and ones, the loss is a true bound
on -log p(x), and it stands beside the figures of the other MNIST sets.

Training pictures are made on the device from the trainer's generator, anew for every batch: picture i holds
training digit i and any second one. The validation and test sets are fixed: picture k holds digit k of its
split and a second one, binarised as the fixed sets of ``mnist-dynamic`` are; draws 5k .. 5k+4 of the
SplitMix64 counter stream choose the second digit, the first one's row and column and the second one's.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from ...models.config import ImageSize
from .dataset import Batch, Dataset, Pictures, Split
from .deform import deformed
from .mnist import test_digits, training_digits, training_note, with_validation
from .placing import add_square, add_squares
from .stream import BINARISE_TEST, BINARISE_VALID, TWO_DIGIT_TEST, TWO_DIGIT_VALID, below, draws

SIDE, DIGIT = 60, 28
PLACES = SIDE - DIGIT + 1  # 33 a side


def load_two_digit(
    root: Path, device: torch.device, *, deform: float = 0.0, all_digits: bool = False
) -> Dataset:
    """``mnist-two-digit``: 50,000 training digits in ever new pairs, 10,000 fixed pictures each to validate
    (the last digits of MNIST's training file) and to test (its test file). No labels.

    Args:
        deform: training digits are deformed by this strength (deform.py).
        all_digits: see :func:`~.mnist.with_validation`.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train, valid = training_digits(root, labelled=False)
    note = training_note(train)
    if all_digits:
        train = with_validation(train, valid)
    return Dataset(
        name="mnist-two-digit",
        image=ImageSize(1, SIDE, SIDE),
        train=train.on(device),
        evaluations={
            "valid": lambda: pair_fixed(valid.binarised(BINARISE_VALID), TWO_DIGIT_VALID, device),
            "test": lambda: pair_fixed(
                test_digits(root, labelled=False).binarised(BINARISE_TEST), TWO_DIGIT_TEST, device
            ),
        },
        binary=True,
        draw=functools.partial(draw_pairs, deform=deform),
        note=note,
    )


def draw_pairs(train: Split, indices: torch.Tensor, generator: torch.Generator, deform: float = 0.0) -> Batch:
    """A training batch: digit ``indices[k]`` and another in picture k, all else from ``generator``.

    Drawn in this order, each for the whole batch: the second digits [k], the places [k, 2, 2] (first and
    second digit, row before column), with ``deform`` the digits' maps, the pixels [k, 2, 28, 28].
    """
    device, count = indices.device, len(indices)
    second = torch.randint(len(train), (count,), generator=generator, device=device)
    places = torch.randint(PLACES, (count, 2, 2), generator=generator, device=device)
    digits = train.images[torch.stack([indices, second], 1), 0]
    if deform:
        digits = deformed(digits.flatten(0, 1), deform, generator, sharp=True).view_as(digits)
    drawn = torch.bernoulli(train.intensities(digits), generator=generator)
    return Batch(add_squares(SIDE, [(drawn, places)], maximum=1))


def pair_fixed(digits: Pictures, seed: int, device: torch.device) -> Split:
    """The fixed pictures, uint8 0/1 [n, 1, 60, 60], of binarised digits: see the top of this file."""
    second, places = pair_draws(seed, len(digits))
    pictures = digits.images[:, 0]
    return Pictures(paint_pairs(pictures, pictures[second], places)[:, None], maximum=1).on(device)


def pair_draws(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The second digits of a fixed set's pictures and both digits' corners: int64 [count], [count, 2, 2]."""
    integers = draws(seed, 0, count * 5).reshape(count, 5)
    return below(integers[:, 0], count), below(integers[:, 1:], PLACES).reshape(count, 2, 2)


def paint_pairs(first: np.ndarray, second: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pictures uint8 0/1 [n, 60, 60] of binarised digits [n, 28, 28] at their corners [n, 2, 2]."""
    canvas = np.zeros((len(first), SIDE, SIDE), np.uint8)
    add_square(canvas, first, places[:, 0])
    add_square(canvas, second, places[:, 1])
    return np.minimum(canvas, 1)
