"""From one picture to another along the sphere that normal noise lies on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def slerp(a: NDArray[np.float32], b: NDArray[np.float32], fraction: float) -> NDArray[np.float32]:
    """Spherical interpolation of noise, picture by picture.

    Normal noise of n numbers has a norm near sqrt(n). A straight line between two such points passes at a
    distance of 0.7 sqrt(n), where the network has never been; the great circle keeps to the sphere.

    Args:
        a: [n, T, Z], given back at ``fraction`` 0.
        b: [n, T, Z], given back at ``fraction`` 1.
        fraction: 0 to 1.

    Returns:
        float32 [n, T, Z]
    """
    if fraction <= 0:
        return a
    if fraction >= 1:
        return b
    first, second = (v.reshape(len(v), -1).astype(np.float64) for v in (a, b))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.clip((first * second).sum(1) / np.maximum(norms, 1e-300), -1, 1)
    angle = np.arccos(cosine)
    sine = np.sin(angle)
    straight = sine < 1e-6  # the same direction (or opposite ones, where no great circle is nearer)
    safe = np.where(straight, 1.0, sine)
    weight_a = np.where(straight, 1 - fraction, np.sin((1 - fraction) * angle) / safe)
    weight_b = np.where(straight, fraction, np.sin(fraction * angle) / safe)
    mixed = weight_a[:, None] * first + weight_b[:, None] * second
    return mixed.reshape(a.shape).astype(np.float32)
