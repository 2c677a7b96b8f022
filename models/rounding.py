"""The weights that an int8 file has, back in float: what eight bits cost can then be measured with PyTorch."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from .checkpoint import Checkpoint
from .config import DrawConfig

# An int8 file of a DRAW network is its decoder, so the encoder keeps its weights; of a classifier it is all there is.
_DECODER = (
    "decoder.weight_ih",
    "decoder.weight_hh",
    "write_attention.weight",
    "write_patch.weight",
    "write_canvas.weight",
)
_CLASSIFIER = ("lstm.weight_ih", "lstm.weight_hh", "read_attention.weight", "output.weight")


def rounded_to_int8(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` with every matrix of its int8 file rounded as it is there; biases and learned states stay."""
    names = _DECODER if isinstance(checkpoint.config, DrawConfig) else _CLASSIFIER
    rounded = {k: _rounded(w) if k in names else w for k, w in checkpoint.weights.items()}
    return dataclasses.replace(checkpoint, weights=rounded)


def _rounded(weight: Tensor) -> Tensor:
    """To the nearest of 255 values from -m to m, m being the largest of an output channel. [outputs, inputs]"""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale.where(scale > 0, 1.0)).round() * scale
