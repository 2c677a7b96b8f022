"""The same model with its hidden units in another order: equal in exact arithmetic, other sums in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from .cells import CELLS, OF_UNITS


def reordered(weights: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """``weights`` of a DRAW or a classifier with each LSTM's units in an order that ``seed`` draws."""
    weights, generator = dict(weights), torch.Generator().manual_seed(seed)
    for cell in CELLS:
        if f"{cell.name}.weight_hh" not in weights:
            continue
        size = weights[f"{cell.name}.weight_hh"].shape[1]
        order = torch.randperm(size, generator=generator)
        gates = (torch.arange(4)[:, None] * size + order).flatten()
        for name in (f"{cell.name}.{kind}" for kind in OF_UNITS):
            weights[name] = weights[name][gates]
        for name in cell.initial_states:
            weights[name] = weights[name][order]
        for name in cell.readers:
            if name in weights:
                before, state = weights[name].tensor_split([-size], 1)
                weights[name] = torch.cat([before, state[:, order]], 1)
    return weights
