"""A learned prior in a graph: z_t = m(h) + s(h) u_t with the decoder's last state h, and log s = tanh(.)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from ..models.config import LEARNED, DrawConfig
from .builder import GraphBuilder
from .lstm import Array, LstmWeights, Weights


class Folded(NamedTuple):
    """The decoder's LSTM with m in its weights: z W + h R + b = (s u) W + h (R + M W) + (b + c W) for m = h M + c."""

    lstm: LstmWeights
    first: Array  # [4h] what the learned h_0 adds to the first step's sums, in place of h_0 R
    prior: LearnedPrior | None  # None: the standard one, and nothing was folded


def fold_prior(b: GraphBuilder, config: DrawConfig, weights: Weights, lstm: LstmWeights) -> Folded:
    """``lstm`` and what is left of the prior to compute in each step."""
    h0 = weights["initial_decoder_hidden"]
    if config.prior != LEARNED:
        return Folded(lstm, h0 @ lstm.r, None)
    mean, scale = np.split(weights["prior.weight"].T, 2, axis=1)  # [h, Z] each
    mean_bias, scale_bias = np.split(weights["prior.bias"], 2)
    whole = LstmWeights(lstm.w, lstm.r + mean @ lstm.w, lstm.bias + mean_bias @ lstm.w)
    return Folded(whole, h0 @ whole.r, LearnedPrior(b, scale, scale_bias, h0))


class LearnedPrior:
    """s(h), the same for every picture before the first step.

    Args:
        weight: [h, Z] of log s before its bound.
        bias: [Z]
        h0: [h] the decoder's learned first state.
    """

    def __init__(self, b: GraphBuilder, weight: Array, bias: Array, h0: Array) -> None:
        self.b = b
        with b.scope("prior"):
            self.weight, self.bias = b.constant("weight", weight), b.constant("bias", bias)
            self.first = b.constant("initial_scale", np.exp(np.tanh(h0 @ weight + bias))[None])

    def scaled(self, u: ir.Value, h: ir.Value | None) -> ir.Value:
        """s(h) u in float32; u [batch, Z], h [batch, h] or None before the first step."""
        b, scale = self.b, self.first
        with b.scope("prior"):
            if h is not None:
                logs = b.op("Gemm", b.to_single(h), self.weight, self.bias)
                scale = b.op("Exp", b.op("Tanh", logs), name="scale")
            return b.op("Mul", scale, u, name="scaled")
