"""The generator as a graph: noise in, pictures out (paper, equations 7, 8 and 28, 29).

In generation the decoder never reads the canvas, so only the LSTM is sequential. The projection of the
noises comes before it, or in files for bulk into its own products; attention vectors, filterbanks and patches
of all steps are one block after it; the final canvas is one matrix product over steps and filters together.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..models.config import DrawConfig
from ..runtime.metadata import CANVASES, IMAGE, MICROSOFT, NOISE, STEPS, WRITE_ATTENTION
from .builder import GraphBuilder
from .lstm import Array, UnrolledLstm, Weights, gate_groups, lstm_weights, step_name
from .prior import Folded, fold_prior
from .window import decode_window, undivided_filterbanks, window_head


def build_decoder(
    b: GraphBuilder, config: DrawConfig, weights: Weights, *, time_steps: int, outputs: str, recurrence: str
) -> None:
    """Add the whole decoder to an empty builder.

    Args:
        time_steps: T, which may differ from the config's.
        outputs: ``"steps"`` or ``"image"``.
        recurrence: ``"unrolled"`` or ``"lstm"``, one operator over all steps.
    """
    steps = outputs == STEPS
    noise = b.input(NOISE, [time_steps, config.latent_size])
    with b.scope("decoder"):
        recur = _lstm_operator if recurrence == "lstm" else _unrolled
        states = recur(b, config, weights, noise, time_steps)
        rows: ir.Value | None = None
        if config.attention:
            canvas, rows = _write(b, config, weights, states, time_steps, steps)
        else:
            canvas = _write_whole(b, config, weights, b.concat(states, 0, name="h"), time_steps, steps)
        with b.scope("canvas"):
            means = b.op("Sigmoid", canvas)
            last = b.op("Gather", means, b.integers("last", time_steps - 1), axis=1) if steps else means
    b.output(IMAGE, last, config.image)
    if steps:
        b.output(CANVASES, means, [time_steps, *config.image])
    if rows is not None:
        b.output(WRITE_ATTENTION, rows, [time_steps, 5])


# Steps whose noise is projected at once: fewer are more nodes, more no longer fit a CPU's cache in bulk.
_CHUNK = 8
# Pictures from which a file of a fixed batch is for drawing in bulk: then what is copied costs more than a node.
_BULK = 32


def _in_bulk(b: GraphBuilder) -> bool:
    return (b.batch or 0) >= _BULK


def _unrolled(
    b: GraphBuilder, config: DrawConfig, weights: Weights, noise: ir.Value, steps: int
) -> list[ir.Value]:
    """Equation (7), written out. [B, T, Z] -> [B, h] of each step"""
    folded = fold_prior(b, config, weights, lstm_weights(weights, "decoder"))
    names = [step_name(t, steps) for t in range(steps)]
    joined = folded.prior is not None or _in_bulk(b)
    return (_joined if joined else _projected)(b, config, weights, noise, names, folded)


def _projected(
    b: GraphBuilder, config: DrawConfig, weights: Weights, noise: ir.Value, names: list[str], folded: Folded
) -> list[ir.Value]:
    """States h_t [B, h]; the noise's share of the gates' sums is made before the steps, a chunk of them at a time.

    Ten nodes a step, of which a runtime can join four to two.
    """
    with b.scope("lstm"):
        layers = _layers(b, "weight_ih", folded.lstm.w, folded.lstm.bias)
        r = [b.matrix(f"weight_hh_{gates}", part) for gates, part in gate_groups(folded.lstm.r).items()]
        # The first step's W_hh h_0 is the same for every picture.
        first = _groups(b, "initial_projection", folded.first)
        unrolled = UnrolledLstm(b, r, weights["initial_decoder_cell"])
    chunks = [names[t : t + _CHUNK] for t in range(0, len(names), _CHUNK)]
    with b.scope("input_projection"):
        rows = b.op("Transpose", b.to_half(noise), perm=[1, 0, 2])
        rows = b.split(rows, [len(chunk) for chunk in chunks], 0, [chunk[0] for chunk in chunks])
    states: list[ir.Value] = []
    for chunk, noises in zip(chunks, rows, strict=True):
        with b.scope("input_projection"):
            flat = b.reshape(noises, [-1, config.latent_size])
            projected = [b.op("Gemm", flat, *layer) for layer in layers]
            pieces = [b.split_equal(sums, 0, chunk) for sums in projected]
        for name, gates in zip(chunk, zip(*pieces, strict=True), strict=True):
            with b.scope(name), b.scope("lstm"):
                if not states:
                    gates = [b.op("Add", *pair, name="gates") for pair in zip(gates, first, strict=True)]
                states.append(unrolled.step(*gates))
    return states


def _joined(
    b: GraphBuilder, config: DrawConfig, weights: Weights, noise: ir.Value, names: list[str], folded: Folded
) -> list[ir.Value]:
    """The same by one product of [z, h] for each group of gates, in bulk for each gate.

    Where each step's state scales the next one's noise nothing can be projected beforehand. In bulk nothing is gained
    by it: it would only be written, split and read again, as the sums of several gates are.
    """
    lstm, _, prior = folded
    with b.scope("lstm"):
        layers = _layers(b, "weight", np.vstack([lstm.w, lstm.r]), lstm.bias)
        unrolled = UnrolledLstm(b, (), weights["initial_decoder_cell"])
        h0 = weights["initial_decoder_hidden"][None]
        h = b.to_half(b.expand_to_batch("initial_hidden", h0, noise, 0))
    with b.scope("noise"):
        pieces = b.split_equal(b.reshape(noise, [-1, len(names) * config.latent_size]), 1, names)
    states: list[ir.Value] = []
    for name, z in zip(names, pieces, strict=True):
        with b.scope(name):
            if prior is not None:
                z = prior.scaled(z, unrolled.h)
            with b.scope("lstm"):
                both = b.concat([b.to_half(z), h], 1)
                h = unrolled.step(*(b.op("Gemm", both, *layer, name="gates") for layer in layers))
        states.append(h)
    return states


def _layers(b: GraphBuilder, name: str, weight: Array, bias: Array) -> list[tuple[ir.Value, ir.Value]]:
    """Weights and bias of each group of gates."""
    return list(zip(_groups(b, name, weight), _groups(b, "bias", bias), strict=True))


def _groups(b: GraphBuilder, name: str, array: Array) -> list[ir.Value]:
    groups = gate_groups(array, single=_in_bulk(b))
    return [b.weight(f"{name}_{gates}", part) for gates, part in groups.items()]


def _lstm_operator(
    b: GraphBuilder, config: DrawConfig, weights: Weights, noise: ir.Value, steps: int
) -> list[ir.Value]:
    """Equation (7) as one LSTM node. [B, T, Z] -> [T B, h], all steps in one"""
    lstm = lstm_weights(weights, "decoder")
    h0, cell0 = weights["initial_decoder_hidden"], weights["initial_decoder_cell"]
    size = len(h0)
    with b.scope("lstm"):
        # The operator's gates are in the order i, o, f, g; its second bias stays zero.
        i, f, o, g = np.split(np.arange(4 * size), 4)
        order = np.concatenate([i, o, f, g])
        x = b.op("Transpose", noise, perm=[1, 0, 2])
        w, r = lstm.w[None, :, order], lstm.r[None, :, order]
        if b.int8:
            w8, r8 = b.quantised("weight_ih", w), b.quantised("weight_hh", r)
            matrices = w8.values, r8.values
            scales = None, w8.scale, w8.zero_point, r8.scale, r8.zero_point
        else:
            # The plain operator takes them transposed.
            w, r = w.transpose(0, 2, 1), r.transpose(0, 2, 1)
            matrices, scales = (b.constant("weight_ih", w), b.constant("weight_hh", r)), ()
        out = b.op(
            "DynamicQuantizeLSTM" if b.int8 else "LSTM",
            x,
            *matrices,
            b.constant("bias", np.concatenate([lstm.bias[order], np.zeros(4 * size)])[None]),
            None,
            b.expand_to_batch("initial_h", h0[None, None], noise, 1),
            b.expand_to_batch("initial_cell", cell0[None, None], noise, 1),
            *scales,
            name="h",
            domain=MICROSOFT if b.int8 else "",
            hidden_size=size,
        )
        return [b.reshape(out, [-1, size])]


def _write(
    b: GraphBuilder, config: DrawConfig, weights: Weights, states: list[ir.Value], steps: int, every: bool
) -> tuple[ir.Value, ir.Value | None]:
    """Equations (8, 28, 29) for all steps at once, from the states of each step [B, h] or of all [T B, h].

    Returns:
        The canvas's logits, [B, C, H, W] or for ``every`` step [B, T, C, H, W], and the windows [B, T, 5], or None.
    """
    n, (c, height, width) = config.write_size, config.image
    channels = [c] if c > 1 else []
    with b.scope("write"):
        head = window_head(weights, "write_attention", n, config.image)
        # A patch's rows are stored as (row, channel), so that all channels are one product below.
        patch_order = np.arange(c * n * n).reshape(c, n, n).transpose(1, 0, 2).ravel()
        weight = np.hstack([head.weight, weights["write_patch.weight"][patch_order].T])
        bias = np.concatenate([head.bias, weights["write_patch.bias"][patch_order]])
        layer = b.head("weight", weight), b.constant("bias", bias)
        if _in_bulk(b) and len(states) == steps:
            given = [b.op("Gemm", b.to_single(h), *layer, name="head") for h in states]
            both = b.reshape(b.concat(given, 1), [-1, steps, len(bias)])
        else:
            h = b.to_single(b.concat(states, 0, name="h"))
            both = b.reshape(b.op("Gemm", h, *layer, name="head"), [steps, -1, len(bias)])
            both = b.op("Transpose", both, perm=[1, 0, 2])
        params, patch = b.split(both, [5, c * n * n], -1, ["attention", "patch"])
        window = decode_window(b, params, head)
        # [B, T, N, W], [B, T, N, H], [B, T, N, N]
        f_x, f_y, sums = undivided_filterbanks(b, window, head, steps, width, height)
        # Writing divides by gamma where reading multiplies.
        patch = b.reshape(b.op("Div", patch, window.gamma), [-1, steps, n, *channels, n])
        patch = b.op("Div", patch, b.unsqueeze(sums, 3) if channels else sums)
        if channels:
            patch = b.reshape(patch, [-1, steps, n * c, n])
        columns = b.op("MatMul", patch, f_x, name="columns")  # w F_X, [B, T, N C, W]
        initial = weights["initial_canvas"].transpose(1, 0, 2).reshape(height, c * width)
        c0 = b.constant("initial_canvas", initial)
        if every:
            f_yt = b.op("Transpose", f_y, perm=[0, 1, 3, 2])
            if c > 1:
                columns = b.reshape(columns, [-1, steps, n, c * width])
            additions = b.op("MatMul", f_yt, columns, name="additions")  # [B, T, H, C W]
            canvas = _cumulative(b, additions)
        else:
            # sum_t F_Y^T w F_X is one product with inner size T N.
            f_yt = b.op("Transpose", b.reshape(f_y, [-1, steps * n, height]), perm=[0, 2, 1])
            columns = b.reshape(columns, [-1, steps * n, c * width])
            canvas = b.op("MatMul", f_yt, columns, name="additions")  # [B, H, C W]
        canvas = b.op("Add", canvas, c0, name="canvas")
        time = [steps] if every else []
        if c == 1:
            canvas = b.reshape(canvas, [-1, *time, 1, height, width])
        else:
            canvas = b.reshape(canvas, [-1, *time, height, c, width])
            canvas = b.op("Transpose", canvas, perm=[0, 1, 3, 2, 4] if every else [0, 2, 1, 3])
        return canvas, head.rows(b, [window.row(b)], steps) if every else None


def _write_whole(
    b: GraphBuilder, config: DrawConfig, weights: Weights, h: ir.Value, steps: int, every: bool
) -> ir.Value:
    """Equation (8) with write = W h_dec: the canvas's logits, [B, C, H, W] or for ``every`` step [B, T, C, H, W]."""
    c, height, width = config.image
    size, pixels = config.hidden_size, c * height * width
    with b.scope("write"):
        weight = weights["write_canvas.weight"].T
        bias, c0 = weights["write_canvas.bias"], weights["initial_canvas"].ravel()
        if not every:
            # c_0 + sum_t (W h_t + b) = W (sum_t h_t) + (c_0 + T b); the sum is too wide for a product in eight bits.
            whole = b.head("weight", weight) if b.int8 else b.weight("weight", weight)
            total = b.to_single(b.reshape(h, [steps, -1, size]))
            total = b.op("ReduceSum", total, b.integers("axes", [0]), keepdims=0)
            canvas = b.to_single(b.op("MatMul", b.to_half(total), whole))
            canvas = b.op("Add", canvas, b.constant("bias", c0 + steps * bias), name="canvas")
            return b.reshape(canvas, [-1, c, height, width])
        matrix = b.matrix("weight", weight)
        if steps > 1:
            h = b.op("Transpose", b.reshape(h, [steps, -1, size]), perm=[1, 0, 2])
        h = b.reshape(h, [-1, size])
        additions = b.to_single(b.product(h, matrix, b.weight("bias", bias), name="additions"))
        canvas = _cumulative(b, b.reshape(additions, [-1, steps, pixels]))
        canvas = b.op("Add", canvas, b.constant("initial_canvas", c0), name="canvas")
        return b.reshape(canvas, [-1, steps, c, height, width])


def _cumulative(b: GraphBuilder, additions: ir.Value) -> ir.Value:
    """Sums over the steps so far, [B, T, …]. The defaults are written out: a converter was seen to take them for 1."""
    return b.op("CumSum", additions, b.integers("axis", 1), exclusive=0, reverse=0)
