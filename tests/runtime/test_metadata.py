"""Metadata of a file: what is missing, out of range or at odds with the graph is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.runtime.metadata import SCORER, Metadata
from draw_onnx.runtime.onnx_file import parse
from draw_onnx.runtime.session import open_model

from ..onnx_bytes import with_metadata
from .conftest import TYPES


def test_metadata_survives_the_round_trip(fake: Path) -> None:
    for path in fake.glob("*.onnx"):
        props = parse(path.read_bytes()).metadata
        assert Metadata.from_props(props).to_props() == props


@pytest.mark.parametrize("name", ["decoder", "classifier", "scorer"])
def test_every_missing_key_is_named(tmp_path: Path, fake: Path, name: str) -> None:
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
        ("decoder", {"dtype": "int8"}, "none of the operators of a file of int8"),
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
        ("classifier", {"train_size": "0"}, "train_size is out of range: 0"),
        ("scorer", {"train_size": "1000000000001"}, "train_size is out of range: 1000000000001"),
        ("scorer", {"train_checksum": "4294967296"}, "train_checksum is out of range: 4294967296"),
        ("scorer", {"binary": "yes"}, "binary must be true or false, not 'yes'"),
        ("scorer", {"picture_fit": "stretch"}, "picture_fit must be pad or cover, not 'stretch'"),
        ("decoder", {"prior": "gaussian"}, "prior must be standard or learned, not 'gaussian'"),
        ("decoder", {"time_steps": "4"}, "noise has shape"),
        ("decoder", {"latent_size": "3"}, "noise has shape"),
        ("decoder", {"time_steps": "03"}, "time_steps must be a decimal number, not '03'"),
        ("decoder", {"latent_size": "-2"}, "latent_size must be a decimal number"),
        ("decoder", {"latent_size": "99999999999999"}, "latent_size must be a decimal number"),
        ("decoder", {"time_steps": "0"}, "out of range"),
        ("decoder", {"attention": "yes"}, "attention must be true or false"),
        ("decoder", {"outputs": "all"}, "outputs must be"),
        ("decoder", {"noise_stream": ""}, "unknown noise_stream ''"),
        ("scorer", {"noise_stream": "splitmix64"}, "unknown noise_stream 'splitmix64'"),
        ("decoder", {"attention": "false"}, "write_size is out of range without attention: 3"),
        ("decoder", {"attention": "false", "write_size": "0"}, "it has the output write_attention, of which"),
        ("decoder", {"outputs": "image"}, "it has the output canvases, of which its metadata does not know"),
        (
            "classifier",
            {"outputs": "image"},
            "it has the output glimpses, of which its metadata does not know",
        ),
        *(
            ("decoder", {"parity_atol": text}, "parity_atol must be unchecked or a number from 0, not")
            for text in ("", "x", "nan", "inf", "-1")
        ),
        *(
            ("decoder", {"weights_sha256": text}, "weights_sha256 must be 64 hexadecimal digits, not")
            for text in ("", "x", "Z" * 64, "0" * 63, "0" * 65)
        ),
        ("decoder", {"graph_sha256": "0"}, "graph_sha256 must be 64 hexadecimal digits, not '0'"),
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
    tmp_path: Path, fake: Path, name: str, change: dict[str, str], message: str
) -> None:
    (tmp_path / "x.onnx").write_bytes(with_metadata((fake / f"{name}.onnx").read_bytes(), change))
    with pytest.raises(DrawError, match=message):
        open_model(tmp_path / "x.onnx", TYPES[name.split("-")[0]], "cpu")


def test_there_is_no_scorer_in_int8(tmp_path: Path, fake: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(with_metadata((fake / "scorer.onnx").read_bytes(), {"dtype": "int8"}))
    with pytest.raises(DrawError, match=r"no draw\.scorer in int8"):
        open_model(tmp_path / "x.onnx", SCORER, "cpu")


METADATA_KEYS = st.sampled_from(
    ["time_steps", "latent_size", "labels", "attention", "outputs", "write_size", "image_width"]
)


@settings(max_examples=80)
@given(changes=st.dictionaries(METADATA_KEYS, st.text(max_size=12) | st.integers().map(str), min_size=1))
def test_any_metadata_is_judged(fake: Path, changes: dict[str, str]) -> None:
    props = parse((fake / "decoder.onnx").read_bytes()).metadata | changes
    try:
        metadata = Metadata.from_props(props)
    except DrawError:
        return
    assert 1 <= metadata.time_steps <= 65536
    assert 1 <= metadata.latent_size <= 65536
