"""The attention window in native operators (paper, equations 19-26): decoded vectors and filterbanks.

The leading axes, written …, are [batch] inside a recurrence and [batch, T] for all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import torch

from ..models import attention
from ..models.config import ImageSize, ModelConfig
from .builder import GraphBuilder
from .lstm import Array, Weights


class Window(NamedTuple):
    """A decoded attention vector."""

    place: ir.Value  # […, 3]: what the head gave for x and y, and delta in strides
    inverse: ir.Value  # […, 1]: 1 / sigma^2
    gamma: ir.Value  # […, 1]

    def row(self, b: GraphBuilder) -> ir.Value:
        """For :meth:`WindowHead.rows`. […, 5]"""
        return b.op("Concat", *self, axis=-1, name="row")


class WindowHead(NamedTuple):
    """The linear layer of an attention vector: h W + b, with a bound through Tanh, is (x, y, log delta, -log sigma^2,
    log gamma) but for constants, which stand where they cost nothing."""

    weight: Array  # [h, 5]
    bias: Array  # [5]
    log_bounds: Array | None  # [3], times the logarithms; None without a bound
    scale: Array  # [2]: x and y are ``scale`` times what comes out, plus ``shift``
    shift: Array
    stride: float  # delta for log delta-tilde = 0; 0 for pictures of one pixel
    n: int

    @property
    def means(self) -> tuple[Array, Array]:
        """Equations (19, 20): mu_i = g + (i - N/2 - 1/2) delta of both axes, each with a -1 after it, is
        :attr:`Window.place` [3] times the first [3, 4n] plus the second [4n]."""
        n = self.n
        matrix, bias = np.zeros((3, 2, n, 2)), np.full((2, n, 2), -1.0)
        matrix[0, 0, :, 0], matrix[1, 1, :, 0] = self.scale
        matrix[2, :, :, 0] = self.stride * (np.arange(1, n + 1) - (n / 2 + 0.5))
        bias[:, :, 0] = self.shift[:, None]
        return matrix.reshape(3, 4 * n), bias.ravel()

    def row(self, h: Array) -> Array:
        """:meth:`Window.row` [5] of a known state [h]."""
        given = h @ self.weight + self.bias
        if self.log_bounds is not None:
            given = np.tanh(given) * np.concatenate([[1.0, 1.0], self.log_bounds])
        return np.concatenate([given[:2], np.exp(given[2:])])

    def rows(self, b: GraphBuilder, rows: Sequence[ir.Value], steps: int) -> ir.Value:
        """(x, y, delta, sigma, gamma) [batch, T, 5], from each step's :meth:`Window.row` or all steps' in one."""
        every = b.reshape(b.concat(rows, 1), [-1, steps, 5])
        place, strides, inverse, gamma = b.split(
            every, [2, 1, 1, 1], -1, ["place", "strides", "inverse", "gamma"]
        )
        centre = b.op("Mul", place, b.constant("scale", self.scale))
        centre = b.op("Add", centre, b.constant("shift", self.shift), name="centre")
        delta = b.op("Mul", strides, b.constant("stride", self.stride), name="delta")
        sigma = b.op("Div", b.constant("one", 1.0), b.op("Sqrt", inverse), name="sigma")
        return b.concat([centre, delta, sigma, gamma], -1)


def window_head(
    weights: Weights, layer: str, n: int, image: ImageSize, bounds: Array | None = None
) -> WindowHead:
    """Of the linear ``layer`` of (g_X, g_Y, log s^2, log d, log g), by equations (22-24).

    Args:
        n: N, filters per axis.
        bounds: [5], b of b tanh(p / b) for each element of the vector (see ClassifierConfig.bounds).
    """
    order = [0, 1, 3, 2, 4]  # delta before sigma
    sign = np.array([1.0, 1.0, 1.0, -1.0, 1.0])
    weight, bias = sign * weights[f"{layer}.weight"][order].T, sign * weights[f"{layer}.bias"][order]
    _, height, width = image
    middle = np.array([(width + 1) / 2, (height + 1) / 2])
    stride = (max(width, height) - 1) / max(n - 1, 1)
    if bounds is None:
        return WindowHead(weight, bias, None, middle, middle, stride, n)
    bounds = bounds[order]
    return WindowHead(weight / bounds, bias / bounds, bounds[2:], middle * bounds[:2], middle, stride, n)


def decode_window(b: GraphBuilder, params: ir.Value, head: WindowHead) -> Window:
    """What the head gave […, 5] to a window."""
    if head.log_bounds is not None:
        params = b.op("Tanh", params)
    centre, logs = b.split(params, [2, 3], -1, ["centre", "logs"])
    if head.log_bounds is not None:
        logs = b.op("Mul", logs, b.constant("log_bounds", head.log_bounds))
    widths = b.op("Exp", logs, name="strides_inverse_gamma")
    strides, inverse, gamma = b.split(widths, [1, 1, 1], -1, ["strides", "inverse", "gamma"])
    return Window(b.op("Concat", centre, strides, axis=-1, name="place"), inverse, gamma)


def undivided_filterbanks(
    b: GraphBuilder, window: Window, head: WindowHead, steps: int, width: int, height: int
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """F_X [batch, T, n, width] and F_Y before their filters are divided by Z_X and Z_Y, and Z_Y Z_X^T [batch, T, n, n].

    What is to pass through both, a row for each filter of F_Y and a column for each of F_X, is far smaller than the
    filters: divided in their place it saves two passes over them.
    """
    mus = _means(b, b.reshape(window.place, [-1, 3]), head)
    inverse, axes = b.unsqueeze(window.inverse, -1), b.integers("axes", [-1])
    x, y = (b.reshape(mu, [-1, steps, head.n, 2]) for mu in b.split_equal(mus, -1, ["mu_x", "mu_y"]))
    with b.scope("filterbank_x"):
        f_x = b.op("Exp", _log_filters(b, x, inverse, head.n, width), name="filters")
        z_x = b.unsqueeze(b.op("ReduceSum", f_x, axes, keepdims=0, name="sums"), -2)
    with b.scope("filterbank_y"):
        f_y = b.op("Exp", _log_filters(b, y, inverse, head.n, height), name="filters")
        z_y = b.op("ReduceSum", f_y, axes, keepdims=1, name="sums")
    return f_x, f_y, b.op("Mul", z_y, z_x, name="sums")


def _filterbanks(
    b: GraphBuilder, window: Window, head: WindowHead, width: int, height: int
) -> tuple[ir.Value, ir.Value]:
    """Equations (19, 20, 25, 26) of one step: F_X [batch, 1, n, width] and F_Y [batch, 1, n, height]."""
    banks: list[ir.Value] = []
    for scope, logs in _log_filters_of_step(b, window, head, width, height).items():
        with b.scope(scope):
            banks.append(b.op("Softmax", logs, axis=-1, name="filters"))
    return _of_axes(b, banks, ["f_x", "f_y"])


def log_filterbanks(
    b: GraphBuilder, window: Window, head: WindowHead, width: int, height: int
) -> tuple[ir.Value, ir.Value]:
    """The logarithms of one step's filters before they are divided by their sums: [batch, 1, n, width] and [batch, 1, n,
    height]."""
    logs = _log_filters_of_step(b, window, head, width, height)
    return _of_axes(b, [*logs.values()], ["log_x", "log_y"])


def _log_filters_of_step(
    b: GraphBuilder, window: Window, head: WindowHead, width: int, height: int
) -> dict[str, ir.Value]:
    """:func:`_log_filters` by the scope of their nodes: one for each axis, or [batch, 2, n, width] of a square picture's."""
    mus = _means(b, window.place, head)
    inverse = b.op("Unsqueeze", window.inverse, b.integers("axes", [1, 2]))
    if width == height:
        means, axes = {"filterbanks": (mus, width)}, 2
    else:
        x, y = b.split_equal(mus, 1, ["mu_x", "mu_y"])
        means, axes = {"filterbank_x": (x, width), "filterbank_y": (y, height)}, 1
    found: dict[str, ir.Value] = {}
    for scope, (mu, size) in means.items():
        with b.scope(scope):
            found[scope] = _log_filters(b, b.reshape(mu, [-1, axes, head.n, 2]), inverse, head.n, size)
    return found


def _of_axes(b: GraphBuilder, values: list[ir.Value], names: list[str]) -> tuple[ir.Value, ir.Value]:
    """One value for each axis, of these or of both in one."""
    if len(values) == 1:
        with b.scope("filterbanks"):
            values = [*b.split_equal(values[0], 1, names)]
    x, y = values
    return x, y


def _means(b: GraphBuilder, place: ir.Value, head: WindowHead) -> ir.Value:
    """(mu, -1) of every filter of both axes, [rows, 4n], from the places [rows, 3]."""
    matrix, bias = head.means
    return b.op("Gemm", place, b.constant("means", matrix), b.constant("means_bias", bias), name="mu")


def _log_filters(b: GraphBuilder, mu: ir.Value, inverse: ir.Value, n: int, size: int) -> ir.Value:
    """What models.attention.filterbank gives to its softmax over the pixels, for (mu, -1) […, n, 2] and 1 / sigma^2
    […, 1, 1]: relative to the nearest pixel m, where it is 0, and nowhere more but for rounding. […, n, size]"""
    bounds = b.constant("first", 1.0), b.constant("last", float(size))
    nearest = b.op("Clip", b.op("Round", mu), *bounds, name="nearest")  # (m, 1)
    # (m - a)(m/2 - mu + a/2) / sigma^2 for the pixels a = 1..size: what has no number for each pixel first, then both
    # factors as products with (1, a), which pass over the filters in a third of the time of sums that repeat a number
    # along them. One half for each filter, because ONNX Runtime multiplies [.., n, 2] by one row number by number.
    half = b.constant("half", np.tile([0.5, 0.0], (n, 1)))
    rest = b.op("Sub", b.op("Mul", nearest, half), mu)  # (m/2 - mu, 1)
    rest = b.op("Mul", rest, inverse)
    ones, pixels = np.ones(size), np.arange(1, size + 1)
    distance = b.op("MatMul", nearest, b.constant("minus_pixels", np.stack([ones, -pixels])), name="distance")
    slope = b.op("MatMul", rest, b.constant("half_pixels", np.stack([ones, pixels / 2])), name="slope")
    exponents = b.op("Mul", distance, slope, name="exponents")
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
        self.first_row = self.head.row(h)
        self.windows: list[Window] = []  # of the steps after the first

    def prepared(self, image: ir.Value) -> ir.Value:
        """What :meth:`read` takes of a picture: made once, for all steps."""
        return image

    def read(self, image: ir.Value, channels: int, h: ir.Value | None) -> ir.Value:
        """gamma F_Y image F_X^T from the state h, the first where that is None. [batch, channels n n]"""
        b, n, (_, height, width) = self.b, self.n, self.image
        shape = [-1, channels * n * n]
        if h is None:
            f_x, f_y = (bank[0].numpy() for bank in attention.filterbanks(self.first, n, width, height))
            columns = b.op("MatMul", image, b.constant("f_x", f_x.T), name="columns")
            f_y = b.constant("f_y", self.first.gamma.numpy() * f_y)
            return b.reshape(b.op("MatMul", f_y, columns), shape, name="glimpse")
        window = self.window(h)
        f_x, f_y = _filterbanks(b, window, self.head, width, height)
        # The picture on the left, because ONNX Runtime first copies what stands on the right of a product.
        f_xt = b.op("Transpose", f_x, perm=[0, 1, 3, 2])
        columns = b.op("MatMul", image, f_xt, name="columns")  # [batch, channels, height, n]
        patch = b.reshape(b.op("MatMul", f_y, columns), shape)
        return b.op("Mul", patch, window.gamma, name="glimpse")

    def window(self, h: ir.Value) -> Window:
        """Equation (21): where the state h looks, kept for :meth:`rows`."""
        b = self.b
        params = b.op("Gemm", b.to_single(h), self.weight, self.bias, name="attention")
        self.windows.append(decode_window(b, params, self.head))
        return self.windows[-1]

    def rows(self, like: ir.Value) -> ir.Value:
        """The windows of all steps [batch, T, 5], the first for every picture of ``like`` [batch, …]."""
        first = self.b.expand_to_batch("first_row", self.first_row[None], like, 0)
        rows = [first, *(window.row(self.b) for window in self.windows)]
        return self.head.rows(self.b, rows, len(rows))


def write(b: GraphBuilder, patch: ir.Value, window: Window, head: WindowHead, size: ImageSize) -> ir.Value:
    """Equation (29): 1/gamma F_Y^T patch F_X for one step. [batch, channels n n] -> [batch, channels, height, width]"""
    channels, height, width = size
    f_x, f_y = _filterbanks(b, window, head, width, height)
    patch = b.reshape(b.op("Div", patch, window.gamma), [-1, channels, head.n, head.n])
    columns = b.op("MatMul", patch, f_x, name="columns")
    f_yt = b.op("Transpose", f_y, perm=[0, 1, 3, 2])
    return b.op("MatMul", f_yt, columns, name="addition")
