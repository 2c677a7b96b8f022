"""The glimpse classifier as a graph (paper, section 4.1): picture in, logits out, glimpses unrolled."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..models.config import ClassifierConfig
from ..runtime.metadata import GLIMPSES, IMAGE, LOGITS, PROBABILITIES, READ_ATTENTION, STEPS
from .builder import GraphBuilder
from .levels import LevelsReader
from .lstm import UnrolledLstm, Weights, lstm_weights, step_name
from .window import Reader


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

    glimpses: list[ir.Value] = []
    with b.scope("classifier"):
        with b.scope("lstm"):
            w, r = b.matrix("weight_ih", lstm.w), b.matrix("weight_hh", lstm.r)
            bias = b.weight("bias", lstm.bias)
            first_bias = b.weight("initial_bias", lstm.bias + h0 @ lstm.r)
            unrolled = UnrolledLstm(b, [r], weights["initial_cell"])
        with b.scope("read"):
            reader = (LevelsReader if b.int8 else Reader)(b, config, weights, h0, bounds)
            picture = reader.prepared(image)
        h: ir.Value | None = None
        for t in range(time_steps):
            with b.scope(step_name(t, time_steps)):
                with b.scope("read"):
                    glimpse = reader.read(picture, config.image_channels, h)
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
                b.output(READ_ATTENTION, reader.rows(image), [time_steps, 5])
