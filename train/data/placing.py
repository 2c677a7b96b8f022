"""Squares added to larger pictures at chosen places: what cluttered and two-digit MNIST are made with.

Twice: in torch for training batches, and in NumPy for the fixed sets. A test holds them to the same sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def add_squares(side: int, groups: Sequence[tuple[Tensor, Tensor]], maximum: int) -> Tensor:
    """Pictures of ``side`` x ``side`` pixels, float32 [k, 1, side, side] in [0, 1].

    Args:
        side: height and width of the pictures, in pixels.
        groups: (squares [k, m, s, s], corners int64 [k, m, 2]) pairs: square (k, j) is added to picture k
            with its upper left pixel at the row and column of its corner. Values are whole numbers.
        maximum: sums are clipped to it, then divided by it.
    """
    corners = groups[0][1]
    count, device = len(corners), corners.device
    first = side * side * torch.arange(count, device=device)[:, None]  # each picture's pixel 0, flat
    values, targets = [], []
    for squares, corners in groups:
        line = torch.arange(squares.shape[-1], device=device)
        offsets = (side * line[:, None] + line).reshape(-1)
        corner = first + side * corners[..., 0] + corners[..., 1]
        values.append(squares.reshape(-1))
        targets.append((corner[..., None] + offsets).reshape(-1))
    # Sums of a few whole numbers below 256 are exact in float32, in whatever order they are added.
    canvas = torch.zeros(count * side * side, device=device)
    canvas.scatter_add_(0, torch.cat(targets), torch.cat(values).to(torch.float32))
    return canvas.clamp_(max=maximum).div_(maximum).view(count, 1, side, side)


def add_square(canvas: np.ndarray, squares: np.ndarray, corners: np.ndarray) -> None:
    """Add square k [n, s, s] to ``canvas[k]`` [n, H, W], its upper left pixel at ``corners[k]`` [n, 2]."""
    line = np.arange(squares.shape[1])
    picture = np.arange(len(canvas))[:, None, None]
    # No pixel occurs twice in one call, so that += adds each value.
    canvas[picture, corners[:, 0, None, None] + line[:, None], corners[:, 1, None, None] + line] += squares
