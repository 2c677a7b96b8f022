"""The attention window in native operators (paper, equations 19-26): decoded vectors and filterbanks.

The leading axes, written …, are [batch] inside a recurrence and [batch, T] for all steps at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from ..models import attention
from ..models.config import ImageSize, ModelConfig
from .builder import GraphBuilder
from .lstm import Array, Weights


class Window(NamedTuple):
    """Equations (21-24) in pixels, each […, 1]."""

    centre: ir.Value  # […, 2] (x, y)
    delta: ir.Value
    gamma: ir.Value
    precision: ir.Value  # -1/(2 sigma^2)
    widths: ir.Value  # […, 3] (delta, sigma, gamma)

    def row(self, b: GraphBuilder) -> ir.Value:
        """(x, y, delta, sigma, gamma) […, 5]"""
        return b.op("Concat", self.centre, self.widths, axis=-1, name="row")


class WindowHead(NamedTuple):
    """The linear layer of an attention vector with everything linear folded in.

    h W + b gives (x, y, log delta, log sigma, log gamma); with a bound, (h W + b) through Tanh, times
    ``scale``, plus ``shift`` does.
    """

    weight: Array  # [h, 5]
    bias: Array  # [5]
    scale: Array | None  # [5]
    shift: Array | None  # [5]
    stride: float  # delta for log delta-tilde = 0; 0 for pictures of one pixel


def window_head(
    weights: Weights, layer: str, n: int, image: ImageSize, bounds: Array | None = None
) -> WindowHead:
    """Fold equations (22-24) into the linear ``layer`` of (g_X, g_Y, log s^2, log d, log g).

    Args:
        n: N, filters per axis.
        bounds: [5], b of b tanh(p / b) for each element of the vector (see ClassifierConfig.bounds).
    """
    order = [0, 1, 3, 2, 4]  # delta before sigma
    _, height, width = image
    stride = (max(width, height) - 1) / max(n - 1, 1)
    scale = np.array([(width + 1) / 2, (height + 1) / 2, 1.0, 0.5, 1.0])
    shift = np.array([(width + 1) / 2, (height + 1) / 2, math.log(stride) if stride else 0.0, 0.0, 0.0])
    weight, bias = weights[f"{layer}.weight"][order].T, weights[f"{layer}.bias"][order]
    if bounds is not None:
        bounds = bounds[order]
        return WindowHead(weight / bounds, bias / bounds, scale * bounds, shift, stride)
    return WindowHead(weight * scale, bias * scale + shift, None, None, stride)


def decode_window(b: GraphBuilder, params: ir.Value, head: WindowHead) -> Window:
    """What the head gave […, 5] to a window."""
    if head.scale is not None and head.shift is not None:
        params = b.op("Mul", b.op("Tanh", params), b.constant("scale", head.scale))
        params = b.op("Add", params, b.constant("shift", head.shift))
    centre, logs = b.split(params, [2, 3], -1, ["centre", "logs"])
    widths = b.op("Exp", logs, name="delta_sigma_gamma")
    if not head.stride:
        widths = b.op("Mul", widths, b.constant("no_stride", [0.0, 1.0, 1.0]))
    delta, sigma, gamma = b.split(widths, [1, 1, 1], -1, ["delta", "sigma", "gamma"])
    sigma2 = b.op("Mul", sigma, sigma, name="sigma2")
    precision = b.op("Div", b.constant("minus_half", -0.5), sigma2, name="precision")
    return Window(centre, delta, gamma, precision, widths)


def filterbanks(
    b: GraphBuilder, window: Window, n: int, width: int, height: int
) -> tuple[ir.Value, ir.Value]:
    """Equations (19, 20, 25, 26): F_X […, n, width] and F_Y […, n, height]."""
    x, y = _log_filterbanks(b, window, n, width, height)
    with b.scope("filterbank_x"):
        f_x = _softmax(b, x)
    with b.scope("filterbank_y"):
        f_y = _softmax(b, y)
    return f_x, f_y


def undivided_filterbanks(
    b: GraphBuilder, window: Window, n: int, width: int, height: int
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """F_X and F_Y before their filters are divided by Z_X and Z_Y, and Z_Y Z_X^T […, n, n].

    What is to pass through both, a row for each filter of F_Y and a column for each of F_X, is far smaller than the
    filters: divided in their place it saves two passes over them.
    """
    x, y = _log_filterbanks(b, window, n, width, height)
    axes = b.integers("axes", [-1])
    with b.scope("filterbank_x"):
        f_x = b.op("Exp", x, name="filters")
        z_x = b.unsqueeze(b.op("ReduceSum", f_x, axes, keepdims=0, name="sums"), -2)
    with b.scope("filterbank_y"):
        f_y = b.op("Exp", y, name="filters")
        z_y = b.op("ReduceSum", f_y, axes, keepdims=1, name="sums")
    return f_x, f_y, b.op("Mul", z_y, z_x, name="sums")


def _log_filterbanks(
    b: GraphBuilder, window: Window, n: int, width: int, height: int
) -> tuple[ir.Value, ir.Value]:
    """:func:`_log_filters` of both axes, […, n, width] and […, n, height]."""
    offsets = b.constant("offsets", np.arange(1, n + 1) - (n / 2 + 0.5))
    spread = b.op("Mul", window.delta, offsets, name="spread")  # mu_i - g, […, n]
    precision = b.unsqueeze(window.precision, -1)
    x, y = b.split_equal(window.centre, -1, ["x", "y"])
    with b.scope("filterbank_x"):
        log_x = _log_filters(b, x, spread, precision, width)
    with b.scope("filterbank_y"):
        log_y = _log_filters(b, y, spread, precision, height)
    return log_x, log_y


def _both_filterbanks(
    b: GraphBuilder, window: Window, n: int, width: int, height: int
) -> tuple[ir.Value, ir.Value]:
    """F_X [batch, 1, n, width] and F_Y [batch, 1, n, height] of one step; of a square picture by the same nodes."""
    if width != height:
        f_x, f_y = filterbanks(b, window, n, width, height)
        return b.unsqueeze(f_x, 1), b.unsqueeze(f_y, 1)
    offsets = b.constant("offsets", np.arange(1, n + 1) - (n / 2 + 0.5))
    spread = b.unsqueeze(b.op("Mul", window.delta, offsets, name="spread"), 1)  # [batch, 1, n]
    precision = b.op("Unsqueeze", window.precision, b.integers("axes", [1, 2]))
    with b.scope("filterbanks"):
        centres = b.unsqueeze(window.centre, -1)  # [batch, 2, 1]
        both = _softmax(b, _log_filters(b, centres, spread, precision, width))
        f_x, f_y = b.split_equal(both, 1, ["f_x", "f_y"])
    return f_x, f_y


def _softmax(b: GraphBuilder, logs: ir.Value) -> ir.Value:
    return b.op("Softmax", logs, axis=-1, name="filters")


def _log_filters(
    b: GraphBuilder, centre: ir.Value, spread: ir.Value, precision: ir.Value, size: int
) -> ir.Value:
    """What models.attention.filterbank gives to its softmax over the pixels a = 1..size: relative to the nearest pixel m,
    where it is 0, and nowhere more. […, n, size]"""
    pixels = b.constant("pixels", np.arange(1, size + 1))
    mu = b.unsqueeze(b.op("Add", centre, spread, name="mu"), -1)
    bounds = b.constant("first", 1.0), b.constant("last", float(size))
    nearest = b.op("Clip", b.op("Round", mu), *bounds, name="nearest")
    # (a - m)(m + a - 2 mu) >= 0, and -1 / 2 sigma^2 below
    rest = b.op("Sub", nearest, b.op("Add", mu, mu))
    squares = b.op("Mul", b.op("Sub", pixels, nearest), b.op("Add", pixels, rest), name="squares")
    exponents = b.op("Mul", squares, precision)
    return b.op("Max", exponents, b.constant("floor", attention.LOG_FLOOR), name="log_filters")


class Reader:
    """Equation (27), a step at a time. The first window comes from the learned state alone: it is known at export.

    Args:
        h: the learned state [h] that the first read looks from.
        bounds: as of :func:`window_head`.
    """

    def __init__(
        self, b: GraphBuilder, config: ModelConfig, weights: Weights, h: Array, bounds: Array | None = None
    ) -> None:
        self.b, self.n, self.image = b, config.read_size, config.image
        self.head = window_head(weights, "read_attention", self.n, self.image, bounds)
        self.weight, self.bias = b.head("weight", self.head.weight), b.constant("bias", self.head.bias)
        params = weights["read_attention.weight"] @ h + weights["read_attention.bias"]
        if bounds is not None:
            params = bounds * np.tanh(params / bounds)
        _, height, width = self.image
        self.first = attention.window_from(torch.from_numpy(params)[None], self.n, width, height)
        self.windows: list[Window] = []  # of the steps after the first

    def read(self, image: ir.Value, channels: int, h: ir.Value | None) -> ir.Value:
        """gamma F_Y image F_X^T from the state h, the first where that is None. [batch, channels n n]"""
        b, n, (_, height, width) = self.b, self.n, self.image
        shape = [-1, channels * n * n]
        if h is None:
            f_x, f_y = (bank[0].numpy() for bank in attention.filterbanks(self.first, n, width, height))
            rows = b.op("MatMul", b.constant("f_y", self.first.gamma.numpy() * f_y), image, name="rows")
            return b.reshape(b.op("MatMul", rows, b.constant("f_x", f_x.T)), shape, name="glimpse")
        params = b.op("Gemm", b.to_single(h), self.weight, self.bias, name="attention")
        window = decode_window(b, params, self.head)
        self.windows.append(window)
        f_x, f_y = _both_filterbanks(b, window, n, width, height)
        rows = b.op("MatMul", f_y, image, name="rows")  # [batch, channels, n, width]
        f_xt = b.op("Transpose", f_x, perm=[0, 1, 3, 2])
        patch = b.reshape(b.op("MatMul", rows, f_xt), shape)
        return b.op("Mul", patch, window.gamma, name="glimpse")

    def first_row(self, like: ir.Value) -> ir.Value:
        """The first window's row for every picture of ``like`` [batch, …]."""
        return self.b.expand_to_batch("first_row", self.first.stack().numpy(), like, 0)


def write(b: GraphBuilder, patch: ir.Value, window: Window, n: int, size: ImageSize) -> ir.Value:
    """Equation (29): 1/gamma F_Y^T patch F_X for one step. [batch, channels n n] -> [batch, channels, height, width]"""
    channels, height, width = size
    f_x, f_y = _both_filterbanks(b, window, n, width, height)
    patch = b.reshape(b.op("Div", patch, window.gamma), [-1, channels, n, n])
    columns = b.op("MatMul", patch, f_x, name="columns")
    f_yt = b.op("Transpose", f_y, perm=[0, 1, 3, 2])
    return b.op("MatMul", f_yt, columns, name="addition")
