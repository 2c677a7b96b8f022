"""Weights in eight bits, a scale for each output channel, as ``onnxruntime.quantization`` makes them.

Its ``quantize_dynamic``, which rewrites a whole file, is not used: it stores an LSTM's weights signed, whose products
saturate on x86 CPUs without VNNI, it also quantises what enters the heads of the windows, and it adds five nodes a
product.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import DrawError, first_line

ZERO_POINT = 128  # of weights that are stored unsigned


def quantised(weight: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """(values […, inputs, outputs] from -127 to 127, scales […, outputs]): ``weight`` is their product.

    Leading axes are of size 1, for operators that want one.

    Raises:
        DrawError: ``onnxruntime.quantization`` does not load.
    """
    try:
        from onnxruntime.quantization.quant_utils import quantize_data
    except ImportError as error:
        raise DrawError(
            f"--dtype int8 needs onnxruntime.quantization, which does not load: {first_line(error)}"
        ) from error
    *ones, inputs, outputs = weight.shape
    values, scales = np.empty((inputs, outputs), np.int8), np.empty(outputs)
    for k, channel in enumerate(weight.reshape(inputs, outputs).T):
        # Older versions give the range before these.
        *_, scales[k], values[:, k] = quantize_data(channel, onnx.TensorProto.INT8, symmetric=True)
    return values.reshape(weight.shape), scales.reshape(*ones, outputs)
