"""An exponential moving average of the weights: evaluated and shipped in their place."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a module's parameters. A decay of 0 follows the parameters exactly."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, iteration: int) -> None:
        """``iteration`` counts from 1; the horizon grows with it, so that early weights are soon forgotten."""
        decay = min(self.decay, iteration / (iteration + 9))
        current = list(module.state_dict().values())
        torch._foreach_lerp_(list(self.weights.values()), current, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def load(self, weights: dict[str, Tensor]) -> None:
        for name, value in self.weights.items():
            value.copy_(weights[name])
