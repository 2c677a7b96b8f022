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
    n = config.read_size
    bounds = np.array(config.bounds) if config.position_bound else None
    image = b.input(IMAGE, config.image)
    lstm = lstm_weights(weights, "lstm")
    h0 = weights["initial_hidden"]
    head = window_head(weights, "read_attention", n, config.image, bounds)
    first = first_window(weights, h0, n, config.image, bounds)

    glimpses: list[ir.Value] = []
    rows: list[ir.Value] = []
    with b.scope("classifier"):
        with b.scope("lstm"):
            w, r = b.matrix("weight_ih", lstm.w), b.matrix("weight_hh", lstm.r)
            bias = b.weight("bias", lstm.bias)
            first_bias = b.weight("initial_bias", lstm.bias + h0 @ lstm.r)
            unrolled = UnrolledLstm(b, [r], weights["initial_cell"])
        with b.scope("read"):
            head_weight, head_bias = b.head("weight", head.weight), b.constant("bias", head.bias)
        h: ir.Value | None = None
        for t in range(time_steps):
            with b.scope(step_name(t, time_steps)):
                with b.scope("read"):
                    if h is None:
                        glimpse = read_first(b, image, first, config.image_channels)
                    else:
                        params = b.op("Gemm", b.to_single(h), head_weight, head_bias, name="attention")
                        window = decode_window(b, params, head)
                        glimpse = read(b, image, window, n, config.image)
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
                b.output_steps(GLIMPSES, glimpses, [config.image_channels, n, n])
                rows.insert(0, b.expand_to_batch("first_row", first.row[None], image, 0))
                b.output_steps(READ_ATTENTION, rows, [5])
