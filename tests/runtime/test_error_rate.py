"""The 95 % interval of a share, against Wilson's definition and known figures."""

from __future__ import annotations

import numpy as np
import pytest

from draw_onnx.runtime.error_rate import ErrorRate


def test_interval_against_its_equation() -> None:
    """The ends are the proportions p with |share - p| = z sqrt(p (1 - p) / n): Wilson's definition."""
    for wrong, images in ((0, 10), (3, 10), (336, 10_000), (10, 10)):
        for end in ErrorRate(images, wrong).interval:
            if 0 < end < 1:
                distance = abs(wrong / images - end) / np.sqrt(end * (1 - end) / images)
                assert distance == pytest.approx(1.959963984540054, rel=1e-9)
    assert ErrorRate(10, 0).interval[0] == 0
    assert ErrorRate(10, 10).interval[1] == 1


def test_right_and_wrong_answers_mirror_each_other() -> None:
    for wrong in range(0, 41, 5):
        low, high = ErrorRate(40, wrong).interval
        assert low <= wrong / 40 <= high
        assert low == pytest.approx(1 - ErrorRate(40, 40 - wrong).interval[1])


def test_in_words() -> None:
    assert str(ErrorRate(10_000, 336)) == "3.36 % error (95 % interval 3.02 to 3.73, 10,000 images)"
    assert str(ErrorRate(1, 0)).endswith(", 1 image)")
