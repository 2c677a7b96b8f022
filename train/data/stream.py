"""Fixed draws: the SplitMix64 counter stream, in whole numbers only, so that every machine agrees.

Draw number m of a seed is raw(m) (see :mod:`draw_onnx.runtime.noise`). Evaluation sets and splits come
from here and never from torch's or NumPy's generators, whose streams may change between versions.
"""

from __future__ import annotations

import numpy as np

from ...runtime.noise import raw

# One seed for each use. They are part of the data sets' definition: never change or reuse one.
DIGITS_SPLIT = 1
BINARISE_VALID = 2
BINARISE_TEST = 3
CLUTTER_VALID = 4
CLUTTER_TEST = 5
TWO_DIGIT_VALID = 6
TWO_DIGIT_TEST = 7
SVHN_SPLIT = 8
CIFAR_SPLIT = 9
FOLDER_SPLIT = 10
BINARISE_SAMPLES = 11
BINARISE_TRAIN = 12
LABELLED_SPLIT = 13


def draws(seed: int, start: int, count: int) -> np.ndarray:
    """raw(start) .. raw(start + count - 1): uint64 [count]."""
    return raw(seed, np.arange(start, start + count, dtype=np.uint64))


def below(integers: np.ndarray, bound: int) -> np.ndarray:
    """Whole numbers 0..bound-1 from raw draws: floor(top 32 bits * bound / 2^32), int64, same shape.

    For bounds up to 2^16 the probabilities differ from uniform by less than 2^-16 of their size.
    """
    return ((integers >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def permutation(seed: int, count: int) -> np.ndarray:
    """A fixed shuffle of 0..count-1: the order that sorts raw(0)..raw(count-1). int64 [count]."""
    return np.argsort(draws(seed, 0, count), kind="stable")


def binarise(images: np.ndarray, seed: int) -> np.ndarray:
    """Grey pictures (uint8 0..255) to 0/1 (uint8), each pixel 1 with probability v/255.

    Pixel j in C order over the whole array is 1 where (raw(j) >> 11) / 2^53 < v / 255, compared in whole
    numbers.
    """
    flat = images.reshape(-1)
    result = np.empty(flat.shape, np.uint8)
    step = 1 << 20
    for start in range(0, flat.size, step):
        part = flat[start : start + step].astype(np.uint64)
        uniform = draws(seed, start, part.size) >> np.uint64(11)
        result[start : start + step] = uniform * np.uint64(255) < part << np.uint64(53)
    return result.reshape(images.shape)
