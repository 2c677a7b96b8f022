"""The examples in C, C++ and Node against Python: the same noise, pictures, answers, and one line for every mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.check_line import CheckLine

pytestmark = pytest.mark.examples

TOLERANCE = 1e-5  # of a picture's values between ONNX Runtime's releases and bindings
PRINTED = 0.5e-6  # rounding of six decimals, once on each side
LARGEST = 2**64 - 1


def sample(
    port,
    tmp_path: Path,
    model: Path,
    seed: int,
    start: int,
    count: int,
    tolerance: float = TOLERANCE,
    temperature: str | None = None,
):
    """Run the example, and compare all it gives with Python."""
    noise_file = tmp_path / "noise.f32"
    cooler = () if temperature is None else ("--temperature", temperature)
    got = port.run("sample", model, seed, start, count, tmp_path / "p", noise_file, *cooler)
    assert got.code == 0, got.err
    assert got.err == ""
    sampler = Sampler(model, "cpu")
    expected = sampler.sample(count, seed, start, steps=False, temperature=float(temperature or 1))

    noise = np.fromfile(noise_file, np.float32).reshape(expected.noise.shape)
    np.testing.assert_array_max_ulp(noise, expected.noise, maxulp=1)

    line = CheckLine()
    line.add(expected)
    word, digest, *numbers = got.out.split()
    their_word, their_digest, *their_numbers = str(line).split()
    assert (word, digest) == (their_word, their_digest)
    assert [float(n) for n in numbers] == pytest.approx(
        [float(n) for n in their_numbers], rel=0, abs=tolerance + 2 * PRINTED
    )

    suffix = {1: "pgm", 3: "ppm"}[sampler.metadata.image_channels]
    names = {f"p{start + k}.{suffix}" for k in range(count)}
    assert {path.name for path in tmp_path.iterdir()} == names | {"noise.f32"}
    for k, image in enumerate(expected.images):
        with Image.open(tmp_path / f"p{start + k}.{suffix}") as picture:
            levels = np.asarray(picture, np.float64)
        levels = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
        # A byte is the value times 255, rounded: nearer than half a level and the tolerance.
        np.testing.assert_allclose(levels, image * 255.0, rtol=0, atol=0.5 + 255 * tolerance)
    return got


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


@pytest.mark.parametrize("factor", ["-0.1", "10.5", "nan", "inf", "1e999", "warm", "0.8x", "", " "])
def test_temperature_out_of_range(port, fake: Path, tmp_path: Path, factor: str) -> None:
    fails(
        port,
        *("sample", fake / "decoder.onnx", 1, "--temperature", factor),
        words=f"--temperature must be a number from 0 to 10, not {factor}",
        cwd=tmp_path,
    )
    assert not list(tmp_path.iterdir())


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


def classify(port, model: Path, pictures: list[Path]) -> None:
    """Run the example, and compare its answers with Python."""
    got = port.run("classify", model, *pictures)
    assert got.code == 0, got.err
    classifier = Classifier(model, "cpu")
    images = np.stack([classifier.prepare(path).image for path in pictures])
    expected = classifier(images, steps=False)
    lines = got.out.splitlines()
    assert len(lines) == len(pictures)
    for line, path, answer, row in zip(
        lines, pictures, expected.answers, expected.probabilities, strict=True
    ):
        name, rest = line.split(": ")
        label, probability = rest.split(" ")
        assert (name, label) == (str(path), answer)
        assert float(probability) == pytest.approx(row.max(), rel=0, abs=TOLERANCE + PRINTED)


@pytest.fixture
def pictures(tmp_path: Path, rng: np.random.Generator):
    """(height, width) -> files of every kind that fits: the whole size, smaller by odd numbers, colour, 16 bits."""

    def make(height: int, width: int) -> list[Path]:
        paths = []
        for k, (h, w) in enumerate(
            [(height, width), (height - 1, width - 2), (1, 1), (height - 3, width - 1)]
        ):
            grey = rng.integers(0, 256, (h, w), np.uint8)
            colour = rng.integers(0, 256, (h, w, 3), np.uint8)
            deep = rng.integers(0, 65536, (h, w)).astype(">u2")
            contents = {
                "grey.pgm": b"P5\n%d %d\n255\n" % (w, h) + grey.tobytes(),
                "colour.ppm": b"P6\n# with a comment\n%d\t%d # and one more\n255\n" % (w, h)
                + colour.tobytes(),
                "deep.pgm": b"P5 %d %d 65535\n" % (w, h) + deep.tobytes(),
            }
            for name, content in contents.items():
                paths.append(tmp_path / f"{k}-{name}")
                paths[-1].write_bytes(content)
        return paths

    return make


@pytest.mark.parametrize("name", ["classifier", "classifier-lean", "classifier-colour", "classifier-batch4"])
def test_classify_fake(port, fake: Path, pictures, name: str) -> None:
    classify(port, fake / f"{name}.onnx", pictures(20, 24))


@pytest.mark.parametrize("name", [f"classifier{k}" for k in range(4)])
def test_classify_exported(port, exported: Path, pictures, name: str) -> None:
    shape = Classifier(exported / f"{name}.onnx", "cpu").metadata.image_shape
    classify(port, exported / f"{name}.onnx", pictures(*shape[1:]))


# ---- Mistakes: one line on stderr that says what is wrong, exit 1, and nothing else ----


def fails(port, *arguments: object, words: str, cwd: Path | None = None) -> None:
    got = port.run(*arguments, cwd=cwd)
    assert got.code == 1, (got.code, got.out, got.err)
    assert got.out == ""
    assert got.err.startswith("draw: error: ")
    assert got.err.count("\n") == 1
    assert words in got.err, got.err


def test_usage(port) -> None:
    for arguments in ((), ("sample",), ("sample", "x.onnx"), ("paint", "x.onnx", 1), ("classify", "x.onnx")):
        got = port.run(*arguments)
        assert got.code == 2
        assert "classify classifier.onnx PICTURE" in got.err


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


def test_large_deep_pictures_of_ink(port, fake: Path, tmp_path: Path) -> None:
    """Node averages them first, as draw-classify does."""
    if not port.command[-1].endswith("draw.js"):
        pytest.skip("C and C++ refuse larger pictures")
    levels = np.full((1500, 1100), 60_000, ">u2")
    levels[300:1203, 401:523] = levels[303:450, 401:900] = levels[701:830, 401:807] = 9_000
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 1100 1500 65535\n" + levels.tobytes())
    classify(port, fake / "classifier-figures.onnx", [path])


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


def test_no_picture(port, fake: Path, tmp_path: Path) -> None:
    fails(port, "classify", fake / "classifier.onnx", tmp_path / "absent.pgm", words="absent.pgm")
