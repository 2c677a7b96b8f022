"""Pictures moved by whole pixels: a small set seen at more places than it has."""

from __future__ import annotations

import torch
from torch import Tensor

from .dataset import Batch, Split


def draw_shifted(train: Split, indices: Tensor, generator: torch.Generator, shift: int) -> Batch:
    """A training batch, each picture moved by its own whole number of pixels, -shift..shift a side, drawn [k, 2].

    What moves in from outside repeats the picture's edge. With ``shift`` 0 nothing is drawn.
    """
    batch = train.take(indices)
    if not shift:
        return batch
    count, _, height, width = batch.images.shape
    device = batch.images.device
    moved = torch.randint(-shift, shift + 1, (count, 2, 1), generator=generator, device=device)
    rows = (torch.arange(height, device=device) + moved[:, 0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + moved[:, 1]).clamp(0, width - 1)
    pictures = torch.arange(count, device=device)[:, None, None]
    # [k, H, W, C] by three index arrays, and back
    return Batch(
        batch.images.permute(0, 2, 3, 1)[pictures, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2),
        batch.labels,
    )
