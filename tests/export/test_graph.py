"""What every exported file must look like, whatever it computes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.export.options import Graph
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.runtime.metadata import CLASSIFIER, DECODER, NOISE_STREAM, SCORER, Metadata

FORBIDDEN = {"Loop", "Scan", "If", "Einsum", "RandomNormal", "RandomNormalLike", "SequenceConstruct"}
ROOTS = {DECODER: "decoder", CLASSIFIER: "classifier", SCORER: "scorer"}


def files(checkpoints: dict[str, Checkpoint]) -> dict[str, bytes]:
    """Every kind of file, once."""
    made = {}
    for name, checkpoint in checkpoints.items():
        for outputs in ("steps", "image"):
            made[f"{name}, {outputs}"] = build(checkpoint, ExportOptions(outputs=outputs))
            if isinstance(checkpoint.config, DrawConfig):
                made[f"{name}, {outputs}, scorer"] = build(
                    checkpoint, ExportOptions(graph="scorer", outputs=outputs)
                )
                if not name.startswith("prior"):
                    made[f"{name}, {outputs}, lstm"] = build(
                        checkpoint, ExportOptions(outputs=outputs, recurrence="lstm")
                    )
            made[f"{name}, {outputs}, half"] = build(checkpoint, ExportOptions(outputs=outputs, dtype="fp16"))
    return made


@pytest.fixture(scope="module")
def models(checkpoints) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load_from_string(data) for name, data in files(checkpoints).items()}


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
        root = ROOTS[Metadata.from_props({p.key: p.value for p in model.metadata_props}).model_type]
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


def props(model: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


def test_metadata_round_trips(models):
    for name, model in models.items():
        assert Metadata.from_props(props(model)).to_props() == props(model), name


def test_metadata_says_what_the_model_is(models, checkpoints):
    metadata = Metadata.from_props(props(models["colour, steps, scorer"]))
    assert metadata.model_type == SCORER
    assert metadata.image_shape == (3, 7, 10)
    assert (metadata.time_steps, metadata.hidden_size, metadata.latent_size) == (3, 9, 4)
    assert (metadata.read_size, metadata.write_size) == (2, 3)
    assert (metadata.attention, metadata.outputs, metadata.dataset) == (True, "steps", "digits")
    assert metadata.noise_stream == NOISE_STREAM
    assert metadata.parity_atol == "unchecked"
    assert (metadata.model_license, metadata.model_author) == ("MIT", "draw-onnx authors")
    without = Metadata.from_props(props(models["no attention, image"]))
    assert (without.attention, without.write_size, without.outputs) == (False, 0, "image")
    classifier = Metadata.from_props(props(models["classifier, steps"]))
    assert (classifier.model_type, classifier.labels) == (CLASSIFIER, ("cat", "dog"))
    assert (metadata.prior, props(models["prior, steps"])["prior"]) == ("standard", "learned")
    other = build(checkpoints["attention"], ExportOptions(model_license="CC0-1.0", model_author="Ada, Bert"))
    written = props(onnx.load_from_string(other))
    assert (written["model_license"], written["model_author"]) == ("CC0-1.0", "Ada, Bert")


@pytest.mark.parametrize(("size", "written"), [(4, "4"), (None, None)])
def test_a_classifier_says_how_large_its_figures_are(golden_classifiers, size, written):
    checkpoint = dataclasses.replace(golden_classifiers[0].checkpoint(), figure_size=size)
    assert props(onnx.load_from_string(build(checkpoint))).get("figure_size") == written


@pytest.mark.parametrize(("binary", "written"), [(True, "true"), (False, "false"), (None, None)])
def test_a_scorer_says_whether_its_pictures_are_binary(checkpoints, binary, written):
    """A checkpoint that does not say gives a file that does not: how it is read is decided in one place."""
    checkpoint = dataclasses.replace(checkpoints["attention"], binary=binary)
    assert (
        props(onnx.load_from_string(build(checkpoint, ExportOptions(graph="scorer")))).get("binary")
        == written
    )
    assert "binary" not in props(onnx.load_from_string(build(checkpoint)))


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


def test_files_for_bulk_draw_the_same(checkpoints, run_file):
    """A large fixed batch: noise and state in one product, which nothing is projected or split for."""
    rng = np.random.default_rng(5)
    for name, checkpoint in checkpoints.items():
        config = checkpoint.config
        if not isinstance(config, DrawConfig):
            continue
        noise = rng.standard_normal((32, config.time_steps, config.latent_size)).astype(np.float32)
        static, dynamic = (build(checkpoint, ExportOptions(batch=batch)) for batch in (32, None))
        nodes = onnx.load_from_string(static).graph.node
        assert not any("projection" in node.name for node in nodes), name
        assert len(nodes) <= (20 if config.prior == "learned" else 16) * config.time_steps + 80, name
        assert (
            sum(node.op_type == "Gemm" and "/step_" in node.name for node in nodes) >= 2 * config.time_steps
        )
        got, expected = run_file(static, noise=noise), run_file(dynamic, noise=noise)
        for output, values in expected.items():
            np.testing.assert_allclose(got[output], values, rtol=1e-5, atol=1e-5, err_msg=f"{name} {output}")


SCRIPT = """
import hashlib, sys
from draw_onnx.export import ExportOptions, build
from draw_onnx.export.options import Graph
from draw_onnx.models.checkpoint import load_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
for graph in sys.argv[2:]:
    print(hashlib.sha256(build(checkpoint, ExportOptions(graph=graph))).hexdigest())
"""


def test_bytes_are_the_same_in_every_process(checkpoints, tmp_path):
    """Also for a full checkpoint and a weights-only one."""
    full = Checkpoint(**{**vars(checkpoints["attention"]), "training": {"step": 7}, "iteration": 7})
    save_checkpoint(tmp_path / "full.ckpt", full)
    save_checkpoint(tmp_path / "weights.ckpt", checkpoints["attention"])
    digests = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / name), "decoder", "scorer"],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
        ).stdout
        for name, seed in (("full.ckpt", "1"), ("weights.ckpt", "2"))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].split())) == 2


def test_parity_leaves_the_bytes_alone_but_for_the_gate(checkpoints):
    from draw_onnx.export import ExportOptions, export

    first = export(checkpoints["attention"], ExportOptions())
    again = export(checkpoints["attention"], ExportOptions())
    assert first.data == again.data
    model = onnx.load_from_string(first.data)
    assert props(model)["parity_atol"] == "1e-05"
    unchecked = onnx.load_from_string(build(checkpoints["attention"]))
    assert model.graph == unchecked.graph


@pytest.mark.parametrize("opset", [13, 15, 18])
def test_other_opsets_compute_the_same(checkpoints, run_file, opset):
    for checkpoint in (checkpoints["colour"], checkpoints["classifier"]):
        config = checkpoint.config
        graphs: list[Graph] = (
            ["classifier"] if isinstance(config, ClassifierConfig) else ["decoder", "scorer"]
        )
        image = np.full((2, config.image_channels, config.image_height, config.image_width), 0.3, np.float32)
        for graph in graphs:
            inputs: dict[str, np.ndarray] = {} if graph == "decoder" else {"image": image}
            if not isinstance(config, ClassifierConfig):
                inputs["noise"] = np.full((2, config.time_steps, config.latent_size), 0.5, np.float32)
            plain = run_file(build(checkpoint, ExportOptions(graph=graph)), **inputs)
            other = run_file(build(checkpoint, ExportOptions(graph=graph, opset=opset)), **inputs)
            for name, values in plain.items():
                np.testing.assert_array_equal(values, other[name], err_msg=f"{graph} {name}")


def test_a_static_batch_is_in_every_shape(checkpoints, run_file):
    for name in ("attention", "classifier"):
        checkpoint = checkpoints[name]
        model = onnx.load_from_string(build(checkpoint, ExportOptions(batch=3)))
        for value in [*model.graph.input, *model.graph.output]:
            assert value.type.tensor_type.shape.dim[0].dim_value == 3
        assert not {"Shape", "Expand"} & {node.op_type for node in model.graph.node}
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for value in inferred.graph.value_info:
            dims = value.type.tensor_type.shape.dim
            assert all(d.HasField("dim_value") for d in dims), value.name
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        feed = {model.graph.input[0].name: np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)}
        static = run_file(build(checkpoint, ExportOptions(batch=3)), **feed)
        dynamic = run_file(build(checkpoint), **feed)
        for output, values in dynamic.items():
            np.testing.assert_allclose(static[output], values, rtol=1e-6, atol=1e-6)


def test_half_precision_keeps_float32_outside_the_recurrence(models):
    model = models["attention, steps, half"]
    types = {t.name: t.data_type for t in model.graph.initializer}
    half = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT16}
    groups = [
        f"{n}_{g}" for n in ("weight_ih", "weight_hh", "bias", "initial_projection") for g in ("ifo", "g")
    ]
    assert half == {f"/decoder/lstm/{n}" for n in (*groups, "initial_cell")}


def test_checkpoint_on_disk_builds_the_same(checkpoints, tmp_path: Path):
    save_checkpoint(tmp_path / "a.ckpt", checkpoints["classifier"])
    assert build(load_checkpoint(tmp_path / "a.ckpt")) == build(checkpoints["classifier"])


def test_sums_over_time_say_which_way(models):
    """Some converters read an attribute that is left out as 1."""
    sums = {n: [x for x in m.graph.node if x.op_type == "CumSum"] for n, m in models.items()}
    assert {len(nodes) for name, nodes in sums.items() if "steps" in name} == {0, 1}
    for node in (node for nodes in sums.values() for node in nodes):
        assert {a.name: a.i for a in node.attribute} == {"exclusive": 0, "reverse": 0}
