"""Mistakes with the examples in C, C++ and Node: one line on stderr that says what is wrong, exit 1, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .port_checks import LARGEST, fails, refilled

pytestmark = pytest.mark.examples


@pytest.mark.parametrize("factor", ["-0.1", "10.5", "nan", "inf", "1e999", "warm", "0.8x", "", " "])
def test_temperature_out_of_range(port, fake: Path, tmp_path: Path, factor: str) -> None:
    fails(
        port,
        *("sample", fake / "decoder.onnx", 1, "--temperature", factor),
        words=f"--temperature must be a number from 0 to 10, not {factor}",
        cwd=tmp_path,
    )
    assert not list(tmp_path.iterdir())


def test_usage(port) -> None:
    for arguments in ((), ("sample",), ("sample", "x.onnx"), ("paint", "x.onnx", 1), ("classify", "x.onnx")):
        got = port.run(*arguments)
        assert got.code == 2
        assert "classify classifier.onnx PICTURE" in got.err


@pytest.mark.parametrize("rest", [("--temperature",), ("--temperature", "0.5", "p"), ("p", "--temperature")])
def test_an_option_without_its_value_or_not_at_the_end(port, fake: Path, tmp_path: Path, rest) -> None:
    """It is no PREFIX and no NOISE_FILE."""
    got = port.run("sample", fake / "decoder.onnx", 1, 0, 1, *rest, cwd=tmp_path)
    assert (got.code, got.out) == (2, "")
    assert "[--temperature FACTOR]" in got.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", ["-1", "7x", "", "1e3", str(2**64), "99999999999999999999999", " 7", "+7"])
def test_seed_out_of_range(port, fake: Path, tmp_path: Path, seed: str) -> None:
    fails(port, "sample", fake / "decoder.onnx", seed, words="SEED must be a whole number", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("start", "count"), [("0", "0"), (str(LARGEST), "2"), ("5", str(LARGEST))])
def test_pictures_that_have_no_number(port, fake: Path, tmp_path: Path, start: str, count: str) -> None:
    fails(
        port, "sample", fake / "decoder.onnx", 1, start, count, words="COUNT must be at least 1", cwd=tmp_path
    )


def test_wrong_type(port, fake: Path, tmp_path: Path) -> None:
    fails(
        port,
        *("sample", fake / "classifier.onnx", 1),
        words="classifier.onnx: this is a draw.classifier, and a draw.decoder is needed",
        cwd=tmp_path,
    )
    fails(
        port,
        *("classify", fake / "decoder.onnx", "x.pgm"),
        words="decoder.onnx: this is a draw.decoder, and a draw.classifier is needed",
    )
    fails(port, "sample", fake / "scorer.onnx", 1, words="this is a draw.scorer", cwd=tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": "2"}, "format_version 2 is newer than this program reads (1)"),
        ({"model_type": None}, "not a file that draw-export wrote"),
        ({"format_version": None}, "not a file that draw-export wrote"),
        ({"latent_size": None}, "the metadata lacks the key latent_size"),
        ({"time_steps": "three"}, "metadata key time_steps is no sensible size: three"),
        ({"time_steps": "0"}, "metadata key time_steps is no sensible size: 0"),
        ({"time_steps": "03"}, "metadata key time_steps is no sensible size: 03"),
        ({"time_steps": "+3"}, "metadata key time_steps is no sensible size: +3"),
        ({"image_width": "99999999999999999999"}, "metadata key image_width is no sensible size"),
        ({"noise_stream": "mersenne-1"}, "unknown noise_stream mersenne-1"),
        ({"noise_stream": None}, ""),  # C calls it unknown, the others say that it lacks
        ({"image_channels": "2"}, "no pictures of 2 channels"),
    ],
)
def test_metadata(port, edited, tmp_path: Path, changes, words: str) -> None:
    model = edited("decoder", **changes)
    fails(port, "sample", model, 1, words=f"{model}: {words}", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"image_height": "8"}, {"image_width": "60000"}, {"latent_size": "3"}])
def test_metadata_that_contradicts_the_graph(port, edited, tmp_path: Path, changes) -> None:
    fails(port, "sample", edited("decoder", **changes), 1, words="edited.onnx: ", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", ["a,b", "a,b,c,d"])
def test_labels_that_contradict_the_graph(port, edited, pictures, labels: str) -> None:
    model = edited("classifier", labels=labels)
    fails(port, "classify", model, *pictures(20, 24), words="does not have the shape that its metadata says")


@pytest.mark.parametrize("fit", ["odd", ""])
def test_pictures_prepared_by_no_known_rule(port, edited, pictures, fit: str) -> None:
    words = f"edited.onnx: metadata key picture_fit must be pad or cover, not {fit}"
    fails(port, "classify", edited("classifier", picture_fit=fit), *pictures(20, 24), words=words)


def test_not_a_model(port, fake: Path, tmp_path: Path) -> None:
    whole = (fake / "decoder.onnx").read_bytes()
    files = {"empty": b"", "text": b"# not a model\n" * 50, "cut": whole[: len(whole) // 2], "byte": b"\x08"}
    for name, content in files.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        fails(port, "sample", path, 1, words=f"{name}.onnx", cwd=tmp_path)
    fails(port, "sample", tmp_path / "absent.onnx", 1, words="absent.onnx", cwd=tmp_path)
    fails(port, "sample", tmp_path, 1, words=str(tmp_path), cwd=tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(files)


def test_a_model_that_is_not_ours(port, edited, tmp_path: Path) -> None:
    """Plain ONNX without any metadata."""
    import onnx

    model = edited("decoder", **{e.key: None for e in onnx.load(edited("decoder")).metadata_props})
    fails(port, "sample", model, 1, words="not a file that draw-export wrote", cwd=tmp_path)


def test_numbers_that_are_none(port, fake: Path, tmp_path: Path) -> None:
    """Weights of a damaged file."""
    path = tmp_path / "nan.onnx"
    path.write_bytes(refilled(fake / "decoder-lean.onnx", np.nan))
    words = "nan.onnx: its image is not finite: the file is damaged"
    fails(port, "sample", path, 1, words=words, cwd=tmp_path)


def test_an_input_that_is_no_tensor(port, fake: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    model = onnx.load(fake / "decoder.onnx")
    model.graph.input[0].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    )
    model.graph.node.insert(0, helper.make_node("SequenceAt", ["noise", "at"], ["first"], "at"))
    model.graph.initializer.append(helper.make_tensor("at", onnx.TensorProto.INT64, [], [0]))
    for node in list(model.graph.node)[1:]:
        node.input[:] = ["first" if name == "noise" else name for name in node.input]
    path = tmp_path / "sequence.onnx"
    path.write_bytes(model.SerializeToString())
    fails(port, "sample", path, 1, words="sequence.onnx: ", cwd=tmp_path)


def test_outputs_that_cannot_be_written(port, fake: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "p"
    fails(port, "sample", fake / "decoder.onnx", 1, 0, 1, nowhere, words="nowhere")
    fails(port, "sample", fake / "decoder.onnx", 1, 0, 1, tmp_path / "p", nowhere, words="nowhere")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "picture.pgm"),
        (b"P5", "picture.pgm"),
        (b"\x89PNG\r\n\x1a\n", "is no binary PGM or PPM"),
        (b"P2\n1 1\n255\n7\n", "is no binary PGM or PPM"),
        (b"P5\n0 4\n255\n", "damaged header"),
        (b"P5\n4 4\n65536\n" + bytes(32), "damaged header"),
        (b"P5\n4 4\n0\n" + bytes(16), "damaged header"),
        (b"P5\n4 4\n255\n" + bytes(15), "ends too early"),
        (b"P5\n4 4\n256\n" + bytes(31), "ends too early"),
        (b"P6\n4 4\n255\n" + bytes(47), "ends too early"),
    ],
)
def test_pictures_that_cannot_be_read(port, fake: Path, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "picture.pgm"
    path.write_bytes(content)
    fails(port, "classify", fake / "classifier.onnx", path, words=words)


def test_no_picture(port, fake: Path, tmp_path: Path) -> None:
    fails(port, "classify", fake / "classifier.onnx", tmp_path / "absent.pgm", words="absent.pgm")
