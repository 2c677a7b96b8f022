"""The share of wrong answers, and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRate:
    """Wrong answers among ``images`` pictures, at least one."""

    images: int
    wrong: int

    @property
    def rate(self) -> float:
        """Share of wrong answers, 0 to 1."""
        return self.wrong / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high): the 95 % score interval of a proportion (Wilson 1927), sensible also near 0 and 1."""
        z, n = 1.959963984540054, self.images
        middle = self.rate + z * z / (2 * n)
        half = z * math.sqrt(self.rate * (1 - self.rate) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        # At the ends the exact values are 0 and 1; rounding would leave 1e-17.
        low = (middle - half) / scale if self.wrong > 0 else 0.0
        high = (middle + half) / scale if self.wrong < n else 1.0
        return low, high

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{100 * self.rate:.2f} % error (95 % interval {100 * low:.2f} to {100 * high:.2f}"
        return f"{share}, {self.images:,} image{'s' if self.images != 1 else ''})"
