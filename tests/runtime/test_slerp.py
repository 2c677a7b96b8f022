"""Identities of the great circle."""

from __future__ import annotations

import numpy as np
import pytest

from draw_onnx.errors import DrawError
from draw_onnx.runtime.noise import noise, slerp


def test_ends_are_exact_and_the_path_is_symmetric() -> None:
    a, b = noise(1, 0, 4, 5, 6), noise(2, 0, 4, 5, 6)
    assert np.array_equal(slerp(a, b, 0.0), a)
    assert np.array_equal(slerp(a, b, 1.0), b)
    np.testing.assert_allclose(slerp(a, b, 0.3), slerp(b, a, 0.7), rtol=0, atol=1e-6)


def test_equal_norms_stay_on_the_sphere_at_even_angles() -> None:
    a, b = (noise(s, 0, 3, 8, 10).reshape(3, -1).astype(np.float64) for s in (1, 2))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    total = np.arccos((a * b).sum(1))
    for fraction in (0.1, 0.25, 0.5, 0.9):
        first, second = (v.reshape(3, 8, 10).astype(np.float32) for v in (a, b))
        mixed = slerp(first, second, fraction).reshape(3, -1)
        np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(np.arccos((a * mixed).sum(1)), fraction * total, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_and_the_opposite_noise(sign: int) -> None:
    a = noise(1, 0, 2, 3, 4)
    halfway = slerp(a, sign * a, 0.5)
    assert np.isfinite(halfway).all()
    np.testing.assert_allclose(halfway, (1 + sign) / 2 * a, atol=1e-6)


def test_noise_of_no_length_has_no_direction() -> None:
    """What a temperature of 0 makes."""
    zero, b = np.zeros((1, 3, 4), np.float32), noise(1, 0, 1, 3, 4)
    with np.errstate(all="raise"):
        assert not slerp(zero, zero, 0.5).any()
        assert np.isfinite(slerp(zero, b, 0.5)).all()


def test_pictures_do_not_mix() -> None:
    a, b = noise(1, 0, 4, 5, 6), noise(2, 0, 4, 5, 6)
    assert np.array_equal(slerp(a, b, 0.4)[2:3], slerp(a[2:3], b[2:3], 0.4))


def test_bad_arguments() -> None:
    a = noise(1, 0, 2, 3, 4)
    with pytest.raises(DrawError, match="noises of different shapes"):
        slerp(a, a[:1], 0.5)
    with pytest.raises(DrawError, match="the fraction must be a number, not nan"):
        slerp(a, a, float("nan"))
