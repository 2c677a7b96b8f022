"""What every exported file must look like, whatever it computes."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import onnx
import onnx.reference
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.models.config import DrawConfig
from draw_onnx.runtime.metadata import CLASSIFIER, DECODER, SCORER, Metadata

from .conftest import props

FORBIDDEN = {"Loop", "Scan", "If", "Einsum", "RandomNormal", "RandomNormalLike", "SequenceConstruct"}


ROOTS = {DECODER: "decoder", CLASSIFIER: "classifier", SCORER: "scorer"}


def test_versions_and_domain(models):
    for name, model in models.items():
        assert model.ir_version == 8, name
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)], name
        assert {node.domain for node in model.graph.node} == {""}, name
        assert not model.functions, name


def test_no_control_flow_and_no_external_data(models):
    for name, model in models.items():
        assert not FORBIDDEN & {node.op_type for node in model.graph.node}, name
        for tensor in model.graph.initializer:
            assert tensor.data_location == onnx.TensorProto.DEFAULT, name
        for node in model.graph.node:
            assert all(attribute.type != onnx.AttributeProto.GRAPH for attribute in node.attribute), name


def test_names_are_unique_and_say_where(models):
    for name, model in models.items():
        root = ROOTS[Metadata.from_props(props(model)).model_type]
        nodes = [node.name for node in model.graph.node]
        assert max(Counter(nodes).values()) == 1, name
        pattern = re.compile(rf"/{root}(/[a-z_]+|/step_\d\d+)*/([A-Za-z]+)(_\d+)?")
        for node in model.graph.node:
            match = pattern.fullmatch(node.name)
            assert match, f"{name}: {node.name}"
            assert match[2] == node.op_type, f"{name}: {node.name}"
        values = [value for node in model.graph.node for value in node.output]
        values += [t.name for t in model.graph.initializer] + [i.name for i in model.graph.input]
        assert max(Counter(values).values()) == 1, name
        assert all(values), name


def test_steps_are_numbered_from_zero_with_two_digits(models):
    names = [node.name for node in models["attention, image"].graph.node]
    assert {m[0] for n in names if (m := re.search(r"step_\d+", n))} == {f"step_{t:02d}" for t in range(4)}
    assert "/decoder/step_03/lstm/Gemm" in names
    assert "/decoder/write/filterbank_x/Exp" in names


def test_step_numbers_grow_with_the_steps(random_checkpoint):
    checkpoint = random_checkpoint(
        DrawConfig(1, 3, 3, 101, hidden_size=2, latent_size=1, read_size=1, write_size=1)
    )
    names = {node.name for node in onnx.load_from_string(build(checkpoint)).graph.node}
    assert "/decoder/step_100/lstm/Gemm" in names
    assert "/decoder/step_003/lstm/Gemm" in names


def test_every_weight_is_stored_once(models):
    for name, model in models.items():
        contents = Counter((t.data_type, tuple(t.dims), t.raw_data) for t in model.graph.initializer)
        assert max(contents.values()) == 1, name


def test_everything_in_the_file_is_used(models):
    for name, model in models.items():
        used = {value for node in model.graph.node for value in node.input}
        used |= {output.name for output in model.graph.output}
        for tensor in model.graph.initializer:
            assert tensor.name in used, f"{name}: {tensor.name}"
        for node in model.graph.node:
            assert used & set(node.output), f"{name}: {node.name}"


def test_file_holds_about_the_weights(checkpoints):
    weights = sum(w.numel() for n, w in checkpoints["attention"].weights.items() if "encoder" not in n)
    model = onnx.load_from_string(build(checkpoints["attention"], ExportOptions(outputs="image")))
    stored = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert stored < weights + 300


def test_shapes_are_inferred_whole(models):
    """Shape inference alone, from the inputs, finds the axes that the outputs declare."""
    for name, model in models.items():
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        for output in bare.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
        for want, got in zip(model.graph.output, inferred.graph.output, strict=True):
            dims = [d.dim_value for d in want.type.tensor_type.shape.dim[1:]]
            assert [d.dim_value for d in got.type.tensor_type.shape.dim[1:]] == dims, f"{name}: {want.name}"


def test_first_axis_is_the_batch(models):
    for name, model in models.items():
        for value in [*model.graph.input, *model.graph.output]:
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "batch_size", f"{name}: {value.name}"
            assert all(d.dim_value > 0 for d in rest), f"{name}: {value.name}"
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT, f"{name}: {value.name}"


def shapes(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    values = [*model.graph.input, *model.graph.output]
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def test_inputs_and_outputs_are_the_contract(models):
    b = "batch_size"
    assert shapes(models["attention, steps"]) == {
        "noise": [b, 4, 4],
        "image": [b, 1, 7, 10],
        "canvases": [b, 4, 1, 7, 10],
        "write_attention": [b, 4, 5],
    }
    assert list(shapes(models["attention, image"])) == ["noise", "image"]
    assert list(shapes(models["no attention, steps"])) == ["noise", "image", "canvases"]
    assert shapes(models["colour, steps, scorer"]) == {
        "image": [b, 3, 7, 10],
        "noise": [b, 3, 4],
        "bound": [b],
        "reconstruction": [b, 3, 7, 10],
        "canvases": [b, 3, 3, 7, 10],
        "read_attention": [b, 3, 5],
        "write_attention": [b, 3, 5],
    }
    assert shapes(models["classifier, steps"]) == {
        "image": [b, 1, 11, 8],
        "logits": [b, 2],
        "probabilities": [b, 2],
        "glimpses": [b, 4, 1, 3, 3],
        "read_attention": [b, 4, 5],
    }
    assert list(shapes(models["classifier, image"])) == ["image", "logits", "probabilities"]


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("outputs", ["steps", "image"])
@pytest.mark.parametrize("steps", [1, 2, 64])
def test_decoder_keeps_its_node_budget(random_checkpoint, steps, outputs, attention):
    sizes = (2, 5) if attention else (0, 0)
    config = DrawConfig(1, 28, 28, steps, 256, 100, *sizes, attention=attention)
    model = onnx.load_from_string(build(random_checkpoint(config), ExportOptions(outputs=outputs)))
    assert len(model.graph.node) <= 12 * steps + 80
    per_step = Counter(m[0] for n in model.graph.node if (m := re.search(r"step_\d+", n.name)))
    assert max(per_step.values()) <= 10
    assert sum(node.op_type == "Sigmoid" for node in model.graph.node) == steps + 1


@pytest.mark.parametrize("steps", [1, 2, 64])
def test_a_learned_prior_keeps_its_node_budget(random_checkpoint, steps):
    config = DrawConfig(1, 28, 28, steps, 256, 100, 2, 5, prior="learned")
    model = onnx.load_from_string(build(random_checkpoint(config)))
    assert len(model.graph.node) <= 15 * steps + 80


def test_half_precision_keeps_float32_outside_the_recurrence(models):
    model = models["attention, steps, half"]
    types = {t.name: t.data_type for t in model.graph.initializer}
    half = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT16}
    groups = [
        f"{n}_{g}" for n in ("weight_ih", "weight_hh", "bias", "initial_projection") for g in ("ifo", "g")
    ]
    assert half == {f"/decoder/lstm/{n}" for n in (*groups, "initial_cell")}


def test_sums_over_time_say_which_way(models):
    """Some converters read an attribute that is left out as 1."""
    sums = {n: [x for x in m.graph.node if x.op_type == "CumSum"] for n, m in models.items()}
    assert {len(nodes) for name, nodes in sums.items() if "steps" in name} == {0, 1}
    for node in (node for nodes in sums.values() for node in nodes):
        assert {a.name: a.i for a in node.attribute} == {"exclusive": 0, "reverse": 0}
