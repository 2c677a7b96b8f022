"""One step of an LSTM in eight nodes, and the rearranged weights that make it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .builder import GraphBuilder

Array = NDArray[np.float64]
Weights = Mapping[str, Array]  # the checkpoint's weights in float64, by their names there


class LstmWeights(NamedTuple):
    """For x W + h R + b, gates in the order i, f, o, g: one Sigmoid serves the first three."""

    w: Array  # [inputs, 4h]
    r: Array  # [h, 4h]
    bias: Array  # [4h], both of torch's in one

    @property
    def hidden_size(self) -> int:
        return self.r.shape[0]


def lstm_weights(weights: Weights, cell: str) -> LstmWeights:
    """``weights`` of the ``torch.nn.LSTMCell`` called ``cell``, whose gates are in the order i, f, g, o."""
    w, r = weights[f"{cell}.weight_ih"], weights[f"{cell}.weight_hh"]
    bias = weights[f"{cell}.bias_ih"] + weights[f"{cell}.bias_hh"]
    i, f, g, o = np.split(np.arange(len(bias)), 4)
    order = np.concatenate([i, f, o, g])
    return LstmWeights(w[order].T, r[order].T, bias[order])


def lstm_step(
    b: GraphBuilder, gates: ir.Value, cell: ir.Value, hidden_size: int
) -> tuple[ir.Value, ir.Value]:
    """(h', cell') from the gates' sums [batch, 4h] in the order i, f, o, g, and the cell [batch or 1, h].

    cell' = s(f) cell + s(i) tanh(g); h' = s(o) tanh(cell')
    """
    h = hidden_size
    sums, g = b.split(gates, [3 * h, h], 1, ["ifo_sum", "g_sum"])
    i, f, o = b.split(b.op("Sigmoid", sums, name="ifo"), [h, h, h], 1, ["i", "f", "o"])
    kept = b.op("Mul", f, cell, name="kept")
    added = b.op("Mul", i, b.op("Tanh", g, name="g"), name="added")
    cell = b.op("Add", kept, added, name="cell")
    return b.op("Mul", o, b.op("Tanh", cell), name="h"), cell


def step_name(t: int, steps: int) -> str:
    """``step_03``: zero-based, at least two digits."""
    return f"step_{t:0{max(2, len(str(steps - 1)))}d}"
