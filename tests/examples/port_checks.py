"""The examples in C, C++ and Node held against Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.check_line import CheckLine

TOLERANCE = 1e-5  # of a picture's values between ONNX Runtime's releases and bindings
PRINTED = 0.5e-6  # rounding of six decimals, once on each side
LARGEST = 2**64 - 1  # of seeds and of pictures' numbers


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


def refilled(model: Path, value: float) -> bytes:
    """A file whose float weights are all one number."""
    loaded = onnx.load(model)
    for tensor in loaded.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            filled = np.full(tuple(tensor.dims), value, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(filled, tensor.name))
    return loaded.SerializeToString()


def fails(port, *arguments: object, words: str, cwd: Path | None = None) -> None:
    """Run the example: it ends with one line that has these words."""
    got = port.run(*arguments, cwd=cwd)
    assert got.code == 1, (got.code, got.out, got.err)
    assert got.out == ""
    assert got.err.startswith("draw: error: ")
    assert got.err.count("\n") == 1
    assert words in got.err, got.err
