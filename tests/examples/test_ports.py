"""The examples in C, C++ and Node against Python: the same noise, pictures and answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.check_line import CheckLine

from .port_checks import LARGEST, classify, fails, refilled, sample

pytestmark = pytest.mark.examples


@pytest.mark.parametrize(
    "name",
    ["decoder", "decoder-lean", "decoder-colour", "decoder-no-attention-colour", "decoder-batch4"],
)
def test_sample_fake(port, fake: Path, tmp_path: Path, name: str) -> None:
    sample(port, tmp_path, fake / f"{name}.onnx", seed=7, start=2, count=6)


@pytest.mark.parametrize(
    ("seed", "start", "count"),
    [
        (0, 0, 1),
        (LARGEST, LARGEST, 1),
        (LARGEST, LARGEST - 4, 5),  # its elements wrap around 2^64
        (2**63, 2**62 + 12345, 70),  # more than one batch
        (0x9E3779B97F4A7C15, 2**53 + 1, 3),  # not exact as a double
    ],
)
@pytest.mark.parametrize("name", ["decoder", "decoder-batch4"])
def test_any_seed_and_place(port, fake: Path, tmp_path: Path, name: str, seed, start, count) -> None:
    sample(port, tmp_path, fake / f"{name}.onnx", seed, start, count)


@pytest.mark.parametrize("name", [*(f"decoder{k}" for k in range(6)), "lean", "batch", "lstm"])
def test_sample_exported(port, exported: Path, tmp_path: Path, name: str) -> None:
    sample(port, tmp_path, exported / f"{name}.onnx", seed=11, start=5, count=4)


def test_sample_half_precision(port, exported: Path, tmp_path: Path) -> None:
    """Releases of ONNX Runtime round differently inside: the exporter's own gate for fp16."""
    sample(port, tmp_path, exported / "fp16.onnx", seed=11, start=5, count=4, tolerance=1e-2)


@pytest.mark.parametrize("temperature", ["0.7", "0", "10", "1e-1"])
def test_temperature(port, fake: Path, tmp_path: Path, temperature: str) -> None:
    sample(port, tmp_path, fake / "decoder.onnx", seed=7, start=2, count=6, temperature=temperature)


def test_defaults(port, fake: Path, tmp_path: Path) -> None:
    """One picture, the first, beside the caller."""
    got = port.run("sample", fake / "decoder.onnx", 7, cwd=tmp_path)
    assert got.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["picture0.pgm"]
    line = CheckLine()
    line.add(Sampler(fake / "decoder.onnx", "cpu").sample(1, 7))
    assert got.out.split()[:2] == str(line).split()[:2]


def test_nothing_is_reported_or_left_behind(port, fake: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry is off: no device id, no cache of events in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(home))
    # These two variables would switch it off without the example's doing.
    bare = dataclasses.replace(
        port, command=("env", "-u", "CI", "-u", "ORT_DISABLE_TELEMETRY", *port.command)
    )
    quiet = dataclasses.replace(bare, environment={**port.environment, **places})
    assert quiet.run("sample", fake / "decoder.onnx", 7, 0, 1, tmp_path / "p").code == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["classifier", "classifier-lean", "classifier-colour", "classifier-batch4"])
def test_classify_fake(port, fake: Path, pictures, name: str) -> None:
    classify(port, fake / f"{name}.onnx", pictures(20, 24))


@pytest.mark.parametrize("name", [f"classifier{k}" for k in range(4)])
def test_classify_exported(port, exported: Path, pictures, name: str) -> None:
    shape = Classifier(exported / f"{name}.onnx", "cpu").metadata.image_shape
    classify(port, exported / f"{name}.onnx", pictures(*shape[1:]))


def test_levels_above_the_largest(port, fake: Path, tmp_path: Path, rng) -> None:
    """Are the largest, as in Python; fifty-one steps are whole bytes."""
    path = tmp_path / "above.pgm"
    path.write_bytes(b"P5 7 5 51\n" + rng.integers(0, 103, 35, np.uint8).tobytes())
    classify(port, fake / "classifier.onnx", [path])


def test_the_first_of_equal_answers(port, fake: Path, tmp_path: Path, pictures) -> None:
    """As Python's argmax."""
    path = tmp_path / "equal.onnx"
    path.write_bytes(refilled(fake / "classifier.onnx", 0.0))
    classify(port, path, pictures(20, 24)[:1])


def test_large_deep_pictures_of_ink(port, fake: Path, tmp_path: Path) -> None:
    """Node averages them first, as draw-classify does."""
    if not port.command[-1].endswith("draw.js"):
        pytest.skip("C and C++ refuse larger pictures")
    levels = np.full((1500, 1100), 60_000, ">u2")
    levels[300:1203, 401:523] = levels[303:450, 401:900] = levels[701:830, 401:807] = 9_000
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 1100 1500 65535\n" + levels.tobytes())
    classify(port, fake / "classifier-figures.onnx", [path])


@pytest.mark.parametrize("name", ["classifier", "classifier-colour", "classifier-figures"])
def test_whole_bytes(port, fake: Path, tmp_path: Path, rng, name: str) -> None:
    """Pillow takes all but deep grey to whole bytes, and so does Node."""
    if not port.command[-1].endswith("draw.js"):
        pytest.skip("C and C++ divide by the file's largest value")
    paths = []
    for channels, most in ((1, 2), (1, 100), (1, 1000), (3, 7), (3, 255), (3, 1000), (3, 65535)):
        levels = rng.integers(0, most + 1, (5, 7, channels)).astype(">u2" if most > 255 else np.uint8)
        paths.append(tmp_path / f"{channels}-{most}.ppm")
        paths[-1].write_bytes(b"P%d 7 5 %d\n" % (5 + channels // 2, most) + levels.tobytes())
    classify(port, fake / f"{name}.onnx", paths)


@pytest.mark.parametrize(("width", "height"), [(25, 20), (24, 21)])
def test_larger_pictures(port, fake: Path, tmp_path: Path, rng, width: int, height: int) -> None:
    """C and C++ refuse them; Node shrinks them as Python does."""
    path = tmp_path / "picture.pgm"
    path.write_bytes(b"P5\n%d %d\n255\n" % (width, height) + rng.bytes(width * height))
    if port.command[-1].endswith("draw.js"):
        classify(port, fake / "classifier.onnx", [path])
    else:
        words = f"{width} x {height} pixels, more than the model's 24 x 20: give a smaller picture"
        fails(port, "classify", fake / "classifier.onnx", path, words=words)


def test_pictures_that_fill_the_frame(port, edited, tmp_path: Path, rng) -> None:
    """A model of photographs: C and C++ refuse a picture that does not fill the frame; Node crops and enlarges it."""
    model = edited("classifier", picture_fit="cover")
    small, deep, whole = (tmp_path / f"{name}.pgm" for name in ("small", "deep", "whole"))
    small.write_bytes(b"P5 12 20 255\n" + rng.bytes(12 * 20))
    deep.write_bytes(b"P5 12 20 65535\n" + rng.bytes(2 * 12 * 20))
    whole.write_bytes(b"P5 24 20 255\n" + rng.bytes(24 * 20))
    classify(port, model, [whole])
    if port.command[-1].endswith("draw.js"):
        classify(port, model, [small, deep])
    else:
        for path in (small, deep):
            fails(port, "classify", model, path, words="fill their frame")
