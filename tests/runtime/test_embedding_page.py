"""Every number of docs/embedding.md is what the runtime computes, and its tables name what the runtime knows."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime import metadata as names
from draw_onnx.runtime.check_line import CheckLine, fnv1a64
from draw_onnx.runtime.metadata import interface
from draw_onnx.runtime.noise import noise, raw, raw_of_pictures, uniform
from draw_onnx.runtime.pictures.reading import fit
from draw_onnx.runtime.session import peek

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")


def table(header: str) -> list[list[str]]:
    """Rows of the table with this header line."""
    lines = PAGE.splitlines()
    begin = lines.index(header) + 2
    rows = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows
    return rows


def test_raw_integers() -> None:
    for seed, m, expected, u in table("| seed | m | raw(m), hexadecimal | U(m) |"):
        got = raw(int(seed), np.array([int(m)], np.uint64))
        assert (f"{got[0]:016x}", repr(float(uniform(got)[0]))) == (expected, u)


def test_noise_values() -> None:
    rows = table("| seed | k | T | Z | t | d | noise[t, d] | its float32 bits |")
    for *numbers, value, bits in rows:
        seed, k, steps, latents, t, d = map(int, numbers)
        got = noise(seed, k, 1, steps, latents)[0, t, d]
        np.testing.assert_array_max_ulp(got, np.float32(value), 1)
        np.testing.assert_array_max_ulp(got, np.array(int(bits, 16), np.uint32).view(np.float32), 1)


def test_hashes() -> None:
    for *numbers, expected in table("| seed | k | n | T | Z | hash |"):
        assert f"{fnv1a64(raw_of_pictures(*map(int, numbers))):016x}" == expected


def test_check_lines(fake: Path) -> None:
    for file, seed, k, n, expected in table("| file | seed | k | n | check line |"):
        line = CheckLine()
        line.add(Sampler(fake / file, "cpu").sample(int(n), int(seed), int(k)))
        got, wanted = str(line).split(), expected.split()
        assert got[:2] == wanted[:2]
        assert [float(v) for v in got[2:]] == pytest.approx([float(v) for v in wanted[2:]], abs=2e-6)


def test_classification(fake: Path) -> None:
    classifier = Classifier(fake / "classifier.onnx", "cpu")
    for w, h, label, probability in table("| w | h | label | probability |"):
        y, x = np.mgrid[0 : int(h), 0 : int(w)]
        levels = ((7 * x + 13 * y) % 256).astype(np.float32)[None] / np.float32(255)
        got = classifier(fit(levels, classifier.metadata.image_shape)[None])
        assert got.answers == [label]
        assert got.probabilities.max() == pytest.approx(float(probability), abs=2e-6)


def test_metadata_keys(fake: Path) -> None:
    """The table's keys are those of each model type, no more and no fewer."""
    for name in ("decoder", "classifier", "scorer"):
        listed = {
            key
            for keys, where, _ in table("| key | in | value |")
            for key in re.findall(r"`(\w+)`", keys)
            if where == "all" or name in where
        }
        listed.remove("graph_sha256")  # of draw-export's files; the fakes are not
        file = "classifier-figures" if name == "classifier" else name
        # Left out where it has its default.
        more = {"picture_fit": "cover"} if name == "classifier" else {"prior": "learned"}
        said = {"dtype": "float16", "train_size": 48, "train_checksum": 7}
        metadata = dataclasses.replace(peek(fake / f"{file}.onnx"), **said, **more)
        assert listed == set(metadata.to_props())


def test_inputs_and_outputs(fake: Path) -> None:
    header = "| `model_type` | inputs | outputs | also, if `outputs` is `steps` |"
    for model_type, inputs, outputs, steps in table(header):
        name = model_type.strip("`").removeprefix("draw.")
        expected_inputs, all_outputs = interface(peek(fake / f"{name}.onnx"))
        assert _ranks(inputs) == {key: len(shape) + 1 for key, shape in expected_inputs.items()}
        assert _ranks(f"{outputs}; {steps}") == {key: len(shape) + 1 for key, shape in all_outputs.items()}


def _ranks(cell: str) -> dict[str, int]:
    """'`a`, `b` [batch_size, T]; `c` [batch_size]' to {a: 2, b: 2, c: 1}"""
    ranks = {}
    for part in cell.split(";"):
        shape = re.search(r"\[(.*)\]", part)
        assert shape is not None
        axes = shape.group(1).split(", ")
        assert axes[0] == names.BATCH_AXIS
        ranks |= {name: len(axes) for name in re.findall(r"`(\w+)`", part)}
    return ranks
