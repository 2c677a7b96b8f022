"""Reading in int8 files: pictures of 256 levels, and F_Y in as many, meet in whole numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..models import attention
from ..models.config import ClassifierConfig
from .builder import GraphBuilder
from .lstm import Array, Weights
from .window import Reader, log_filterbanks

LEVEL = 1 / 255


class LevelsReader(Reader):
    """:class:`Reader` of pictures that are rounded to their 256 levels once, for all glimpses.

    Before a filter of F_Y is divided by its sum it is largest, 1, at the pixel nearest to its centre: so one scale fits
    every window, and what is left of the filter in eight bits is divided by its own sum, in the patch.
    """

    def __init__(
        self,
        b: GraphBuilder,
        config: ClassifierConfig,
        weights: Weights,
        h: Array,
        bounds: Array | None = None,
    ) -> None:
        super().__init__(b, config, weights, h, bounds)
        self.level = b.constant("level", LEVEL)
        # Levels from 0 to 255, beside filters that have no sign either: every CPU adds such products exactly. The runtime
        # makes the levels signed, by this number, where that is as exact and faster (runtime/quantised.py).
        self.zero = b.constant("zero_level", 0, np.uint8)
        self.ones = b.constant("ones", np.ones((config.image_height, 1)), np.int8)

    def prepared(self, image: ir.Value) -> ir.Value:
        return self.b.op("QuantizeLinear", image, self.level, self.zero, name="levels")

    def read(self, image: ir.Value, channels: int, h: ir.Value | None) -> ir.Value:
        b, n, (_, height, width) = self.b, self.n, self.image
        if h is None:
            f_x, f_y = (bank[0].numpy() for bank in attention.filterbanks(self.first, n, width, height))
            f_xt = b.constant("f_x", f_x.T)
            f_y = b.constant("f_y", (f_y / f_y.max(1, keepdims=True))[None, None])
            gamma = b.constant("gamma", self.first.gamma.numpy())
        else:
            window = self.window(h)
            log_x, log_y = log_filterbanks(b, window, self.head, width, height)
            with b.scope("filterbank_x"):
                f_xt = b.op("Transpose", b.op("Softmax", log_x, axis=-1, name="filters"), perm=[0, 1, 3, 2])
            with b.scope("filterbank_y"):
                f_y = b.op("Exp", log_y, name="filters")
            gamma = b.op("Unsqueeze", window.gamma, b.integers("axes", [1, 2]))
        filters = b.op("QuantizeLinear", f_y, self.level, name="filter_levels")
        rows = self._float(b.op("MatMulInteger", filters, image, None, self.zero), "rows")
        sums = self._float(b.op("MatMulInteger", filters, self.ones), "sums")
        share = b.op("Div", b.op("Mul", gamma, self.level), sums, name="share")  # [batch, 1, n, 1]
        patch = b.op("Mul", b.op("MatMul", rows, f_xt), share)
        return b.reshape(patch, [-1, channels * n * n], name="glimpse")

    def _float(self, value: ir.Value, name: str) -> ir.Value:
        return self.b.op("Cast", value, to=int(ir.DataType.FLOAT), name=name)
