"""Which pictures an update sees: a function of the seed and the iteration, and of nothing else."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from ..runtime.noise import raw


class Order:
    """Epochs are shuffles without replacement, cut into batches that may span two.

    Args:
        size: training pictures.
        batch: pictures an update.
        seed: of the run.
        device: each epoch's shuffle is copied there once; a copy at every update would wait for the one before.
    """

    def __init__(self, size: int, batch: int, seed: int, device: torch.device) -> None:
        self.size, self.batch, self.seed, self.device = size, batch, seed, device
        # The one before may still be needed: a batch spans two epochs.
        self._shuffled = functools.lru_cache(maxsize=2)(self._shuffle)

    def indices(self, iteration: int) -> Tensor:
        """int64 [batch], on the device; ``iteration`` counts from 0."""
        first, size = iteration * self.batch, self.size
        parts = []
        for epoch in range(first // size, (first + self.batch - 1) // size + 1):
            low, high = max(first - epoch * size, 0), min(first + self.batch - epoch * size, size)
            parts.append(self._shuffled(epoch)[low:high])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _shuffle(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, 1, epoch))
        return torch.randperm(self.size, generator=generator).to(self.device)


def derived_seed(seed: int, purpose: int, counter: int) -> int:
    """A seed for one generator of one iteration or epoch. 32 bits: torch's CPU generator uses no more."""
    mixed = raw(seed, np.array([purpose], np.uint64))[0]
    return int(raw(mixed, np.array([counter], np.uint64))[0]) >> 32  # NumPy 1 shifts no uint64 by an int
