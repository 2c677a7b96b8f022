from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.train.data import stream

MASK = (1 << 64) - 1


def splitmix64(seed: int, m: int) -> int:
    """Output m of SplitMix64 in Python's own integers."""
    x = (seed + (m + 1) * 0x9E3779B97F4A7C15) & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


@given(seed=st.integers(0, 99), start=st.integers(0, 10**9), count=st.integers(1, 9))
@settings(max_examples=30)
def test_draws_are_splitmix64(seed: int, start: int, count: int) -> None:
    got = stream.draws(seed, start, count)
    assert got.tolist() == [splitmix64(seed, start + i) for i in range(count)]


@pytest.mark.parametrize("bound", [1, 2, 21, 93, 50_000])
def test_below_covers_its_range_evenly(bound: int) -> None:
    integers = stream.draws(5, 0, 200_000)
    got = stream.below(integers, bound)
    assert got.tolist()[:50] == [(int(v) >> 32) * bound >> 32 for v in integers[:50]]
    extremes = np.array([0, MASK], np.uint64)
    assert stream.below(extremes, bound).tolist() == [0, bound - 1]
    counts = np.bincount(got, minlength=bound)
    expected = len(got) / bound
    # Chi-squared: mean bound - 1, variance 2 (bound - 1); five standard deviations.
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - (bound - 1)) <= 5 * np.sqrt(2 * (bound - 1))


def test_permutation_is_one_and_stays() -> None:
    order = stream.permutation(stream.DIGITS_SPLIT, 1797)
    assert sorted(order.tolist()) == list(range(1797))
    keys = [splitmix64(1, m) for m in range(1797)]
    assert order.tolist() == sorted(range(1797), key=keys.__getitem__)


def test_binarise_follows_its_definition_across_chunks() -> None:
    images = (np.arange((1 << 20) + 3000) % 256).astype(np.uint8)  # longer than one chunk of work
    got = stream.binarise(images, 2)
    for j in [*range(300), *range((1 << 20) - 5, (1 << 20) + 300)]:
        assert got[j] == ((splitmix64(2, j) >> 11) * 255 < int(images[j]) << 53)
    assert not got[images == 0].any()
    assert got[images == 255].all()
    for value in (1, 64, 200):
        share, p, n = got[images == value].mean(), value / 255, (images == value).sum()
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / n)


def test_every_use_has_a_seed_of_its_own() -> None:
    seeds = [value for name, value in vars(stream).items() if name.isupper()]
    assert len(seeds) == len(set(seeds)) == 13
