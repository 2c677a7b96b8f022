"""Int8 files with sizes that do not agree: what runtimes must refuse before ONNX Runtime sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

Edit = Callable[[onnx.ModelProto], object]


def resized(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(tensor))), name)
        )

    return edit


def lstm_node(change: Callable[[onnx.NodeProto], object]) -> Edit:
    return lambda model: change(next(n for n in model.graph.node if n.op_type == "DynamicQuantizeLSTM"))


def widened(model: onnx.ModelProto) -> None:
    """What comes in is four times as wide as the weights."""
    position, node = next(
        (k, n) for k, n in enumerate(model.graph.node) if n.op_type == "DynamicQuantizeLSTM"
    )
    wide = helper.make_node("Concat", [node.input[0]] * 4, ["wide"], axis=2)
    model.graph.node.insert(position, wide)
    node.input[0] = "wide"


def computed(name: str) -> Edit:
    """A weight that a node gives, so that nobody knows its size."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
        model.graph.initializer.remove(tensor)

    return edit


_HH, _LSTM = "/decoder/lstm/weight_hh", "/classifier/lstm/weight_hh"
# (kind of model, edit): a decoder with attention, or a classifier.
WRONG_SIZES: list[tuple[str, Edit]] = [
    ("attention", resized("/decoder/lstm/weight_ih", lambda a: a[:, :2])),
    ("attention", resized("/decoder/lstm/weight_ih_scale", lambda a: a[:, :0])),
    ("attention", resized("/decoder/lstm/bias", lambda a: a[:, :8])),
    ("attention", resized("/decoder/lstm/zero_point", lambda a: a[:0])),
    ("attention", lstm_node(lambda node: setattr(node.attribute[0], "i", 4096))),
    (
        "attention",
        lstm_node(lambda node: node.attribute.append(helper.make_attribute("direction", "reverse"))),
    ),
    ("attention", lstm_node(lambda node: node.input.__setitem__(7, node.input[3]))),
    ("attention", lstm_node(lambda node: node.input.__delitem__(slice(9, None)))),
    ("attention", lstm_node(lambda node: node.input.append(node.input[3]))),
    ("attention", widened),
    ("attention", computed(_HH)),
    ("classifier", resized(_LSTM, lambda a: a[..., :0])),
    ("classifier", resized(_LSTM, lambda a: a[None])),
    ("classifier", resized(f"{_LSTM}_scale", lambda a: a[:-1])),
    ("classifier", resized("/classifier/lstm/zero_point", lambda a: np.repeat(a, 3))),
    ("classifier", resized("/classifier/lstm/bias", lambda a: a[:-1])),
    ("classifier", computed(_LSTM)),
]
