"""The check line: one line by which a port of the runtime to another language is compared with this one.

    check 8c3c93831bc510bf 0.295670 0.127148 0.144127 0.135340 0.121607

The hash says whether the noise stream's integers are right and is compared exactly; the mean over all pictures
and the first four pixels say whether the rest is, and are compared as numbers. docs/embedding.md has the definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DrawError
from .noise import raw_of_pictures
from .sampler import Samples

_FNV_BASIS, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class CheckLine:
    """Gathers the line from consecutive samples of one seed; ``str()`` gives it."""

    def __init__(self) -> None:
        self._hash = _FNV_BASIS
        self._sum, self._values = 0.0, 0
        self._first: list[float] = []

    def add(self, samples: Samples) -> None:
        """The next pictures.

        Raises:
            DrawError: they were drawn from noise of the caller's own, which has no integers.
        """
        if samples.seed is None:
            raise DrawError("the check line needs pictures of a seed, not of noise of your own")
        count, time_steps, latent_size = samples.noise.shape
        integers = raw_of_pictures(samples.seed, samples.start, count, time_steps, latent_size)
        self._hash = fnv1a64(integers, self._hash)
        self._sum += float(samples.images.sum(dtype=np.float64))
        self._values += samples.images.size
        if not self._first:
            self._first = samples.images.reshape(-1)[:4].tolist()

    def __str__(self) -> str:
        mean = self._sum / self._values if self._values else 0.0
        return " ".join(["check", f"{self._hash:016x}", *(f"{value:.6f}" for value in (mean, *self._first))])


def fnv1a64(integers: NDArray[np.uint64], state: int = _FNV_BASIS) -> int:
    """FNV-1a-64 (Fowler, Noll, Vo) over the integers, each as eight bytes, lowest first; ``state`` goes on from before."""
    for byte in integers.astype("<u8").tobytes():
        state = ((state ^ byte) * _FNV_PRIME) & _MASK
    return state
