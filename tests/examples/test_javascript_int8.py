"""examples/js/quantised.js: int8 files pass, and forged ones of sizes that do not agree are refused, as in Python."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from draw_onnx import Classifier, Sampler
from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, build
from draw_onnx.models.checkpoint import Checkpoint

from ..export.forged_int8 import WRONG_SIZES, lstm_node
from ..onnx_bytes import proto, varint
from .test_javascript_model_file import SAID, in_graph

pytestmark = pytest.mark.examples

INT8 = ExportOptions(dtype="int8")


def other_axes(model: onnx.ModelProto) -> None:
    """Another order of the noise's axes."""
    node = next(n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] == "noise")
    node.attribute[0].ints[:] = [0, 1, 2]


def more_of_a_transpose(model: onnx.ModelProto) -> None:
    """An attribute of which nobody knows."""
    node = next(n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] == "noise")
    node.attribute.append(onnx.helper.make_attribute("more", 1))


def stored_twice(model: onnx.ModelProto) -> None:
    """A short bias after the right one, under its name."""
    tensor = next(t for t in model.graph.initializer if t.name.endswith("lstm/bias"))
    model.graph.initializer.append(tensor)


FORGED = [
    *WRONG_SIZES,
    ("attention", other_axes),
    ("attention", more_of_a_transpose),
    ("attention", stored_twice),
    ("attention", lstm_node(lambda node: node.input.__setitem__(4, node.input[3]))),  # lengths of sequences
    ("attention", lstm_node(lambda node: node.ClearField("attribute"))),
]


@pytest.fixture(scope="module")
def files(golden_draw_models, golden_classifiers) -> dict[str, bytes]:
    """An int8 file of each kind."""

    def checkpoint(models: list, fits) -> Checkpoint:
        return next(c for c in (model.checkpoint() for model in models) if fits(c.config))

    draws = checkpoint(
        golden_draw_models, lambda c: c.attention and c.prior == "standard" and c.latent_size > 2
    )
    return {
        "attention": build(draws, INT8),
        "classifier": build(checkpoint(golden_classifiers, lambda c: c.hidden_size > 1), INT8),
    }


def test_what_draw_export_writes_is_read(javascript, files: dict[str, bytes], tmp_path: Path) -> None:
    for kind, data in files.items():
        (tmp_path / kind).write_bytes(data)
    assert javascript(SAID, [str(tmp_path / kind) for kind in files]) == ["read", "read"]
    packaged = [str(path) for path in Path(__file__).resolve().parents[2].glob("pretrained/*.onnx")]
    assert set(javascript(SAID, packaged)) == {"read"}


def test_sizes_are_judged_before_onnx_runtime_sees_them(
    javascript, files: dict[str, bytes], tmp_path: Path
) -> None:
    """The same line as in Python."""
    paths, lines = [], []
    for k, (kind, edit) in enumerate(FORGED):
        model = onnx.load_from_string(files[kind])
        edit(model)
        paths.append(tmp_path / f"{k}.onnx")
        paths[-1].write_bytes(model.SerializeToString())
        with pytest.raises(DrawError) as error:
            (Sampler if kind == "attention" else Classifier)(paths[-1], "cpu")
        lines.append(str(error.value).removeprefix(f"{paths[-1]}: "))
    assert all("DynamicQuantize" in line for line in lines)
    assert javascript(SAID, [str(path) for path in paths]) == lines


def test_packed_numbers_are_read(javascript, edited, tmp_path: Path) -> None:
    """Shapes may be written as one field of several numbers: ONNX Runtime reads them."""
    data = edited("decoder", dtype="int8").read_bytes()
    product = proto(4, b"DynamicQuantizeMatMul") + proto(7, b"com.microsoft")
    inputs = b"".join(proto(1, name) for name in (b"noise", b"weights", b"scale", b"zero"))
    cases = {
        "fits": (300, "read"),
        "short": (299, "input 2 of its DynamicQuantizeMatMul (scale) has not the right size"),
    }
    for name, (columns, _) in cases.items():
        stored = {b"weights": (2, 300), b"scale": (columns,), b"zero": (1,)}
        tensors = b"".join(
            proto(5, proto(1, b"".join(map(varint, shape))) + proto(8, key)) for key, shape in stored.items()
        )
        (tmp_path / name).write_bytes(in_graph(data, tensors + proto(1, inputs + product)))
    (tmp_path / "cut").write_bytes(in_graph(data, proto(5, proto(1, b"\x03\x80"))))
    said = [*(said for _, said in cases.values()), "not an ONNX file, or it is damaged"]
    assert javascript(SAID, [str(tmp_path / name) for name in [*cases, "cut"]]) == said
