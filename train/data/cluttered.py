"""Cluttered MNIST, 100 x 100: one whole digit among eight 8 x 8 pieces of others (section 4.1 of the paper).

One picture is made so, every choice uniform and independent of the others:

1. Eight times: take any digit of the same split (the picture's own included), cut the 8 x 8 square whose
   upper left corner is one of the 21 x 21 places inside the 28 x 28 digit (so it may be empty), and add it
   with its upper left corner at one of the 93 x 93 places where it lies fully inside 100 x 100.
2. Add the whole digit with its upper left corner at one of the 73 x 73 places fully inside.
3. Clip at 255. As nothing added is negative, clipping once at the end equals clipping after every step.

Training pictures are made on the device from the trainer's generator, anew for every batch: picture i holds
training digit i. The validation and test sets are fixed: picture k holds digit k of its split, so that every
digit is used exactly once, and its 42 further choices are draws 42k .. 42k+41 of the SplitMix64 counter
stream: the digit's row and column, then for each piece its source, the crop's row and column, and the
place's row and column. They are sums of whole numbers, the same on every machine.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from ...models.config import ImageSize
from .dataset import Batch, Dataset, Pictures, Split
from .deform import deformed
from .mnist import test_digits, training_digits, training_note, with_validation
from .placing import add_square, add_squares
from .stream import CLUTTER_TEST, CLUTTER_VALID, below, draws

SIDE, DIGIT, PIECE, PIECES = 100, 28, 8, 8
INK = 20  # the longer side of a digit inside its 28 x 28
DIGIT_PLACES = SIDE - DIGIT + 1  # 73 a side
PIECE_PLACES = SIDE - PIECE + 1  # 93
CROPS = DIGIT - PIECE + 1  # 21
DRAWS = 2 + 5 * PIECES  # choices a fixed picture


def load_cluttered(
    root: Path, device: torch.device, *, deform: float = 0.0, all_digits: bool = False
) -> Dataset:
    """``cluttered-mnist``: 50,000 training digits in ever new clutter, 10,000 fixed pictures each to
    validate (the last digits of MNIST's training file) and to test (its test file).

    Args:
        deform: training digits are deformed by this strength (deform.py).
        all_digits: see :func:`~.mnist.with_validation`.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train, valid = training_digits(root)
    note = training_note(train)
    if all_digits:
        train = with_validation(train, valid)
    return Dataset(
        name="cluttered-mnist",
        image=ImageSize(1, SIDE, SIDE),
        train=train.on(device),
        evaluations={
            "valid": lambda: clutter_fixed(valid, CLUTTER_VALID).on(device),
            "test": lambda: clutter_fixed(test_digits(root), CLUTTER_TEST).on(device),
        },
        binary=False,
        figure_size=INK,
        labels=train.names,
        draw=functools.partial(draw_cluttered, deform=deform),
        note=note,
    )


def draw_cluttered(train: Split, indices: Tensor, generator: torch.Generator, deform: float = 0.0) -> Batch:
    """A training batch: digit ``indices[k]`` in picture k, everything else from ``generator``.

    Drawn in this order, each for the whole batch: the digits' places [k, 2], the pieces' sources [k, 8],
    their crops [k, 8, 2] and their places [k, 8, 2] (row before column), and with ``deform`` the digits' maps.
    """
    device, count = indices.device, len(indices)

    def uniform(bound: int, *shape: int) -> Tensor:
        return torch.randint(bound, (count, *shape), generator=generator, device=device)

    place = uniform(DIGIT_PLACES, 2)
    source = uniform(len(train), PIECES)
    crop = uniform(CROPS, PIECES, 2)
    piece_place = uniform(PIECE_PLACES, PIECES, 2)

    pictures = train.images[:, 0]
    pieces = pictures.unfold(1, PIECE, 1).unfold(2, PIECE, 1)[source, crop[..., 0], crop[..., 1]]
    whole = pictures[indices]
    if deform:
        whole = deformed(whole, deform, generator)
    digits = (whole[:, None], place[:, None])
    images = add_squares(SIDE, [digits, (pieces, piece_place)], maximum=255)
    return Batch(images, None if train.labels is None else train.labels[indices])


def clutter_fixed(digits: Pictures, seed: int) -> Pictures:
    """The fixed pictures, uint8 [n, 1, 100, 100], of a split: see the top of this file."""
    count = len(digits)
    integers = draws(seed, 0, count * DRAWS).reshape(count, DRAWS)
    place = below(integers[:, :2], DIGIT_PLACES)
    rest = integers[:, 2:].reshape(count, PIECES, 5)
    source = below(rest[..., 0], count)
    crop = below(rest[..., 1:3], CROPS)
    piece_place = below(rest[..., 3:5], PIECE_PLACES)

    pictures = digits.images[:, 0]
    windows = sliding_window_view(pictures, (PIECE, PIECE), axis=(1, 2))  # type: ignore[call-overload]
    images = np.empty((count, 1, SIDE, SIDE), np.uint8)
    for start in range(0, count, 1000):  # the wider sums of all pictures at once would take 200 MB
        part = slice(start, min(start + 1000, count))
        canvas = np.zeros((part.stop - start, SIDE, SIDE), np.uint16)
        add_square(canvas, pictures[part], place[part])
        for i in range(PIECES):
            patch = windows[source[part, i], crop[part, i, 0], crop[part, i, 1]]
            add_square(canvas, patch, piece_place[part, i])
        images[part, 0] = np.minimum(canvas, 255)
    return Pictures(images, digits.labels, names=digits.names)
