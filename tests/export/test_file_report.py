"""``draw-doctor --onnx``: an untouched export is known as such, and whatever somebody did to it is noticed."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.pretrained import packaged_models
from draw_onnx.runtime.commands import file_report
from draw_onnx.runtime.commands.file_report import report
from draw_onnx.runtime.metadata import Metadata
from draw_onnx.runtime.onnx_file import graph_sha256, parse
from draw_onnx.runtime.providers import ProviderError

from .conftest import props

KINDS = [
    {},
    {"outputs": "image"},
    {"dtype": "fp16"},
    {"batch": 3},
    {"opset": 13},
    {"opset": 18},
    {"graph": "scorer"},
    {"graph": "scorer", "dtype": "fp16", "outputs": "image"},
    {"recurrence": "lstm"},
    {"dtype": "int8"},
]


@pytest.fixture(scope="module")
def written(golden_draw_models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "draw.onnx"
    path.write_bytes(build(golden_draw_models[0].checkpoint()))
    return path


def save(model: onnx.ModelProto, path: Path, *, digest: bool = True) -> Path:
    if not digest:
        kept = [(p.key, p.value) for p in model.metadata_props if p.key != "graph_sha256"]
        del model.metadata_props[:]
        for key, value in kept:
            model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_every_kind_of_export_is_known(golden_draw_models, tmp_path: Path, options) -> None:
    """By its digest, and without one by what is in it."""
    for model in golden_draw_models[::2]:
        path = tmp_path / "draw.onnx"
        path.write_bytes(build(model.checkpoint(), ExportOptions(**options)))
        lines, problems = report(str(path))
        assert problems == []
        assert dict(lines)["state"].startswith("its graph is as draw-export wrote it: the digest agrees")
        assert dict(lines)["runs"].startswith("on the CPU")
        lines, problems = report(str(save(onnx.load(path), path, digest=False)))
        assert problems == []
        assert "before files carried a digest" in dict(lines)["state"]


def test_the_pictures_that_it_was_trained_on_are_counted(golden_classifiers, tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "clf.onnx", golden_classifiers[0].checkpoint()
    path.write_bytes(build(dataclasses.replace(checkpoint, train_size=1234)))
    assert dict(report(str(path))[0])["model"].endswith(f"trained on {checkpoint.dataset} (1,234 pictures)")
    path.write_bytes(build(checkpoint))
    assert dict(report(str(path))[0])["model"].endswith(f"trained on {checkpoint.dataset}")


def test_classifiers_too(golden_classifiers, tmp_path: Path) -> None:
    for model in golden_classifiers:
        path = tmp_path / "clf.onnx"
        for dtype in ("fp32", "int8"):
            path.write_bytes(build(model.checkpoint(), ExportOptions(dtype=dtype)))
            assert report(str(path))[1] == []
            assert report(str(save(onnx.load(path), path, digest=False)))[1] == []


@pytest.mark.parametrize("name", packaged_models(".onnx"))
def test_packaged_files(name: str) -> None:
    lines, problems = report(name)
    assert problems == []
    assert f"(the packaged model {name})" in dict(lines)["SHA-256"]


def test_saving_it_again_changes_nothing(written: Path, tmp_path: Path) -> None:
    """Nor does a word about the licence: the digest is of what runs."""
    model = onnx.load(written)
    model.doc_string = "mine"
    for entry in model.metadata_props:
        if entry.key == "model_author":
            entry.value = "somebody"
    path = tmp_path / "again.onnx"
    onnx.save(model, path)
    assert report(str(path))[1] == []


def _one_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _another_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 16


def _one_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "HardSigmoid"


@pytest.mark.parametrize("change", [_one_weight, _another_opset, _one_operator])
def test_the_smallest_change_is_noticed(written: Path, tmp_path: Path, change) -> None:
    model = onnx.load(written)
    change(model)
    _, problems = report(str(save(model, tmp_path / "changed.onnx")))
    assert len(problems) == 1
    assert problems[0].startswith(
        "changed since draw-export wrote it: its graph is not the one of the digest"
    )


@pytest.mark.parametrize("digest", [True, False])
def test_a_quantised_file(written: Path, tmp_path: Path, digest: bool) -> None:
    """ONNX Runtime's own quantiser keeps the metadata; with and without a digest it is seen."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = save(onnx.load(written), tmp_path / "source.onnx", digest=digest)
    path = tmp_path / "int8.onnx"
    quantization.quantize_dynamic(source, path, weight_type=quantization.QuantType.QInt8)
    assert Metadata.from_props(parse(path.read_bytes()).metadata).parity_atol == "unchecked"
    _, problems = report(str(path))
    (problem,) = problems
    assert "int8 (" in problem
    assert "DynamicQuantizeLinear" in problem
    assert ("its graph is not the one of the digest" in problem) == digest


def test_a_half_precision_file_under_a_float32_gate(golden_draw_models, tmp_path: Path) -> None:
    path = tmp_path / "fp16.onnx"
    path.write_bytes(build(golden_draw_models[0].checkpoint(), ExportOptions(dtype="fp16")))
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "parity_atol":
            entry.value = "1e-05"
    (problem,) = report(str(save(model, path, digest=False)))[1]
    assert "float16 weights, which pass no gate of 1e-05" in problem


def test_a_file_of_another_program(tmp_path: Path) -> None:
    """What it is all the same, and that it is not ours."""
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), producer_name="else")
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString())
    lines, problems = report(str(path))
    assert "Add 1" in dict(lines)["graph"]
    assert problems == ["not a file that draw-export wrote: it has no draw-onnx metadata"]


def test_a_file_that_does_not_run(written: Path, tmp_path: Path) -> None:
    """Each thing wrong has its line."""
    model = onnx.load(written)
    del model.graph.output[0]
    _, problems = report(str(save(model, tmp_path / "broken.onnx")))
    assert len(problems) == 2
    assert "it lacks the output image that its metadata promises" in problems[0]
    assert problems[1].startswith("changed since")


def test_weights_in_another_file(written: Path, tmp_path: Path) -> None:
    model, path = onnx.load(written), tmp_path / "draw.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    lines, problems = report(str(path))
    assert dict(lines)["tensors"].endswith(", some in another file")
    assert "weights in another file" in problems[-1]


def test_a_machine_that_runs_nothing_is_not_the_files_fault(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ProviderError("ONNX Runtime is not installed")

    monkeypatch.setattr(file_report, "open_model", broken)
    lines, problems = report(str(written))
    assert (dict(lines)["runs"], problems) == ("not tried: ONNX Runtime is not installed", [])


def test_the_command(written: Path, tmp_path: Path) -> None:
    """Exit 0 for what draw-export wrote, 1 for anything else; one line for what is no file."""
    program = str(Path(sys.executable).with_name("draw-doctor"))

    def doctor(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, "--onnx", str(path)], capture_output=True, text=True)

    got = doctor(written)
    assert (got.returncode, got.stderr) == (0, "")
    assert re.search(r"^state +its graph is as draw-export wrote it", got.stdout, re.MULTILINE)
    model = onnx.load(written)
    _one_weight(model)
    got = doctor(save(model, tmp_path / "changed.onnx"))
    assert (got.returncode, got.stderr) == (1, "")
    assert re.search(r"^PROBLEM +changed since", got.stdout, re.MULTILINE)
    for path in (tmp_path / "absent.onnx", Path(__file__), tmp_path):
        got = doctor(path)
        assert (got.returncode, got.stdout, got.stderr.count("\n")) == (1, "", 1)


def test_the_digest_does_not_depend_on_the_metadata(written: Path) -> None:
    model = onnx.load(written)
    said = props(model)["graph_sha256"]
    del model.metadata_props[:]
    assert graph_sha256(model.SerializeToString()) == said
