"""Files in int8: what is in them, what they cost, and what the runtime lets through because of them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from draw_onnx import processor
from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, build, export, parity
from draw_onnx.export.builder import GraphBuilder, to_bytes
from draw_onnx.export.quantisation import quantised
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint
from draw_onnx.models.config import ClassifierConfig
from draw_onnx.models.rounding import rounded_to_int8
from draw_onnx.runtime import quantised as quantised_file
from draw_onnx.runtime.classifier import Classifier
from draw_onnx.runtime.metadata import INT8_OPERATORS, Metadata
from draw_onnx.runtime.sampler import Sampler

from .conftest import edited, props

ROOT = Path(__file__).resolve().parents[2]
INT8 = ExportOptions(dtype="int8")


def model_of(data: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(data)


def metadata_of(data: bytes) -> Metadata:
    return Metadata.from_props(props(model_of(data)))


def initializers(data: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model_of(data).graph.initializer}


@pytest.fixture(scope="module")
def checkpoints(checkpoints: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Those that can be in eight bits: a learned prior has no LSTM operator."""
    return {name: checkpoint for name, checkpoint in checkpoints.items() if not name.startswith("prior")}


def graph_of(checkpoint: Checkpoint) -> str:
    return "classifier" if isinstance(checkpoint.config, ClassifierConfig) else "decoder"


@pytest.mark.parametrize(
    ("outputs", "more"),
    [
        ("steps", {}),
        ("image", {}),
        ("steps", {"batch": 3}),
        ("image", {"time_steps": 1}),
        ("steps", {"opset": 13}),
        ("image", {"opset": 18}),
    ],
    ids=str,
)
def test_every_kind_of_file_passes_its_gate(checkpoints, outputs, more):
    for name, checkpoint in checkpoints.items():
        exported = export(checkpoint, dataclasses.replace(INT8, outputs=outputs, **more))
        exported.require_parity()
        metadata = metadata_of(exported.data)
        assert metadata.dtype == "int8", name
        assert metadata.parity_atol == ("0.01" if graph_of(checkpoint) == "classifier" else "0.02"), name
        judged = {row.output for row in exported.rows if row.gate.judges}
        assert judged == {row.output for row in exported.rows} & {"image", "canvases", "logits"}, name


def test_operators_and_names(checkpoints):
    for name, checkpoint in checkpoints.items():
        data = build(checkpoint, INT8)
        model, metadata = model_of(data), metadata_of(data)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 17), ("com.microsoft", 1)], name
        foreign = {(n.domain, n.op_type) for n in model.graph.node if n.domain}
        assert foreign, name
        assert foreign <= INT8_OPERATORS[metadata.model_type], name
        assert {n.op_type for n in model.graph.node}.isdisjoint({"LSTM"}), name
        nodes = [node.name for node in model.graph.node]
        assert len(set(nodes)) == len(nodes), name
        assert all(node.name.split("/")[-1].startswith(node.op_type) for node in model.graph.node), name
        assert data == build(checkpoint, INT8), name


def test_the_weights_are_those_that_draw_eval_measures(checkpoints):
    """Every matrix of an int8 file, back in float, is the same in the float file of the rounded checkpoint."""
    for name, checkpoint in checkpoints.items():
        recurrence = "lstm" if graph_of(checkpoint) == "decoder" else None
        eight = initializers(build(checkpoint, INT8))
        rounded = initializers(build(rounded_to_int8(checkpoint), ExportOptions(recurrence=recurrence)))
        scales = [key for key in eight if key.endswith("_scale")]
        assert len(scales) == (4 if graph_of(checkpoint) == "classifier" else 3), name
        for key in scales:
            values, matrix = eight[key.removesuffix("_scale")], rounded[key.removesuffix("_scale")]
            zero_point = 128 if values.dtype == np.uint8 else 0
            got = (values.astype(np.float64) - zero_point) * eight[key][..., None, :]
            if matrix.shape != got.shape:  # the plain LSTM operator takes them transposed
                matrix = matrix.transpose(0, 2, 1)
            np.testing.assert_allclose(got, matrix, rtol=2e-5, atol=1e-7, err_msg=f"{name} {key}")


@pytest.mark.parametrize(
    ("name", "atol"), [("mnist-no-attention", None), ("mnist", 0.03), ("cluttered-mnist-4", None)]
)
def test_packaged_models_are_small_and_pass(name, atol):
    # From the checkout: the package leaves the largest out.
    checkpoint = load_checkpoint(ROOT / "pretrained" / f"{name}.safetensors")
    exported = export(checkpoint, dataclasses.replace(INT8, batch=2), atol=atol)
    exported.require_parity()
    for recurrence in ("unrolled", "lstm") if name != "cluttered-mnist-4" else ("unrolled",):
        assert len(exported.data) <= 0.3 * len(build(checkpoint, ExportOptions(recurrence=recurrence)))


def test_channels_of_every_kind():
    weight = np.array([[0.0, 5.0, 1e-3, -2.0], [0.0, 5.0, -1e-3, 1.0], [0.0, 5.0, 5e-4, 0.3]])
    values, scales = quantised(weight)
    assert values.dtype == np.int8
    assert values.T.tolist() == [[0, 0, 0], [127, 127, 127], [127, -127, 64], [-127, 64, 19]]
    np.testing.assert_allclose(values * scales, weight, atol=1e-12 + scales.max() / 2)
    leading, of_leading = quantised(weight[None])
    assert (leading.shape, of_leading.shape) == ((1, 3, 4), (1, 4))


def test_products_do_not_saturate(run_file):
    """Signed weights would: without VNNI, pairs of products are added in 16 bits, and 2 * 255 * 127 is twice too much."""
    b = GraphBuilder("product", dtype="int8")
    x = b.input("x", [64])
    weight = np.full((64, 32), 1.0)
    y = b.product(x, b.matrix("weight", weight), b.constant("bias", np.arange(32.0)))
    b.output("y", y, [32])
    got = run_file(to_bytes(b.model(), {}), x=np.ones((4, 64), np.float32))["y"]
    np.testing.assert_allclose(got, np.tile(64 + np.arange(32.0), (4, 1)), rtol=1e-5)


@pytest.mark.parametrize("flags", ["avx2 avx512_vnni", "avx2 avx_vnni", "avx2 avx512f", ""])
def test_weights_are_signed_where_the_cpu_takes_them_faster(checkpoints, monkeypatch, flags):
    monkeypatch.setattr(processor, "cpu_flags", lambda: set(flags.split()))
    for name in ("attention", "no attention", "classifier"):
        data = build(checkpoints[name], INT8)
        seen = quantised_file.for_this_cpu(data)
        if "vnni" not in flags:
            assert seen is data, name
            continue
        stored, got = initializers(data), initializers(seen)
        assert list(got) == list(stored), name
        for key, values in stored.items():
            signed = values if values.dtype != np.uint8 else (values.astype(np.int16) - 128).astype(np.int8)
            assert got[key].dtype == signed.dtype, f"{name} {key}"
            np.testing.assert_array_equal(got[key], signed, err_msg=f"{name} {key}")
        assert {v.dtype for k, v in got.items() if k.endswith(("weight_ih", "weight_hh"))} == {
            np.dtype("int8")
        }
        model, original = model_of(seen), model_of(data)
        onnx.checker.check_model(model)
        for either in (model, original):
            either.graph.ClearField("initializer")
        assert model == original, name


def test_signed_weights_change_no_result(checkpoints, monkeypatch):
    """On CPUs without VNNI both sessions take the unsigned ones."""
    for name in ("attention", "colour", "no attention", "classifier"):
        data = build(checkpoints[name], INT8)
        with monkeypatch.context() as without:
            without.setattr(processor, "cpu_flags", set)
            unsigned = random_run(parity.open_session(data))
        np.testing.assert_array_equal(random_run(parity.open_session(data)), unsigned, err_msg=name)


def random_run(session: Any) -> np.ndarray:
    """The first output for three random inputs."""
    given = session.get_inputs()[0]
    values = np.random.default_rng(0).standard_normal((3, *given.shape[1:]), np.float32)
    return session.run(None, {given.name: values})[0]


def test_other_tensors_of_eight_bits_stay(checkpoints, monkeypatch):
    """A file that is not as draw-export writes it is left as it is."""
    monkeypatch.setattr(processor, "cpu_flags", lambda: {"avx512_vnni"})
    data = build(checkpoints["classifier"], INT8)

    def another(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([7], np.uint8), "mask"))

    def not_raw(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.UINT8)
        tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, 2, tensor.dims, list(tensor.raw_data)))

    for edit in (another, not_raw):
        changed = edited(data, edit)
        assert quantised_file.for_this_cpu(changed) is changed
    plain = build(checkpoints["classifier"], ExportOptions())
    assert quantised_file.for_this_cpu(plain) is plain


def test_a_wrong_scale_misses_the_picture_gate(checkpoints):
    def edit(model: onnx.ModelProto) -> None:
        scale = next(t for t in model.graph.initializer if t.name == "/decoder/write/weight_scale")
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.3, scale.name))

    checkpoint = checkpoints["attention"]
    session = parity.open_session(edited(build(checkpoint, INT8), edit))
    rows = {r.output: r for r in parity.compare(parity.runner(session), checkpoint, "decoder", 4, "int8")}
    assert not rows["image"].passed
    assert rows["write_attention"].passed  # told, not judged
    assert "has a picture that differs by" in rows["image"].reason
    assert rows["image"].reason.endswith("the gate is 2e-2 (--atol)")


def test_another_class_too_often_misses_the_gate(checkpoints):
    def edit(model: onnx.ModelProto) -> None:
        bias = next(t for t in model.graph.initializer if t.name == "/classifier/output/bias")
        bias.CopyFrom(numpy_helper.from_array(-9 * numpy_helper.to_array(bias), bias.name))

    checkpoint = checkpoints["classifier"]
    session = parity.open_session(edited(build(checkpoint, INT8), edit))
    rows = {r.output: r for r in parity.compare(parity.runner(session), checkpoint, "classifier", 4, "int8")}
    assert not rows["logits"].passed
    assert "names another class for" in rows["logits"].reason


def test_atol_is_the_gate_of_pictures(checkpoints):
    exported = export(checkpoints["attention"], INT8, atol=1e-6)
    assert not exported.passed
    with pytest.raises(DrawError, match=r"image has a picture that differs by .*1e-6 \(--atol\)"):
        exported.require_parity()
    assert metadata_of(export(checkpoints["attention"], INT8, atol=0.5).data).parity_atol == "0.5"


def test_the_runtime_opens_them(checkpoints, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(build(checkpoints["attention"], INT8))
    images = Sampler(path, provider="cpu").sample(5, seed=3).images
    assert np.isfinite(images).all()
    path.write_bytes(build(checkpoints["classifier"], INT8))
    answers = Classifier(path, provider="cpu")(np.zeros((3, 1, 11, 8), np.float32))
    np.testing.assert_allclose(answers.probabilities.sum(1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph": "scorer"}, "--dtype int8 is for decoders and classifiers"),
        ({"recurrence": "unrolled"}, "leave out --recurrence unrolled"),
        ({"dtype": "int4"}, "--dtype must be fp32 or fp16 or int8, not int4"),
    ],
    ids=str,
)
def test_bad_options_are_named(checkpoints, options, message):
    with pytest.raises(DrawError, match=message):
        build(checkpoints["attention"], ExportOptions(**{"dtype": "int8", **options}))


def test_int8_decoders_take_the_lstm_operator_by_themselves(checkpoints):
    assert build(checkpoints["attention"], INT8) == build(
        checkpoints["attention"], dataclasses.replace(INT8, recurrence="lstm")
    )
    # A classifier has no other recurrence: saying so is no contradiction.
    assert build(checkpoints["classifier"], dataclasses.replace(INT8, recurrence="unrolled"))


def test_a_missing_quantiser_is_one_line(checkpoints, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.quant_utils", None)
    with pytest.raises(DrawError, match=r"needs onnxruntime\.quantization, which does not load: ") as error:
        build(checkpoints["attention"], INT8)
    assert "\n" not in str(error.value)


def test_the_encoder_keeps_its_weights(checkpoints):
    checkpoint = checkpoints["attention"]
    rounded = rounded_to_int8(checkpoint)
    changed = {k for k, w in checkpoint.weights.items() if not torch.equal(w, rounded.weights[k])}
    assert changed == {
        "decoder.weight_ih",
        "decoder.weight_hh",
        "write_attention.weight",
        "write_patch.weight",
    }
    assert rounded_to_int8(rounded).weights.keys() == checkpoint.weights.keys()
    for name in changed:
        again = rounded_to_int8(rounded).weights[name]
        torch.testing.assert_close(again, rounded.weights[name])
