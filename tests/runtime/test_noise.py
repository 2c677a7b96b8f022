"""The noise stream against golden values computed by an independent implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.runtime.noise import noise, raw, uniform

UINT64 = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def reference(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "noise.json").read_text())


def test_raw_integers_are_exact(reference: dict[str, Any]) -> None:
    for record in reference["splitmix64"]:
        got = raw(int(record["seed"]), np.array([int(record["m"])], np.uint64))
        assert int(got[0]) == int(record["raw"], 16), record


def test_golden_noise(reference: dict[str, Any]) -> None:
    """Every listed element: integers exactly, uniforms exactly, float32 within one unit in the last place."""
    checked = 0
    for record in reference["noise"]:
        seed, image, t, z = int(record["seed"]), int(record["image"]), int(record["T"]), int(record["Z"])
        values = noise(seed, image, 1, t, z)
        assert values.shape == (1, t, z)
        assert values.dtype == np.float32
        for element in record["elements"]:
            n = (image * t * z + int(element["j"])) % 2**64
            pair = np.array([2 * n % 2**64, (2 * n + 1) % 2**64], np.uint64)
            integers = raw(seed, pair)
            assert [int(v) for v in integers] == [
                int(element["raw_first"], 16),
                int(element["raw_second"], 16),
            ]
            assert uniform(integers).tolist() == [float(element["u_first"]), float(element["u_second"])]
            got = values[0, int(element["t"]), int(element["d"])]
            expected = np.uint32(int(element["float32_bits"], 16)).view(np.float32)
            assert abs(got - expected) <= np.spacing(np.abs(expected)), element
            checked += 1
    assert checked > 100


def test_the_golden_file_covers_the_wrap_around(reference: dict[str, Any]) -> None:
    last = reference["noise"][-1]
    assert 2 * int(last["image"]) * int(last["T"]) * int(last["Z"]) >= 2**64


@settings(max_examples=60)
@given(
    seed=UINT64,
    start=st.integers(0, 2**64 - 8),
    skip=st.integers(0, 7),
    t=st.integers(1, 5),
    z=st.integers(1, 4),
)
def test_a_picture_does_not_depend_on_the_range(seed: int, start: int, skip: int, t: int, z: int) -> None:
    """Also where the counter wraps: picture k is the same alone and within any range that holds it."""
    together = noise(seed, start, 8, t, z)
    alone = noise(seed, start + skip, 1, t, z)
    assert np.array_equal(together[skip], alone[0])


def test_moments() -> None:
    """A million numbers: mean 0 and variance 1 within five standard errors, as a normal's fourth moment."""
    values = noise(0, 0, 10_000, 10, 10).astype(np.float64)
    count = values.size
    assert abs(values.mean()) < 5 / np.sqrt(count)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / count)
    assert abs((values**4).mean() - 3) < 5 * np.sqrt(96 / count)


def test_nothing_asked_nothing_given() -> None:
    assert noise(1, 2, 0, 3, 4).shape == (0, 3, 4)


def test_numpy_integers_are_numbers() -> None:
    assert np.array_equal(noise(np.uint64(2**64 - 1), np.int64(3), 2, 2, 2), noise(2**64 - 1, 3, 2, 2, 2))


@pytest.mark.parametrize(
    ("seed", "start", "count", "word"),
    [
        (-1, 0, 1, "seed"),
        (2**64, 0, 1, "seed"),
        (0, -1, 1, "start"),
        (0, 2**64, 1, "start"),
        (0, 2**64 - 1, 2, "past"),
        (0, 0, -1, "negative"),
        (0.5, 0, 1, "whole number"),
        ("7", 0, 1, "whole number"),
    ],
)
def test_out_of_range(seed: Any, start: Any, count: int, word: str) -> None:
    with pytest.raises(DrawError, match=word):
        noise(seed, start, count, 2, 2)
