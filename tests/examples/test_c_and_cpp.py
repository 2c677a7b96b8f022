"""What only compiled programs get wrong: memory, undefined behaviour, a library that is not there; and what they refuse."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

pytestmark = pytest.mark.examples

SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module", params=["c", "cpp"])
def sanitized(request: pytest.FixtureRequest, compile_port):
    """Built so that a wrong access, an overflow or a leak ends the program with a report."""
    return compile_port(request.param, SANITIZERS)


@pytest.fixture
def refusing(sanitized):
    """The same, without the report of leaks: after an error the C example exits at once, as it says."""
    return dataclasses.replace(
        sanitized, environment={**sanitized.environment, "ASAN_OPTIONS": "detect_leaks=0"}
    )


@pytest.mark.parametrize(
    "name", ["decoder", "decoder-colour", "decoder-batch4", "decoder-lean", "decoder-no-attention"]
)
def test_sampling_is_clean(sanitized, fake: Path, tmp_path: Path, name: str) -> None:
    got = sanitized.run(
        *("sample", fake / f"{name}.onnx", 2**64 - 1, 2**64 - 5, 5, "p", "noise.f32"),
        *("--temperature", "0.5"),
        cwd=tmp_path,
    )
    assert (got.code, got.err) == (0, "")


def test_classifying_is_clean(sanitized, fake: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "p.ppm"
    path.write_bytes(b"P6 23 19 255\n" + rng.bytes(3 * 23 * 19))
    for name in ("classifier", "classifier-colour", "classifier-batch4"):
        got = sanitized.run("classify", fake / f"{name}.onnx", path, path)
        assert (got.code, got.err) == (0, "")


def test_damaged_pictures_are_refused_cleanly(refusing, fake: Path, tmp_path: Path, rng) -> None:
    """Twenty PGM and PPM files with a few bytes changed or the end cut off: read or refused, never worse."""
    for k in range(20):
        whole = bytearray(
            b"P%d\n#c\n6 5\n%d\n" % (5 + k % 2, (255, 65535)[k // 2 % 2]) + rng.bytes(6 * 5 * 6)
        )
        for _ in range(k % 4):
            whole[rng.integers(0, 16)] = rng.choice(list(b"0123456789 #\nP\x00\xff"))
        path = tmp_path / "p.pgm"
        path.write_bytes(whole[: rng.integers(0, len(whole))] if k % 3 == 0 else whole)
        got = refusing.run("classify", fake / "classifier.onnx", path)
        assert got.code == 0 or (got.code == 1 and got.err.startswith("draw: error: ")), got.err
        assert got.err.count("\n") <= 1, got.err


def test_damaged_models_are_refused_cleanly(refusing, fake: Path, edited, tmp_path: Path) -> None:
    whole = (fake / "decoder.onnx").read_bytes()
    path = tmp_path / "m.onnx"
    for length in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        got = refusing.run("sample", path, 1, cwd=tmp_path)
        assert got.code == 1
        assert "Sanitizer" not in got.err
        assert "runtime error" not in got.err
    for changes in ({"image_height": "8"}, {"image_height": "65536", "image_width": "65536"}):
        got = refusing.run("sample", edited("decoder", **changes), 1, cwd=tmp_path)
        assert got.code == 1
        assert got.err.startswith("draw: error: ")


@pytest.mark.parametrize(
    ("name", "words"), [("absent.so", "set ONNXRUNTIME_LIB"), ("libm.so.6", "is not ONNX Runtime")]
)
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_no_library(compile_port, fake: Path, language: str, name: str, words: str) -> None:
    port = compile_port(language, [])
    done = subprocess.run(
        [*port.command, "sample", str(fake / "decoder.onnx"), "1"],
        env={"ONNXRUNTIME_LIB": name},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("draw: error: ")
    assert words in done.stderr


# ---- What Python refuses is refused here, in one line ----


def refuses(port, *arguments: object, words: str, cwd: Path) -> None:
    got = port.run(*arguments, cwd=cwd)
    assert (got.code, got.out) == (1, ""), (got.code, got.out, got.err)
    assert got.err.startswith("draw: error: ")
    assert got.err.endswith(f"{words}\n"), got.err
    assert got.err.count("\n") == 1


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.pgm"
    path.write_bytes(b"P5 2 2 255\n" + bytes(4))
    return path


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        *((labels, "must list at least two names") for labels in ("", "a", ",,", "a,b,")),
        ("a,b,a", "names a class twice"),
    ],
)
def test_labels(refusing, edited, tmp_path: Path, picture: Path, labels: str, words: str) -> None:
    model = edited("classifier", labels=labels)
    refuses(refusing, "classify", model, picture, words=f"metadata key labels {words}", cwd=tmp_path)


def test_a_classifier_of_no_classes(refusing, edited, tmp_path: Path, picture: Path) -> None:
    """Its probabilities, [1, 0], are as many as its labels, none."""
    model = onnx.load(edited("classifier-lean", labels=""))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("probabilities", 1, None))
    (softmax,) = (node for node in model.graph.node if "probabilities" in node.output)
    softmax.output[0] = "all"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zero"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    model.graph.node.append(onnx.helper.make_node("Slice", ["all", "zero", "zero", "one"], ["probabilities"]))
    path = tmp_path / "none.onnx"
    path.write_bytes(model.SerializeToString())
    refuses(refusing, "classify", path, picture, words="must list at least two names", cwd=tmp_path)


@pytest.mark.parametrize("batch", [0, 65537, 2**40])
def test_batch_of_a_file(refusing, fake: Path, tmp_path: Path, batch: int) -> None:
    model = onnx.load(fake / "decoder-batch4.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    path = tmp_path / "batch.onnx"
    path.write_bytes(model.SerializeToString())
    refuses(refusing, "sample", path, 1, words=f"batch.onnx: its batch size is {batch}", cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("noise", {"time_steps": "65536", "latent_size": "4097"}),
        ("image", {"image_height": "4097", "image_width": "65536"}),
    ],
)
def test_pictures_of_a_gigabyte(refusing, edited, tmp_path: Path, name: str, changes) -> None:
    words = f"its {name} would have 268500992 numbers a picture, more than 268435456"
    refuses(refusing, "sample", edited("decoder", **changes), 1, words=words, cwd=tmp_path)


@pytest.mark.parametrize("version", ["0", "", "01", "one", "2x"])
def test_format_version(refusing, edited, tmp_path: Path, version: str) -> None:
    words = f"format_version {version} is not one that this program reads (1)"
    refuses(refusing, "sample", edited("decoder", format_version=version), 1, words=words, cwd=tmp_path)


def test_another_format_of_onnx_runtime(refusing, fake: Path, tmp_path: Path) -> None:
    """Its own, which holds whatever its writer liked: it is not taken for ONNX."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "own.onnx")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(fake / "decoder.onnx", options, providers=["CPUExecutionProvider"])
    got = refusing.run("sample", tmp_path / "own.onnx", 1, cwd=tmp_path)
    assert (got.code, got.out) == (1, "")
    assert "protobuf" in got.err.lower()


def test_an_output_of_doubles(refusing, fake: Path, tmp_path: Path) -> None:
    """As many as promised, and each of twice the bytes."""
    model = onnx.load(fake / "decoder-lean.onnx")
    (last,) = (node for node in model.graph.node if "image" in node.output)
    last.output[0] = "single"
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], ["image"], to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    path = tmp_path / "double.onnx"
    path.write_bytes(model.SerializeToString())
    words = "its image does not have the shape that its metadata says"
    refuses(refusing, "sample", path, 1, words=words, cwd=tmp_path)


BELL = "\x1b]0;title\x07\x7f"
SHOWN = r"\x1b]0;title\x07\x7f"


def test_a_terminal_is_left_alone(refusing, edited, tmp_path: Path, picture: Path) -> None:
    """Control characters of a file are shown, not sent: its metadata, its labels, what ONNX Runtime says of its nodes."""
    refuses(
        refusing,
        *("sample", edited("decoder", noise_stream=f"{BELL}\nx"), 1),
        words=rf"unknown noise_stream {SHOWN}\x0ax; this program makes splitmix64-boxmuller-1",
        cwd=tmp_path,
    )
    labels = ",".join(f"{BELL}{k}é" for k in range(3))
    got = refusing.run("classify", edited("classifier", labels=labels), picture)
    assert got.code == 0, got.err
    assert got.out.startswith(f"{picture}: {SHOWN}")
    assert got.out.split()[1].endswith("é")

    model = onnx.load(edited("decoder"))
    model.graph.node[0].name = BELL
    model.graph.node[0].op_type = "Nothing"
    path = tmp_path / "node.onnx"
    path.write_bytes(model.SerializeToString())
    got = refusing.run("sample", path, 1, cwd=tmp_path)
    assert got.code == 1
    assert SHOWN in got.err
    assert "\x1b" not in got.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_answers_that_cannot_be_written(refusing, fake: Path, tmp_path: Path, picture: Path) -> None:
    full = dataclasses.replace(
        refusing, command=("sh", "-c", 'exec "$@" > /dev/full', "sh", *refusing.command)
    )
    many = [picture] * 200  # more than a buffer holds
    for arguments in (
        ("sample", fake / "decoder.onnx", 1),
        ("classify", fake / "classifier.onnx", picture),
        ("classify", fake / "classifier.onnx", *many),
    ):
        got = full.run(*arguments, cwd=tmp_path)
        assert got.code == 1
        assert got.err.startswith("draw: error: cannot write to standard output")
        assert got.err.count("\n") == 1
    (tmp_path / "q0.pgm").symlink_to("/dev/full")
    got = refusing.run("sample", fake / "decoder.onnx", 1, 0, 1, "q", cwd=tmp_path)
    assert (got.code, got.out) == (1, "")
    assert got.err.startswith("draw: error: cannot write q0.pgm")
    noise_to_full = ("sample", fake / "decoder.onnx", 1, 0, 1, "p", "/dev/full")
    got = refusing.run(*noise_to_full, cwd=tmp_path)
    assert (got.code, got.out) == (1, "")
    assert got.err.startswith("draw: error: cannot write /dev/full")


def test_noise_is_written_as_it_is_made(refusing, fake: Path, tmp_path: Path) -> None:
    """Its file is there before the first picture is drawn."""
    nowhere = tmp_path / "nowhere" / "noise.f32"
    got = refusing.run("sample", fake / "decoder.onnx", 1, 0, 3, "p", nowhere, cwd=tmp_path)
    assert got.code == 1
    assert f"cannot write {nowhere}" in got.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "header",
    [
        *(b"P52 2 255\n", b"P5\x002 2 255\n", b"P5#c\n2 2 255\n", b"P5 2\x002 255\n", b"P5 2 2\x00255\n"),
        *(b"P5 2 2 255", b"P5 2 2 255\x00", b"P5 2 2 255#c\n", b"P5 2#c\n2 255\n", b"P5 2 2 25a\n"),
    ],
)
def test_headers_that_pillow_refuses(refusing, fake: Path, tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "header.pgm"
    path.write_bytes(header + b"abcdefgh")
    words = "header.pgm has a damaged header"
    refuses(refusing, "classify", fake / "classifier.onnx", path, words=words, cwd=tmp_path)


@pytest.mark.parametrize(
    "header", [b"P5\x0b2\x0c2\r255 ", b"P5 #c\r2\t#\n#c\n 2 255\n", b"P5\n\n2 02 255\x0b"]
)
def test_headers_that_pillow_reads(
    refusing, fake: Path, tmp_path: Path, picture: Path, header: bytes
) -> None:
    path = tmp_path / "header.pgm"
    path.write_bytes(header + bytes(4))
    got = refusing.run("classify", fake / "classifier.onnx", path, picture)
    assert got.code == 0, got.err
    ours, plain = (line.split(": ")[1] for line in got.out.splitlines())
    assert ours == plain
