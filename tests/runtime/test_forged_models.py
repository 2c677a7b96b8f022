"""Damaged files, files of others, and forged ones: each is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.runtime import providers
from draw_onnx.runtime.metadata import DECODER
from draw_onnx.runtime.onnx_file import parse
from draw_onnx.runtime.session import open_model

from ..damage import changed
from ..onnx_bytes import proto, with_graph_field, with_metadata
from .conftest import TYPES


@pytest.mark.parametrize(
    "content", [b"hello, world\n" * 20, b"\x80\x04\x95pickle", b"PK\x03\x04" + bytes(60), b"\0" * 99]
)
def test_other_files_are_not_models(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(DrawError, match="is not an ONNX file, or it is damaged"):
        open_model(tmp_path / "x.onnx", DECODER, "cpu")
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(DrawError, match=r"make one of a checkpoint: draw-export --ckpt .*x\.ckpt -o "):
        open_model(tmp_path / "x.ckpt", DECODER, "cpu")


def test_truncated_anywhere_is_an_error(tmp_path: Path, fake: Path) -> None:
    data = (fake / "decoder.onnx").read_bytes()
    path = tmp_path / "short.onnx"
    for length in range(1, len(data), 61):
        path.write_bytes(data[:length])
        with pytest.raises(DrawError) as error:
            open_model(path, DECODER, "cpu")
        assert "\n" not in str(error.value)


def test_a_foreign_model_is_refused(tmp_path: Path, fake: Path) -> None:
    data = (fake / "decoder.onnx").read_bytes()
    keys = parse(data).metadata
    (tmp_path / "foreign.onnx").write_bytes(with_metadata(data, dict.fromkeys(keys)))
    with pytest.raises(DrawError, match="not a file that draw-export wrote"):
        open_model(tmp_path / "foreign.onnx", DECODER, "cpu")


def test_external_data_is_never_followed(tmp_path: Path, fake: Path) -> None:
    """Also not when only the location is given and the flag is not, and not inside a node's attribute."""
    data = (fake / "decoder.onnx").read_bytes()
    entry = proto(13, proto(1, b"location") + proto(2, b"../secret.bin"))
    tensor = proto(8, b"stolen") + entry
    flagged = proto(8, b"stolen") + b"\x70\x01"  # data_location = EXTERNAL
    nodes = [proto(4, b"Constant") + proto(5, proto(1, b"value") + proto(k, tensor)) for k in (5, 10)]
    for extra in (proto(5, tensor), proto(5, flagged), *(proto(1, node) for node in nodes)):
        (tmp_path / "x.onnx").write_bytes(with_graph_field(data, extra))
        with pytest.raises(DrawError, match="in another file, which is never followed"):
            open_model(tmp_path / "x.onnx", DECODER, "cpu")


def test_a_field_that_only_protobuf_would_read_is_no_field(fake: Path) -> None:
    """C++ keeps 32 bits of a key: with a bit above them a field is unknown here and known there."""
    data = (fake / "decoder.onnx").read_bytes()
    entry = proto(1, b"location") + proto(2, b"secret.bin")
    for number in (13 + 2**29, 13 + 2**40):
        with pytest.raises(DrawError, match="not in ONNX's format"):
            open_model(
                with_graph_field(data, proto(5, proto(8, b"w") + proto(number, entry))), DECODER, "cpu"
            )
    for key in (
        b"\xea\x80\x80\x80\x80\x00",
        b"\x02",
        b"\xff" * 9 + b"\x7f",
    ):  # too long, number 0, above 64 bits
        with pytest.raises(DrawError, match="not in ONNX's format"):
            open_model(with_graph_field(data, proto(5, key + b"\x00")), DECODER, "cpu")


def test_a_model_in_onnx_runtimes_own_format(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are ONNX to a parser, behind a beginning that makes ONNX Runtime look for a flatbuffer."""
    beginning = b"\x10\x00\xb2\x00" + b"ORTM"  # an unknown number, and a text with a key in two bytes
    data = beginning + bytes(0x4F - 3) + (fake / "decoder.onnx").read_bytes()
    for bytes_ in (data, b"\x08\x08\x12\x00ORTM"):
        with pytest.raises(DrawError, match="ONNX Runtime's own format"):
            open_model(bytes_, DECODER, "cpu")
    options = {}
    real = providers.import_onnxruntime()

    class Options(real.SessionOptions):
        def add_session_config_entry(self, key: str, value: str) -> None:
            options[key] = value
            super().add_session_config_entry(key, value)

    monkeypatch.setattr(real, "SessionOptions", Options)
    open_model(fake / "decoder.onnx", DECODER, "cpu")
    assert options["session.load_model_format"] == "ONNX"


def test_numbers_of_a_fixed_length_are_no_fields(fake: Path) -> None:
    """protobuf skips a size that is written so, and the tensor is a scalar there."""
    tensor = proto(8, b"mine") + bytes([1 << 3 | 1]) + (7).to_bytes(8, "little") + b"\x08\x03"
    data = with_graph_field((fake / "decoder.onnx").read_bytes(), proto(5, tensor))
    assert parse(data).shapes["mine"] == (3,)


def test_what_draw_export_never_writes_is_refused(tmp_path: Path, fake: Path) -> None:
    """Foreign operators, graphs within the graph, and sparse tensors, whose values may lie in another file as well."""

    def with_attribute(operator: bytes, number: int, content: bytes) -> bytes:
        return proto(1, proto(4, operator) + proto(5, proto(1, b"a") + proto(number, content)))

    values = proto(8, b"stolen") + proto(13, proto(1, b"location") + proto(2, b"secret.bin"))
    sparse = proto(1, values)
    cases = [(proto(1, proto(4, b"RunCode") + proto(7, b"com.example")), r"com\.example\.RunCode")]
    cases += [(with_attribute(b"Loop", k, proto(2, b"inner")), "graph within the graph") for k in (6, 11)]
    cases += [(with_attribute(b"Constant", k, sparse), "sparse tensor") for k in (22, 23)]
    cases.append((proto(15, sparse), "sparse tensor"))
    for extra, words in cases:
        (tmp_path / "x.onnx").write_bytes(with_graph_field((fake / "decoder.onnx").read_bytes(), extra))
        with pytest.raises(DrawError, match=words):
            open_model(tmp_path / "x.onnx", DECODER, "cpu")


@pytest.mark.parametrize("operator", ["DynamicQuantizeLSTM", "DynamicQuantizeMatMul"])
@pytest.mark.parametrize("name", ["decoder", "classifier", "scorer"])
@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_int8_operators_are_for_int8_files(
    tmp_path: Path, fake: Path, operator: str, name: str, dtype: str | None
) -> None:
    node = proto(4, operator.encode()) + proto(7, b"com.microsoft")
    data = with_metadata((fake / f"{name}.onnx").read_bytes(), {"dtype": dtype})
    (tmp_path / "x.onnx").write_bytes(with_graph_field(data, proto(1, node)))
    with pytest.raises(DrawError, match=rf"com\.microsoft\.{operator}, .* in a file of {dtype or 'float32'}"):
        open_model(tmp_path / "x.onnx", TYPES[name], "cpu")


def test_functions_of_its_own_are_refused(tmp_path: Path, fake: Path) -> None:
    function = proto(25, proto(1, b"Sigmoid"))
    (tmp_path / "x.onnx").write_bytes((fake / "decoder.onnx").read_bytes() + function)
    with pytest.raises(DrawError, match="model-local function"):
        open_model(tmp_path / "x.onnx", DECODER, "cpu")


def test_a_graph_that_onnxruntime_refuses(tmp_path: Path, fake: Path) -> None:
    node = proto(1, b"nowhere") + proto(2, b"somewhere") + proto(4, b"Identity")
    (tmp_path / "x.onnx").write_bytes(with_graph_field((fake / "decoder.onnx").read_bytes(), proto(1, node)))
    with pytest.raises(DrawError, match=r"ONNX Runtime .* cannot load it"):
        open_model(tmp_path / "x.onnx", DECODER, "cpu")


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_bytes_never_surprise(fake: Path, data: st.DataObject) -> None:
    """Any bytes changed anywhere: the parser gives declarations or a DrawError, nothing else."""
    content = changed(data, (fake / "classifier.onnx").read_bytes())
    try:
        parse(content)
    except DrawError as error:
        assert "\n" not in str(error)


@settings(max_examples=60)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_judged(content: bytes) -> None:
    try:
        declared = parse(content)
    except DrawError:
        return
    assert declared.ir_version > 0
