"""What the runtime lets through because of int8 files, and what it refuses before ONNX Runtime sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, build
from draw_onnx.runtime.classifier import Classifier
from draw_onnx.runtime.sampler import Sampler

from .conftest import edited
from .forged_int8 import WRONG_SIZES, resized

INT8 = ExportOptions(dtype="int8")


def set_key(key: str, value: str | None) -> Callable[[onnx.ModelProto], object]:
    def edit(model: onnx.ModelProto) -> None:
        kept = [(p.key, p.value) for p in model.metadata_props if p.key != key]
        del model.metadata_props[:]
        for k, v in [*kept, *([(key, value)] if value is not None else [])]:
            model.metadata_props.add(key=k, value=v)

    return edit


def add_node(op_type: str, domain: str) -> Callable[[onnx.ModelProto], object]:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(op_type, ["noise"], ["more"], domain=domain))

    return edit


def in_subgraph(op_type: str, domain: str) -> Callable[[onnx.ModelProto], object]:
    def edit(model: onnx.ModelProto) -> None:
        inner = helper.make_graph(
            [helper.make_node(op_type, ["noise"], ["y"], domain=domain)], "inner", [], []
        )
        model.graph.node.append(
            helper.make_node("If", ["noise"], ["more"], then_branch=inner, else_branch=inner)
        )

    return edit


def local_function(model: onnx.ModelProto) -> None:
    """Its own DynamicQuantizeLSTM."""
    node = helper.make_node("Identity", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("com.microsoft", "DynamicQuantizeLSTM", ["x"], ["y"], [node], opsets)
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_key("dtype", None), r"uses com\.microsoft\.DynamicQuantizeLSTM, .* in a file of float32"),
        (set_key("dtype", "float32"), r"uses com\.microsoft\.DynamicQuantizeLSTM, .* in a file of float32"),
        (set_key("dtype", "float16"), r"uses com\.microsoft\.DynamicQuantizeLSTM, .* in a file of float16"),
        (set_key("dtype", "INT8"), "dtype must be float32 or float16 or int8, not 'INT8'"),
        (set_key("dtype", "int4"), "dtype must be"),
        (set_key("dtype", ""), "dtype must be"),
        (add_node("Attention", "com.microsoft"), r"uses com\.microsoft\.Attention, which draw-export never"),
        (add_node("DynamicQuantizeLSTM", "com.microsoft.nchwc"), "never writes"),
        (add_node("microsoft.DynamicQuantizeLSTM", "com"), "never writes"),
        (add_node("dynamicquantizelstm", "com.microsoft"), "never writes"),
        (add_node("DynamicQuantizeLSTM", "ai.onnx.ml"), "never writes"),
        (in_subgraph("RunCode", "com.microsoft"), r"uses com\.microsoft\.RunCode"),
        (local_function, "model-local function"),
    ],
)
def test_the_runtime_refuses_what_is_not_named(checkpoints, tmp_path, edit, message):
    path = tmp_path / "x.onnx"
    path.write_bytes(edited(build(checkpoints["attention"], INT8), edit))
    with pytest.raises(DrawError, match=message) as error:
        Sampler(path, provider="cpu")
    assert "\n" not in str(error.value)


def test_an_lstm_operator_is_refused_in_a_classifier(checkpoints, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(
        edited(build(checkpoints["classifier"], INT8), add_node("DynamicQuantizeLSTM", "com.microsoft"))
    )
    with pytest.raises(
        DrawError, match=r"com\.microsoft\.DynamicQuantizeLSTM, which draw-export never writes"
    ):
        Classifier(path, provider="cpu")


@pytest.mark.parametrize("suffix", ["", "_scale"])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[..., :-1],
        lambda a: a[..., :0],
        lambda a: np.concatenate([a, a], -1),
        lambda a: a[None],
        lambda a: a.astype(np.float64),
    ],
    ids=["short", "empty", "long", "rank", "type"],
)
def test_damaged_weights_are_one_line(checkpoints, tmp_path, suffix, change):
    path = tmp_path / "x.onnx"
    name = f"/decoder/lstm/weight_hh{suffix}"
    path.write_bytes(edited(build(checkpoints["attention"], INT8), resized(name, change)))
    with pytest.raises(DrawError) as error:
        Sampler(path, provider="cpu").sample(2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "edit"), WRONG_SIZES)
def test_sizes_are_judged_before_onnx_runtime_sees_them(checkpoints, monkeypatch, kind, edit):
    """Older releases crash on them, or read what lies behind."""
    data = edited(build(checkpoints[kind], INT8), edit)
    monkeypatch.setattr("draw_onnx.runtime.session.create_session", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(DrawError, match="DynamicQuantize") as error:
        (Sampler if kind == "attention" else Classifier)(data, provider="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("zero_level", np.zeros(5, np.uint8)),
        ("zero_level", np.zeros(0, np.uint8)),
        ("level", np.ones(3, np.float32)),
        ("level", np.full((), np.nan, np.float32)),
        ("ones", np.ones((7, 1), np.int8)),
        ("ones", np.ones((11, 9), np.int8)),
    ],
)
def test_damaged_levels_are_one_line(checkpoints, name, values):
    """Of operators of the default domain, whose sizes ONNX Runtime looks at."""
    edit = resized(f"/classifier/read/{name}", lambda _: values)
    data = edited(build(checkpoints["classifier"], INT8), edit)
    with pytest.raises(DrawError) as error:
        Classifier(data, provider="cpu")(np.ones((2, 1, 11, 8), np.float32))
    assert "\n" not in str(error.value)
