"""The small linear maps whose outputs are positions, logarithms and means: never in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def full_precision(head: nn.Linear, h: Tensor) -> Tensor:
    """``head(h)`` in the weights' own precision, also under mixed precision. [K, H] -> [K, outputs]

    bfloat16 has eight bits: it would place a window at column 50 to a quarter of a pixel, and the KL, a
    difference of logarithms and squares, to a percent.
    """
    with torch.autocast(h.device.type, enabled=False):
        return head(h.to(head.weight.dtype))
