"""MNIST: the fixed binarised files (the paper's protocol), and grey digits binarised afresh each time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.config import ImageSize
from .amat import read_amat
from .dataset import Batch, Dataset, Split
from .downloads import find_file
from .idx import read_labelled_images
from .stream import BINARISE_TEST, BINARISE_VALID, binarise

IMAGE = ImageSize(1, 28, 28)
LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
TRAIN_SIZE = 50_000


def load_binarised(root: Path, device: torch.device) -> Dataset:
    """``mnist``: trained, validated and tested on the fixed binarised files (Salakhutdinov, Larochelle).

    50,000 / 10,000 / 10,000 pictures of zeros and ones, without labels. The bounds that papers report for
    "binarised MNIST" are on this test file.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train = read_fixed(root, "train", device)
    return Dataset(
        name="mnist",
        image=IMAGE,
        train=train,
        evaluations={
            "train": lambda: train,
            "valid": lambda: read_fixed(root, "valid", device),
            "test": lambda: read_fixed(root, "test", device),
        },
        binary=True,
        note=training_note(train),
    )


def read_fixed(root: Path, split: str, device: torch.device) -> Split:
    """One of the three fixed binarised files."""
    path = find_file(root, f"binarized_mnist/binarized_mnist_{split}.amat")
    return Split(torch.from_numpy(read_amat(path)).to(device), maximum=1)


def load_dynamic(root: Path, device: torch.device) -> Dataset:
    """``mnist-dynamic``: the first 50,000 training digits, each pixel drawn afresh at every batch.

    ``valid`` is the last 10,000 digits of the training file, binarised once with the fixed stream: the
    fixed validation *file* is a shuffle of all 60,000 and shares digits with our training pictures.
    ``test`` is the fixed binarised test file, so the figure stands beside those of ``mnist``, but models
    trained this way see more pictures and score better: report it apart. ``test-dynamic`` is the test
    digits binarised once with the fixed stream.

    Raises:
        DrawError: a file could not be downloaded, or is damaged.
    """
    train, valid = training_digits(root)
    stored = train.on(device)
    return Dataset(
        name="mnist-dynamic",
        image=IMAGE,
        train=stored,
        evaluations={
            "train": lambda: stored,
            "valid": lambda: valid.binarised(BINARISE_VALID).on(device),
            "test": lambda: read_fixed(root, "test", device),
            "test-dynamic": lambda: test_digits(root).binarised(BINARISE_TEST).on(device),
        },
        binary=True,
        labels=LABELS,
        draw=draw_binarised,
        note=training_note(train),
    )


def draw_binarised(train: Split, indices: Tensor, generator: torch.Generator) -> Batch:
    """Each pixel 1 with the probability of its intensity."""
    grey = train.take(indices)
    return Batch(torch.bernoulli(grey.images, generator=generator), grey.labels)


@dataclass(frozen=True)
class Digits:
    """Digits and their labels as NumPy arrays: what the sets made from MNIST start from."""

    images: np.ndarray  # uint8 [n, 1, 28, 28], 0..maximum
    labels: np.ndarray  # int64 [n]
    maximum: int = 255

    def __len__(self) -> int:
        return len(self.images)

    def on(self, device: torch.device) -> Split:
        images, labels = torch.tensor(self.images), torch.tensor(self.labels)
        return Split(images.to(device), labels.to(device), self.maximum)

    def binarised(self, seed: int) -> Digits:
        """Each pixel drawn once from the fixed stream of ``seed``."""
        return Digits(binarise(self.images, seed), self.labels, maximum=1)


def training_digits(root: Path) -> tuple[Digits, Digits]:
    """Training digits (the first 50,000 of the training file) and validation digits (the last 10,000).

    A file that is not the full one is split 5 : 1 likewise.
    """
    images, labels = read_labelled_images(
        find_file(root, "mnist/train-images-idx3-ubyte.gz"),
        find_file(root, "mnist/train-labels-idx1-ubyte.gz"),
    )
    if len(images) < 6:
        raise DrawError(f"{root / 'mnist'}: {len(images)} training digits are too few to split")
    cut = len(images) - len(images) // 6
    return Digits(images[:cut], labels[:cut]), Digits(images[cut:], labels[cut:])


def test_digits(root: Path) -> Digits:
    """All digits of the test file (10,000)."""
    return Digits(
        *read_labelled_images(
            find_file(root, "mnist/t10k-images-idx3-ubyte.gz"),
            find_file(root, "mnist/t10k-labels-idx1-ubyte.gz"),
        )
    )


def training_note(train: Digits | Split) -> str:
    """What to say about a training set that is not the full one."""
    return "" if len(train) == TRAIN_SIZE else f"{len(train):,} of {TRAIN_SIZE:,} training images"
