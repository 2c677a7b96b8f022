"""Digits a little rotated, stretched, slanted and shifted: more hands than the training set has."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# At strength 1, each uniform between minus and plus this.
_ROTATION = math.radians(12)
_STRETCH = 0.12  # of the logarithm, each axis for itself
_SLANT = 0.15  # columns a row
_SHIFT = 0.07  # of half a side: one pixel of 28
# For pixels that are drawn by their intensity. Bilinear interpolation raises the entropy of a digit of MNIST from 45 nats
# to 72, which a model would have to draw; with bicubic and this much contrast around one half it is 42 to 45.
_CONTRAST = 1.16


def deformed(squares: Tensor, strength: float, generator: torch.Generator, *, sharp: bool = False) -> Tensor:
    """Each picture through an affine map of its own about its centre, black outside.

    Args:
        squares: uint8 [k, s, s].
        strength: 1 for the ranges above, 0 for none.
        generator: on the pictures' device; six numbers a picture are drawn from it.
        sharp: for intensities that are probabilities: as few pixels are undecided as before. Otherwise bilinear.

    Returns:
        uint8 [k, s, s], rounded, so that sums of them stay sums of whole numbers.
    """
    count, device = len(squares), squares.device
    draw = strength * (2 * torch.rand((6, count), generator=generator, device=device) - 1)
    angle, slant = _ROTATION * draw[0], _SLANT * draw[1]
    width, height = (_STRETCH * draw[2]).exp(), (_STRETCH * draw[3]).exp()
    cos, sin = angle.cos(), angle.sin()
    # From a pixel of the result to where it comes from, in units of half a side.
    rows = [
        torch.stack([cos * width, (slant * cos - sin) * height, _SHIFT * draw[4]], 1),
        torch.stack([sin * width, (slant * sin + cos) * height, _SHIFT * draw[5]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [count, 1, *squares.shape[1:]], align_corners=False)
    mode = "bicubic" if sharp else "bilinear"
    moved = F.grid_sample(squares[:, None].float(), grid, mode=mode, align_corners=False)[:, 0]
    if sharp:
        moved = ((moved - 127.5) * _CONTRAST + 127.5).clamp(0, 255)
    return moved.round().to(torch.uint8)
