"""The weights that an int8 file has, back in float: what eight bits cost can then be measured with PyTorch."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from .checkpoint import Checkpoint
from .config import DrawConfig


def rounded_to_int8(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` with every matrix of its int8 file rounded as it is there; biases and learned states stay."""
    # Of a DRAW network that is its decoder, so the encoder keeps its weights; of a classifier it is all there is.
    parts = ("decoder.", "write_") if isinstance(checkpoint.config, DrawConfig) else ("",)
    rounded = {
        name: _rounded(weight) if weight.dim() == 2 and name.startswith(parts) else weight
        for name, weight in checkpoint.weights.items()
    }
    return dataclasses.replace(checkpoint, weights=rounded)


def _rounded(weight: Tensor) -> Tensor:
    """To the nearest of 255 values from -m to m, m being the largest of an output channel. [outputs, inputs]"""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale.where(scale > 0, 1.0)).round() * scale
