"""Graphs make no subnormal numbers: a CPU takes a hundred cycles and more for each, in every product it enters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from draw_onnx.export import ExportOptions
from draw_onnx.export.graphs import build_model
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.pretrained import find_packaged, packaged_models
from draw_onnx.runtime.noise import noise
from draw_onnx.train.data.registry import load_dataset

from .conftest import props

TINY = np.finfo(np.float32).tiny  # the smallest normal number


def subnormal_values(
    model: onnx.ModelProto, feeds: Iterable[dict[str, np.ndarray]]
) -> tuple[int, dict[str, int]]:
    """How many float values the graph has, and those of them that held subnormals, with the most at once.

    Every one is made an output; ONNX Runtime's optimiser is off, which would merge some away.
    """
    model = onnx.shape_inference.infer_shapes(model)
    given = {output.name for output in model.graph.output}
    model.graph.output.extend(
        value
        for value in model.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in given
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found: dict[str, int] = {}
    for feed in feeds:
        for name, value in zip(names, session.run(None, feed), strict=True):
            size = np.abs(np.asarray(value))
            count = int(((size > 0) & (size < TINY)).sum())
            if count:
                found[name] = max(count, found.get(name, 0))
    return len(names), found


def noises(model: onnx.ModelProto) -> list[np.ndarray]:
    """The stream's noise, and noise of size 4 in its signs and in one sign throughout."""
    shape = next(i for i in model.graph.input if i.name == "noise").type.tensor_type.shape.dim
    drawn = noise(0, 0, 32, shape[1].dim_value, shape[2].dim_value)
    four = np.full_like(drawn, 4)
    return [drawn, np.copysign(four, drawn), four, -four]


@pytest.mark.parametrize("name", packaged_models(".onnx"))
def test_packaged_graphs(name: str, data_dir: Path) -> None:
    model = onnx.load(find_packaged(name, ".onnx", "model"))
    if "noise" in {value.name for value in model.graph.input}:
        feeds = [{"noise": value} for value in noises(model)]
    else:
        dataset = props(model)["dataset"]
        feeds = [
            {"image": load_dataset(dataset, data_dir, "cpu").evaluation("test").slice(0, 64).images.numpy()}
        ]
    count, found = subnormal_values(model, feeds)
    assert count > 100
    assert from_filters(found) == {}


def test_a_scorer(data_dir: Path) -> None:
    """Of the loss, exp(-|c|) of the canvas is left out: 1e-38 from |c| = 87 on, and of no filter's making."""
    checkpoint = load_checkpoint(find_packaged("mnist", ".ckpt", "checkpoint"))
    model, _ = build_model(checkpoint, ExportOptions(graph="scorer"))
    images = load_dataset("mnist", data_dir, "cpu").evaluation("test").spread(32).slice(0, 32).images.numpy()
    count, found = subnormal_values(model, [{"image": images, "noise": value} for value in noises(model)])
    assert count > 500
    assert from_filters(found) == {}


def from_filters(found: dict[str, int]) -> dict[str, int]:
    """What is left without an LSTM's own: cells that its gates have closed over several steps, a dozen among thousands."""
    own = {name for name in found if name.split("/")[-1] in ("kept", "cell", "Tanh_1_output_0", "h")}
    assert all(found[name] <= 32 for name in own)
    return {name: count for name, count in found.items() if name not in own and "/loss/" not in name}


def test_the_measure_finds_them() -> None:
    """1e-40 is one, 1e-20 and 0 are none."""
    value = onnx.helper.make_tensor_value_info
    square = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "x"], ["y"]), onnx.helper.make_node("Add", ["y", "y"], ["z"])],
        "square",
        [value("x", onnx.TensorProto.FLOAT, [1, 3])],
        [value("z", onnx.TensorProto.FLOAT, [1, 3])],
    )
    model = onnx.helper.make_model(square, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert subnormal_values(model, [{"x": np.array([[1e-20, 1e-10, 0]], np.float32)}]) == (
        2,
        {"z": 1, "y": 1},
    )
