"""How far a measured share can be trusted."""

from __future__ import annotations

import math


def wilson_interval(hits: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), by default at 95 %: sensible also near 0 and 1."""
    share = hits / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the exact values are 0 and 1; rounding would leave 1e-17.
    low = (middle - half) / scale if hits > 0 else 0.0
    high = (middle + half) / scale if hits < total else 1.0
    return low, high
