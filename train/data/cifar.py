"""CIFAR-10 from its *binary* batches: records of a label byte and 3 x 32 x 32 bytes. No pickle is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from .dataset import Dataset, Pictures
from .downloads import CIFAR10, find_folder
from .gzipped import open_maybe_gzip, read_at_most
from .stream import CIFAR_SPLIT, permutation

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE = ImageSize(3, 32, 32)
RECORD = 1 + 3 * 32 * 32
RECORDS = 10_000  # in each official file
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))


def load_cifar10(root: Path, device: torch.device) -> Dataset:
    """``cifar10``: colour intensities / 255 as Bernoulli means, with labels.

    A tenth of the training pictures (5,000 of all 50,000), chosen by a fixed shuffle, validates. Files that
    hold the first records only, or of which some training batches are missing, are taken as they are, and
    the note says so.

    Raises:
        DrawError: files could not be downloaded, or are damaged.
    """
    roots = (root / "cifar10", root)
    binary = any((place / "cifar-10-batches-bin").exists() for place in roots)
    for place in roots:
        pickles = place / "cifar-10-batches-py"
        if pickles.is_dir() and not binary:
            raise DrawError(
                f"{pickles} holds CIFAR-10 as Python pickles, which can run any code and are never read:"
                " unpack cifar-10-binary.tar.gz beside it, or move it away to have that downloaded"
            )
    folder = find_folder(root, "cifar10/cifar-10-batches-bin", "test_batch.bin", CIFAR10, only=True)
    parts = [read_cifar(folder / name) for name in TRAIN_FILES if (folder / name).exists()]
    if not parts:
        raise DrawError(
            f"{folder} holds no training batch: {TRAIN_FILES[0]} to {TRAIN_FILES[-1]} belong there"
        )
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    given = Pictures(images, labels)
    test = Pictures(*read_cifar(folder / "test_batch.bin"))
    order = permutation(CIFAR_SPLIT, len(given))
    valid = max(1, len(given) // 10)
    train = given[order[valid:]].on(device)
    notes = []
    if len(given) < RECORDS * len(TRAIN_FILES):
        notes.append(f"{len(given):,} of 50,000 training images")
    if len(test) < RECORDS:
        notes.append(f"first {len(test):,} test images")
    return Dataset(
        name="cifar10",
        image=IMAGE,
        train=train,
        evaluations={
            "train": lambda: train,
            "valid": lambda: given[order[:valid]].on(device),
            "test": lambda: test.on(device),
        },
        binary=False,
        picture_fit=COVER,
        labels=LABELS,
        note=", ".join(notes),
    )


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One batch file: uint8 [n, 3, 32, 32] and int64 [n].

    Raises:
        DrawError: missing, empty, not whole records, more than 10,000 of them, or a label above 9.
    """
    with open_maybe_gzip(path) as stream:
        data = read_at_most(stream, RECORDS * RECORD + 1)
    if len(data) > RECORDS * RECORD:
        raise DrawError(f"{path} is longer than the {RECORDS:,} records of a CIFAR-10 batch")
    if not data or len(data) % RECORD:
        raise DrawError(
            f"{path} is not a CIFAR-10 binary batch: {len(data):,} bytes are no whole records of {RECORD:,}"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(labels >= len(LABELS))
    if len(wrong):
        raise DrawError(
            f"{path} is not a CIFAR-10 binary batch: record {wrong[0] + 1} has the label {labels[wrong[0]]}"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels
