"""MNIST: the fixed binarised files (the paper's protocol), and grey digits binarised afresh each time."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.config import ImageSize
from .amat import read_amat
from .dataset import Batch, Dataset, Pictures, Split
from .deform import deformed
from .downloads import find_file
from .mnist_files import TEST, TRAIN, read_part
from .shift import draw_shifted
from .stream import BINARISE_TEST, BINARISE_VALID

IMAGE = ImageSize(1, 28, 28)
TRAIN_SIZE = 50_000
MNIST_CRC32 = 0xEDB3D0B3  # of the first 1,000 training pictures


def load_binarised(root: Path, device: torch.device, *, shift: int = 0, all_digits: bool = False) -> Dataset:
    """``mnist``: trained, validated and tested on the fixed binarised files (Salakhutdinov, Larochelle).

    50,000 / 10,000 / 10,000 pictures of zeros and ones, without labels. The bounds that papers report for
    "binarised MNIST" are on this test file.

    Args:
        shift: training pictures are moved by up to this many pixels in both directions (shift.py).
        all_digits: see :func:`with_validation`; of the fixed files.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train = _fixed(root, "train")
    note = training_note(train)
    stored = (with_validation(train, _fixed(root, "valid")) if all_digits else train).on(device)
    return Dataset(
        name="mnist",
        image=IMAGE,
        train=stored,
        evaluations={
            "train": lambda: stored,
            "valid": lambda: read_fixed(root, "valid", device),
            "test": lambda: read_fixed(root, "test", device),
        },
        binary=True,
        draw=functools.partial(draw_shifted, shift=shift),
        note=note,
    )


def read_fixed(root: Path, split: str, device: torch.device) -> Split:
    """One of the three fixed binarised files."""
    return _fixed(root, split).on(device)


def _fixed(root: Path, split: str) -> Pictures:
    path = find_file(root, f"binarized_mnist/binarized_mnist_{split}.amat")
    return Pictures(read_amat(path), maximum=1)


def load_dynamic(
    root: Path, device: torch.device, *, deform: float = 0.0, all_digits: bool = False
) -> Dataset:
    """``mnist-dynamic``: the first 50,000 training digits, each pixel drawn afresh at every batch.

    ``valid`` is the last 10,000 digits of the training file, binarised once with the fixed stream: the
    fixed validation *file* is a shuffle of all 60,000 and shares digits with our training pictures.
    ``test`` is the fixed binarised test file, so the figure stands beside those of ``mnist``, but models
    trained this way see more pictures and score better: report it apart. ``test-dynamic`` is the test
    digits binarised once with the fixed stream, and so is ``test`` where the pictures are not MNIST's: any set
    of its format will do, with labels or without.

    Args:
        deform: training digits are deformed by this strength (deform.py).
        all_digits: see :func:`with_validation`.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train, valid = training_digits(root, labelled=False)
    stored = (with_validation(train, valid) if all_digits else train).on(device)
    own = crc32(train.images[:1000].tobytes()) == MNIST_CRC32

    def drawn_test() -> Split:
        return test_digits(root, labelled=False).binarised(BINARISE_TEST).on(device)

    notes = [training_note(train), "" if own else "other pictures than MNIST's"]
    return Dataset(
        name="mnist-dynamic",
        image=IMAGE,
        train=stored,
        evaluations={
            "train": lambda: stored,
            "valid": lambda: valid.binarised(BINARISE_VALID).on(device),
            "test": (lambda: read_fixed(root, "test", device)) if own else drawn_test,
            "test-dynamic": drawn_test,
        },
        binary=True,
        labels=train.names,
        draw=functools.partial(draw_binarised, deform=deform),
        note=", ".join(filter(None, notes)),
    )


def draw_binarised(train: Split, indices: Tensor, generator: torch.Generator, deform: float = 0.0) -> Batch:
    """Each pixel 1 with the probability of its intensity. With ``deform`` the digits' maps are drawn before the pixels."""
    digits = train.images[indices]
    if deform:
        digits = deformed(digits[:, 0], deform, generator, sharp=True)[:, None]
    drawn = torch.bernoulli(train.intensities(digits), generator=generator)
    return Batch(drawn, None if train.labels is None else train.labels[indices])


def training_digits(root: Path, labelled: bool = True) -> tuple[Pictures, Pictures]:
    """Training digits (the first 50,000 of the training file) and validation digits (the last 10,000).

    A file that is not the full one is split 5 : 1 likewise. Without ``labelled`` there need be no labels.
    """
    digits = read_part(root, TRAIN, labelled)
    if len(digits) < 6:
        raise DrawError(f"{root}: {len(digits)} training digits are too few to split")
    cut = len(digits) - len(digits) // 6
    return digits[:cut], digits[cut:]


def with_validation(train: Pictures, valid: Pictures) -> Pictures:
    """Training and validation pictures, to train on: a validation figure then says nothing of new digits."""
    images, labels = ([getattr(part, of) for part in (train, valid)] for of in ("images", "labels"))
    return replace(train, images=np.concatenate(images), labels=np.concatenate(labels))


def test_digits(root: Path, labelled: bool = True) -> Pictures:  # noqa: PT028
    """All digits of the test file (10,000)."""
    return read_part(root, TEST, labelled)


def training_note(train: Pictures) -> str:
    """What to say about a training set that is not MNIST's: a part of it, or a larger one, such as EMNIST's."""
    if len(train) == TRAIN_SIZE:
        return ""
    return f"{len(train):,} {f'of {TRAIN_SIZE:,} ' if len(train) < TRAIN_SIZE else ''}training images"
