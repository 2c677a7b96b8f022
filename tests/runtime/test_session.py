"""Opening files: everything that can be wrong with one is a named, one-line error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from draw_onnx import pretrained
from draw_onnx.errors import DrawError
from draw_onnx.runtime import providers
from draw_onnx.runtime import session as session_module
from draw_onnx.runtime.metadata import CLASSIFIER, DECODER, SCORER, Metadata, interface
from draw_onnx.runtime.onnx_file import parse
from draw_onnx.runtime.session import open_model, peek

Edit = Callable[[bytes, Mapping[str, str | None]], bytes]
TYPES = {"decoder": DECODER, "classifier": CLASSIFIER, "scorer": SCORER}
ALL = sorted(p.name for p in (Path(__file__).parent.parent / "fake").glob("*.onnx"))


@pytest.mark.parametrize("name", ALL)
def test_every_fake_model_opens(fake: Path, name: str) -> None:
    model = open_model(fake / name, TYPES[name.split("-")[0].removesuffix(".onnx")], "cpu")
    assert model.session.get_providers() == ["CPUExecutionProvider"]
    assert model.fixed_batch == (4 if "batch4" in name else None)
    assert model.metadata == peek(fake / name)
    steps = "canvases" if "classifier" not in name else "glimpses"
    assert (steps in (value.name for value in model.session.get_outputs())) == ("lean" not in name)


def test_metadata_survives_the_round_trip(fake: Path) -> None:
    for name in ALL:
        props = parse((fake / name).read_bytes()).metadata
        assert Metadata.from_props(props).to_props() == props


@pytest.mark.parametrize(
    ("name", "wanted", "advice"),
    [
        ("classifier.onnx", DECODER, "this is a draw.classifier; use draw-classify"),
        ("scorer.onnx", DECODER, "this is a draw.scorer; use draw-score"),
        ("decoder.onnx", CLASSIFIER, "this is a draw.decoder; use draw-gen"),
        ("decoder.onnx", SCORER, "this is a draw.decoder; use draw-gen"),
    ],
)
def test_the_wrong_kind_names_the_right_command(fake: Path, name: str, wanted: str, advice: str) -> None:
    with pytest.raises(DrawError, match=advice):
        open_model(fake / name, wanted, "cpu")


def test_no_name_is_not_the_current_folder(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may be one that draw-export --hub wrote."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "decoder.onnx").write_bytes((fake / "decoder.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    open_model(".", DECODER, "cpu")
    with pytest.raises(DrawError, match="the name of the model is empty"):
        open_model("", DECODER, "cpu")


def test_missing_folder_empty_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DrawError, match=r"no model at .*nothing\.onnx"):
        open_model(tmp_path / "nothing.onnx", DECODER, "cpu")
    with pytest.raises(DrawError, match="is a folder"):
        open_model(tmp_path, DECODER, "cpu")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(DrawError, match="is empty"):
        open_model(tmp_path / "empty.onnx", DECODER, "cpu")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(session_module.MAX_BYTES + 1)  # sparse: nothing is written, nothing may be read
    with pytest.raises(DrawError, match="more than a model can have"):
        open_model(tmp_path / "large.onnx", DECODER, "cpu")


def test_a_device_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    monkeypatch.setattr(session_module, "MAX_BYTES", 1000)
    with pytest.raises(DrawError, match="more bytes than a model can have"):
        open_model("/dev/zero", DECODER, "cpu")


def test_an_unknown_name_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "packaged_models", lambda _: ["cluttered-mnist", "mnist"])
    with pytest.raises(DrawError, match=r"no model minst \(packaged models: cluttered-mnist, mnist\)"):
        open_model("minst", DECODER, "cpu")


def test_weights_that_the_package_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.onnx").write_bytes(b"")
    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    with pytest.raises(
        DrawError, match=r"big are too large for the package.* path of pretrained/big.safetensors"
    ):
        pretrained.find_packaged("big", ".ckpt", "checkpoint")


def test_packaged_names_win_and_paths_are_paths(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boxed.onnx").write_bytes((fake / "decoder.onnx").read_bytes())
    (tmp_path / "boxed.ckpt").write_bytes(b"")
    (tmp_path / "boxed").mkdir()  # a folder of data with the name of a model
    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert pretrained.packaged_models(".onnx") == pretrained.packaged_models(".ckpt") == ["boxed"]
    assert pretrained.find_packaged("boxed", ".onnx", "model") == tmp_path / "boxed.onnx"
    assert pretrained.find_packaged("boxed", ".ckpt", "checkpoint") == tmp_path / "boxed.ckpt"
    (tmp_path / "boxed.safetensors").write_bytes(b"")
    assert pretrained.packaged_models(".ckpt") == ["boxed"]
    assert pretrained.find_packaged("boxed", ".ckpt", "checkpoint") == tmp_path / "boxed.safetensors"
    for name in ("boxed.ckpt", "boxed.safetensors"):
        assert pretrained.find_packaged(name, ".ckpt", "checkpoint") == Path(name)
    assert pretrained.find_packaged("boxed.onnx", ".onnx", "model") == Path("boxed.onnx")
    with pytest.raises(DrawError, match="is a folder"):
        pretrained.find_packaged("./boxed", ".onnx", "model")
    assert open_model("boxed", DECODER, "cpu").metadata.dataset == "fake"


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


def test_a_foreign_model_is_refused(tmp_path: Path, fake: Path, with_metadata: Edit) -> None:
    data = (fake / "decoder.onnx").read_bytes()
    keys = parse(data).metadata
    (tmp_path / "foreign.onnx").write_bytes(with_metadata(data, dict.fromkeys(keys)))
    with pytest.raises(DrawError, match="not a file that draw-export wrote"):
        open_model(tmp_path / "foreign.onnx", DECODER, "cpu")


@pytest.mark.parametrize("name", ["decoder", "classifier", "scorer"])
def test_every_missing_key_is_named(tmp_path: Path, fake: Path, with_metadata: Edit, name: str) -> None:
    data = (fake / f"{name}.onnx").read_bytes()
    # These came later: a file without them is read as files were before.
    for key in parse(data).metadata.keys() - {"picture_fit", "binary"}:
        (tmp_path / "x.onnx").write_bytes(with_metadata(data, {key: None}))
        with pytest.raises(DrawError) as error:
            open_model(tmp_path / "x.onnx", TYPES[name], "cpu")
        wanted = key if key not in ("format_version", "model_type") else "no draw-onnx metadata"
        assert wanted in str(error.value)
        assert "x.onnx" in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("decoder", {"format_version": "2"}, "newer than this package reads"),
        ("decoder", {"dtype": "bfloat16"}, "dtype must be float32 or float16 or int8"),
        (
            "decoder",
            {"image_height": "8"},
            r"image has shape \[batch, 1, 7, 6\], but its metadata says \[batch, 1, 8, 6\]",
        ),
        ("decoder", {"image_channels": "3"}, "image has shape"),
        ("decoder", {"image_channels": "2"}, "image_channels must be 1 or 3, not 2"),
        (
            "decoder",
            {"time_steps": "65536", "latent_size": "65536"},
            "noise would have 4,294,967,296 numbers",
        ),
        ("decoder", {"format_version": "0"}, "format_version is out of range: 0"),
        ("decoder", {"write_size": "65537"}, "write_size is out of range: 65537"),
        ("decoder", {"write_size": "0"}, "write_size is out of range: 0"),
        ("scorer", {"read_size": "0"}, "read_size is out of range: 0"),
        ("classifier-lean", {"read_size": "0"}, "read_size is out of range: 0"),
        ("classifier-lean", {"read_size": "0", "attention": "false"}, "read_size is out of range: 0"),
        ("classifier", {"labels": "a,b,a"}, "names a class twice"),
        ("classifier", {"figure_size": "25"}, "figure_size is out of range: 25, more than a picture"),
        ("classifier", {"figure_size": "0"}, "figure_size is out of range: 0"),
        ("classifier", {"figure_size": "large"}, "figure_size must be a decimal number, not 'large'"),
        ("scorer", {"binary": "yes"}, "binary must be true or false, not 'yes'"),
        ("scorer", {"picture_fit": "stretch"}, "picture_fit must be pad or cover, not 'stretch'"),
        ("decoder", {"prior": "gaussian"}, "prior must be standard or learned, not 'gaussian'"),
        ("decoder", {"time_steps": "4"}, "noise has shape"),
        ("decoder", {"latent_size": "3"}, "noise has shape"),
        ("decoder", {"latent_size": "-2"}, "latent_size must be a decimal number"),
        ("decoder", {"latent_size": "99999999999"}, "latent_size must be a decimal number"),
        ("decoder", {"time_steps": "0"}, "out of range"),
        ("decoder", {"attention": "yes"}, "attention must be true or false"),
        ("decoder", {"outputs": "all"}, "outputs must be"),
        ("decoder", {"model_type": "draw.painter"}, "unknown model_type"),
        ("decoder", {"model_type": SCORER, "read_size": "2"}, "use draw-score"),
        ("decoder", {"noise_stream": "mersenne-1"}, "unknown noise_stream"),
        ("decoder-lean", {"outputs": "steps"}, "lacks the output canvases"),
        (
            "decoder-no-attention",
            {"attention": "true", "write_size": "3"},
            "lacks the output write_attention",
        ),
        ("classifier", {"labels": "a,b"}, "logits has shape"),
        ("classifier", {"labels": "a"}, "at least two names"),
        ("classifier", {"read_size": "5"}, "glimpses has shape"),
        ("scorer", {"image_width": "7"}, "has shape"),
    ],
)
def test_contradictions_are_named(
    tmp_path: Path, fake: Path, with_metadata: Edit, name: str, change: dict[str, str], message: str
) -> None:
    (tmp_path / "x.onnx").write_bytes(with_metadata((fake / f"{name}.onnx").read_bytes(), change))
    with pytest.raises(DrawError, match=message):
        open_model(tmp_path / "x.onnx", TYPES[name.split("-")[0]], "cpu")


def test_external_data_is_never_followed(
    tmp_path: Path,
    fake: Path,
    with_graph_field: Callable[[bytes, bytes], bytes],
    proto: Callable[[int, bytes], bytes],
) -> None:
    """Also not when only the location is given and the flag is not, and not inside a node's attribute."""
    data = (fake / "decoder.onnx").read_bytes()
    entry = proto(13, proto(1, b"location") + proto(2, b"../secret.bin"))
    tensor = proto(8, b"stolen") + entry
    flagged = proto(8, b"stolen") + b"\x70\x01"  # data_location = EXTERNAL
    node = proto(4, b"Constant") + proto(5, proto(1, b"value") + proto(5, tensor))
    for extra in (proto(5, tensor), proto(5, flagged), proto(1, node)):
        (tmp_path / "x.onnx").write_bytes(with_graph_field(data, extra))
        with pytest.raises(DrawError, match="in another file, which is never followed"):
            open_model(tmp_path / "x.onnx", DECODER, "cpu")


def test_a_field_that_only_protobuf_would_read_is_no_field(
    fake: Path, with_graph_field: Callable[[bytes, bytes], bytes], proto: Callable[[int, bytes], bytes]
) -> None:
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


def test_a_model_in_onnx_runtimes_own_format(
    fake: Path, proto: Callable[[int, bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_numbers_of_a_fixed_length_are_no_fields(
    fake: Path, with_graph_field: Callable[[bytes, bytes], bytes], proto: Callable[[int, bytes], bytes]
) -> None:
    """protobuf skips a size that is written so, and the tensor is a scalar there."""
    tensor = proto(8, b"mine") + bytes([1 << 3 | 1]) + (7).to_bytes(8, "little") + b"\x08\x03"
    data = with_graph_field((fake / "decoder.onnx").read_bytes(), proto(5, tensor))
    assert parse(data).shapes["mine"] == (3,)


@dataclass(frozen=True)
class _Session:
    """A session that gives what it is told to."""

    session: Any
    name: str
    change: Callable[[np.ndarray], np.ndarray]

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        results = self.session.run(outputs, feeds)
        return [self.change(v) if n == self.name else v for n, v in zip(outputs, results, strict=True)]


def nan_in(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size).reshape(values.shape) == 0, np.nan, values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[:1], "came out as"),
        (lambda v: v[..., None], "came out as"),
        (nan_in, "not finite"),
    ],
)
@pytest.mark.parametrize("output", ["logits", "probabilities", "glimpses", "read_attention"])
def test_what_comes_out_is_checked(fake: Path, output: str, change: Any, words: str) -> None:
    """ONNX Runtime only warns where a graph gives another shape than it declares."""
    model = open_model(fake / "classifier.onnx", CLASSIFIER, "cpu")
    forged = replace(model, session=_Session(model.session, output, change))
    images = np.zeros((3, *model.metadata.image_shape), np.float32)
    wanted = list(interface(model.metadata)[1])
    assert model.run({"image": images}, wanted).keys() == set(wanted)
    with pytest.raises(DrawError, match=f"its {output} .*{words}"):
        forged.run({"image": images}, wanted)


def test_what_draw_export_never_writes_is_refused(
    tmp_path: Path,
    fake: Path,
    with_graph_field: Callable[[bytes, bytes], bytes],
    proto: Callable[[int, bytes], bytes],
) -> None:
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
    tmp_path: Path,
    fake: Path,
    with_metadata: Edit,
    with_graph_field: Callable[[bytes, bytes], bytes],
    proto: Callable[[int, bytes], bytes],
    operator: str,
    name: str,
    dtype: str | None,
) -> None:
    node = proto(4, operator.encode()) + proto(7, b"com.microsoft")
    data = with_metadata((fake / f"{name}.onnx").read_bytes(), {"dtype": dtype})
    (tmp_path / "x.onnx").write_bytes(with_graph_field(data, proto(1, node)))
    with pytest.raises(DrawError, match=rf"com\.microsoft\.{operator}, .* in a file of {dtype or 'float32'}"):
        open_model(tmp_path / "x.onnx", TYPES[name], "cpu")


def test_there_is_no_scorer_in_int8(tmp_path: Path, fake: Path, with_metadata: Edit) -> None:
    (tmp_path / "x.onnx").write_bytes(with_metadata((fake / "scorer.onnx").read_bytes(), {"dtype": "int8"}))
    with pytest.raises(DrawError, match=r"no draw\.scorer in int8"):
        open_model(tmp_path / "x.onnx", SCORER, "cpu")


def test_functions_of_its_own_are_refused(
    tmp_path: Path, fake: Path, proto: Callable[[int, bytes], bytes]
) -> None:
    function = proto(25, proto(1, b"Sigmoid"))
    (tmp_path / "x.onnx").write_bytes((fake / "decoder.onnx").read_bytes() + function)
    with pytest.raises(DrawError, match="model-local function"):
        open_model(tmp_path / "x.onnx", DECODER, "cpu")


def test_a_graph_that_onnxruntime_refuses(
    tmp_path: Path,
    fake: Path,
    with_graph_field: Callable[[bytes, bytes], bytes],
    proto: Callable[[int, bytes], bytes],
) -> None:
    node = proto(1, b"nowhere") + proto(2, b"somewhere") + proto(4, b"Identity")
    (tmp_path / "x.onnx").write_bytes(with_graph_field((fake / "decoder.onnx").read_bytes(), proto(1, node)))
    with pytest.raises(DrawError, match=r"ONNX Runtime .* cannot load it"):
        open_model(tmp_path / "x.onnx", DECODER, "cpu")


@settings(
    deadline=None,
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_bytes_never_surprise(fake: Path, data: st.DataObject) -> None:
    """Any bytes changed anywhere: the parser gives declarations or a DrawError, nothing else."""
    content = bytearray((fake / "classifier.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse(bytes(content))
    except DrawError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_judged(content: bytes) -> None:
    try:
        declared = parse(content)
    except DrawError:
        return
    assert declared.ir_version > 0


METADATA_KEYS = st.sampled_from(
    ["time_steps", "latent_size", "labels", "attention", "outputs", "write_size", "image_width"]
)


@settings(
    deadline=None,
    max_examples=80,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.dictionaries(METADATA_KEYS, st.text(max_size=12) | st.integers().map(str), min_size=1))
def test_any_metadata_is_judged(fake: Path, changes: dict[str, str]) -> None:
    props = parse((fake / "decoder.onnx").read_bytes()).metadata | changes
    try:
        metadata = Metadata.from_props(props)
    except DrawError:
        return
    assert 1 <= metadata.time_steps <= 65536
    assert 1 <= metadata.latent_size <= 65536
