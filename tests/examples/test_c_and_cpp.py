"""What only compiled programs get wrong: memory, undefined behaviour, a library that is not there."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.examples

SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


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
