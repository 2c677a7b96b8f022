"""The glimpse classifier as a graph (paper, section 4.1): picture in, logits out, glimpses unrolled."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..models.config import ClassifierConfig
from ..runtime.metadata import GLIMPSES, IMAGE, LOGITS, PROBABILITIES, READ_ATTENTION, STEPS
from .builder import GraphBuilder
from .lstm import UnrolledLstm, Weights, lstm_weights, step_name
from .window import decode_window, first_window, read, read_first, window_head


def build_classifier(
    b: GraphBuilder, config: ClassifierConfig, weights: Weights, *, time_steps: int, outputs: str
) -> None:
    """Add the whole classifier to an empty builder.

    Args:
        time_steps: T, the number of glimpses, which may differ from the config's.
        outputs: ``"steps"`` or ``"image"``, which leaves out glimpses and attention.
    """
    n, channels = config.read_size, config.image_channels
    width, height = config.image_width, config.image_height
    bounds = np.array(config.bounds) if config.position_bound else None
    image = b.input(IMAGE, [channels, height, width])
    lstm = lstm_weights(weights, "lstm")
    h0, cell0 = weights["initial_hidden"], weights["initial_cell"]
    attention, attention_bias = weights["read_attention.weight"], weights["read_attention.bias"]
    head = window_head(attention, attention_bias, n, width, height, bounds)
    # The first window comes from the learned state alone, so its filterbanks are constants.
    raw = attention @ h0 + attention_bias
    first = first_window(raw if bounds is None else bounds * np.tanh(raw / bounds), n, width, height)

    glimpses: list[ir.Value] = []
    rows: list[ir.Value] = []
    with b.scope("classifier"):
        with b.scope("lstm"):
            w, r = b.matrix("weight_ih", lstm.w), b.matrix("weight_hh", lstm.r)
            bias = b.weight("bias", lstm.bias)
            first_bias = b.weight("initial_bias", lstm.bias + h0 @ lstm.r)
            unrolled = UnrolledLstm(b, [r], b.weight("initial_cell", cell0[None]), lstm.hidden_size)
        with b.scope("read"):
            head_weight, head_bias = b.head("weight", head.weight), b.constant("bias", head.bias)
        h: ir.Value | None = None
        for t in range(time_steps):
            with b.scope(step_name(t, time_steps)):
                with b.scope("read"):
                    if h is None:
                        glimpse = read_first(b, image, first, channels)
                    else:
                        params = b.op("Gemm", b.to_single(h), head_weight, head_bias, name="attention")
                        window = decode_window(b, params, head)
                        glimpse = read(b, image, window, n, channels, width, height)
                        if outputs == STEPS:
                            rows.append(window.row(b))
                    glimpses.append(glimpse)
                with b.scope("lstm"):
                    h = unrolled.step(b.product(b.to_half(glimpse), w, first_bias if h is None else bias))
        assert h is not None
        with b.scope("output"):
            weight = b.head("weight", weights["output.weight"].T)
            output_bias = b.constant("bias", weights["output.bias"])
            logits = b.op("Gemm", b.to_single(h), weight, output_bias)
            b.output(LOGITS, logits, [len(config.labels)])
            b.output(PROBABILITIES, b.op("Softmax", logits, axis=-1), [len(config.labels)])
        if outputs == STEPS:
            with b.scope("steps"):
                stacked = b.reshape(b.concat(glimpses, 1), [-1, time_steps, channels, n, n])
                b.output(GLIMPSES, stacked, [time_steps, channels, n, n])
                rows.insert(0, b.expand_to_batch("first_row", first.row[None], image, 0))
                b.output(READ_ATTENTION, b.reshape(b.concat(rows, 1), [-1, time_steps, 5]), [time_steps, 5])
