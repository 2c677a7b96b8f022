"""An LSTM written out step by step, for decoder, scorer and classifier, and the rearranged weights that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .builder import GraphBuilder, Matrix

Array = NDArray[np.float64]
Weights = Mapping[str, Array]  # the checkpoint's weights in float64, by their names there


class LstmWeights(NamedTuple):
    """For x W + h R + b, gates in the order i, f, o, g: one Sigmoid serves the first three."""

    w: Array  # [inputs, 4h]
    r: Array  # [h, 4h]
    bias: Array  # [4h], both of torch's in one


def lstm_weights(weights: Weights, cell: str) -> LstmWeights:
    """``weights`` of the ``torch.nn.LSTMCell`` called ``cell``, whose gates are in the order i, f, g, o."""
    w, r = weights[f"{cell}.weight_ih"], weights[f"{cell}.weight_hh"]
    bias = weights[f"{cell}.bias_ih"] + weights[f"{cell}.bias_hh"]
    i, f, g, o = np.split(np.arange(len(bias)), 4)
    order = np.concatenate([i, f, o, g])
    return LstmWeights(w[order].T, r[order].T, bias[order])


def gate_groups(array: Array, *, single: bool = False) -> dict[str, Array]:
    """Columns [.., 3h] of i, f, o and [.., h] of g, or of each gate by itself. With a product for each nothing is copied to
    part their sums, and an engine can join the product with its Sigmoid or Tanh."""
    if single:
        return dict(zip("ifog", np.split(array, 4, axis=-1), strict=True))
    size = array.shape[-1] // 4
    return {"ifo": array[..., : 3 * size], "g": array[..., 3 * size :]}


class UnrolledLstm:
    """An LSTM written out, and the state between the steps.

    cell' = s(f) cell + s(i) tanh(g); h' = s(o) tanh(cell')

    Args:
        r: LstmWeights.r [h, 4h] in the graph, whole or in its :func:`gate_groups`; empty where the caller adds h R.
        cell: the learned cell [h], which every picture begins with.
    """

    def __init__(self, b: GraphBuilder, r: Sequence[Matrix], cell: Array) -> None:
        self.b, self.r, self.size = b, r, len(cell)
        self.cell = b.weight("initial_cell", cell[None])
        self.h: ir.Value | None = None  # [batch, h]; None before the first step

    def step(self, *gates: ir.Value) -> ir.Value:
        """h' from the inputs' share of the gates' sums [batch, 4h], in the order i, f, o, g, or of :func:`gate_groups`.

        In the first step the share of the learned state, h_0 R, is in there too: it is a constant.
        """
        b, h = self.b, self.size
        if self.h is not None and self.r:
            products = zip(gates, self.r, strict=True)
            gates = tuple(b.product(self.h, r, share, name="gates") for share, r in products)
        if len(gates) == 4:
            *sums, g = gates
            i, f, o = (b.op("Sigmoid", part, name=gate) for gate, part in zip("ifo", sums, strict=True))
        else:
            ifo, g = gates if len(gates) == 2 else b.split(gates[0], [3 * h, h], 1, ["ifo_sum", "g_sum"])
            i, f, o = b.split(b.op("Sigmoid", ifo, name="ifo"), [h, h, h], 1, ["i", "f", "o"])
        kept = b.op("Mul", f, self.cell, name="kept")
        added = b.op("Mul", i, b.op("Tanh", g, name="g"), name="added")
        self.cell = b.op("Add", kept, added, name="cell")
        self.h = b.op("Mul", o, b.op("Tanh", self.cell), name="h")
        return self.h


def step_name(t: int, steps: int) -> str:
    """``step_03``: zero-based, at least two digits."""
    return f"step_{t:0{max(2, len(str(steps - 1)))}d}"
