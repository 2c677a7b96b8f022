"""Whether a classifier is right as often as it is sure: reliability diagram and expected calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width over [0, 1], as in Guo et al. 2017


@dataclass(frozen=True)
class Calibration:
    """Answers by the probability of the likeliest class, in bins [15] of equal width."""

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]  # mean probability, 0 in an empty bin
    accuracy: NDArray[np.float64]  # share of right answers, 0 in an empty bin
    chance: float  # what the error would be about if every probability were true, from the number of answers alone

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: the mean of |accuracy - confidence| over the answers' bins."""
        return float((self.count * np.abs(self.accuracy - self.confidence)).sum() / self.count.sum())

    @property
    def mean_confidence(self) -> float:
        """Over all answers."""
        return float((self.count * self.confidence).sum() / self.count.sum())

    def __str__(self) -> str:
        return (
            f"expected calibration error {100 * self.error:.2f} % ({BINS} bins; perfect probabilities would show"
            f" {100 * self.chance:.2f} % by chance), mean confidence {100 * self.mean_confidence:.2f} %"
        )


def calibrate(confidences: NDArray[np.floating], right: NDArray[np.bool_]) -> Calibration:
    """Answers sorted into bins.

    Args:
        confidences: [n] probability of the likeliest class, n at least 1.
        right: [n] whether it is the right one.
    """
    sure = confidences.astype(np.float64)
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    some = np.maximum(count, 1)
    # The mean distance from zero of a sum of count binomials with these probabilities, taken as normal.
    spread = np.sqrt(2 / math.pi * np.bincount(bins, sure * (1 - sure), BINS))
    return Calibration(
        count=count,
        confidence=np.bincount(bins, sure, BINS) / some,
        accuracy=np.bincount(bins, right, BINS) / some,
        chance=float(spread.sum() / len(sure)),
    )
