"""The noise stream ``splitmix64-boxmuller-1``: the same seed gives the same noise in every language.

Counter-based: picture k of seed s depends on nothing but s, k, T and Z, so that pictures can be made
in any order, in any batch, on any machine. docs/embedding.md has the definition for ports.
"""

from __future__ import annotations

import math
import operator
from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..errors import DrawError

_LIMIT = 1 << 64
MAX_TEMPERATURE = 10  # beyond use long before, and finite noise stays finite
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment (Steele, Lea and Flood 2014)


def noise(
    seed: SupportsIndex, start: SupportsIndex, count: int, time_steps: int, latent_size: int
) -> NDArray[np.float32]:
    """Standard normal noise of pictures ``start`` .. ``start + count - 1`` of a seed.

    Element j = t·Z + d of picture k is number n = k·T·Z + j of the stream (mod 2^64):
    sqrt(-2 ln U(2n)) cos(2 pi U(2n + 1)) in float64, then float32.

    Args:
        seed: 0 .. 2^64 - 1.
        start: number of the first picture, 0 .. 2^64 - 1.
        count: number of pictures.
        time_steps: T.
        latent_size: Z.

    Returns:
        float32 [count, T, Z]

    Raises:
        DrawError: a number out of range.
    """
    u = uniform(raw_of_pictures(seed, start, count, time_steps, latent_size))
    radius = np.sqrt(-2.0 * np.log(u[0::2]))
    values = radius * np.cos(2.0 * np.pi * u[1::2])
    return values.astype(np.float32).reshape(count, time_steps, latent_size)


def raw_of_pictures(
    seed: SupportsIndex, start: SupportsIndex, count: int, time_steps: int, latent_size: int
) -> NDArray[np.uint64]:
    """The two integers behind every value of :func:`noise`, in order: [count·T·Z·2]."""
    first = check_range(start, count)
    per_picture = time_steps * latent_size
    begin = np.uint64(first * per_picture * 2 % _LIMIT)
    return raw(seed, begin + np.arange(2 * count * per_picture, dtype=np.uint64))


def raw(seed: SupportsIndex, m: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Outputs number ``m`` (0-based) of the ordinary SplitMix64 generator seeded with ``seed``; wraps at 2^64."""
    x = (np.asarray(m, np.uint64) + np.uint64(1)) * _GOLDEN_GAMMA + np.uint64(check_seed(seed))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(integers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """U = ((raw >> 11) + 1/2) 2^-53 in (0, 1]: converted to float64 first, so that the addition rounds to even."""
    return ((integers >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def slerp(a: NDArray[np.float32], b: NDArray[np.float32], fraction: float) -> NDArray[np.float32]:
    """Spherical interpolation of noise, picture by picture.

    Normal noise of n numbers has a norm near sqrt(n). A straight line between two such points passes at a
    distance of 0.7 sqrt(n), where the network has never been; the great circle keeps to the sphere.

    Args:
        a: [n, T, Z], given back at ``fraction`` 0.
        b: [n, T, Z], given back at ``fraction`` 1.
        fraction: 0 to 1; what is below is 0, what is above 1.

    Returns:
        float32 [n, T, Z]

    Raises:
        DrawError: noises of different shapes, or a fraction that is no number.
    """
    if np.shape(a) != np.shape(b):
        raise DrawError(f"noises of different shapes: {list(np.shape(a))} and {list(np.shape(b))}")
    if not isinstance(fraction, SupportsFloat) or math.isnan(fraction):
        raise DrawError(f"the fraction must be a number, not {fraction!r}")
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


def check_seed(seed: SupportsIndex, name: str = "seed") -> int:
    """``seed`` as an int, or DrawError unless it is a whole number from 0 to 2^64 - 1."""
    value = check_whole(seed, name)
    if not 0 <= value < _LIMIT:
        raise DrawError(f"the {name} must be between 0 and 2^64 - 1 = {_LIMIT - 1}, not {value}")
    return value


def check_whole(value: SupportsIndex, name: str) -> int:
    """``value`` as an int (NumPy's own overflow near 2^64), or DrawError unless it is a whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise DrawError(f"the {name} must be a whole number, not {value!r}") from None


def check_temperature(value: SupportsFloat) -> np.float32:
    """What noise is multiplied by, as float32, or DrawError unless it is a number from 0 to 10.

    Below 1 latents keep nearer to their prior's mean: pictures are more regular and vary less (the temperature of
    Kingma and Dhariwal 2018, which scales a prior's standard deviation). At 1 the model is as it was trained.
    """
    try:
        temperature = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DrawError(f"the temperature must be a number, not {value!r}") from None
    if not 0 <= temperature <= MAX_TEMPERATURE:  # nor NaN
        raise DrawError(f"the temperature must be between 0 and {MAX_TEMPERATURE}, not {value}")
    return np.float32(temperature)


def check_range(start: SupportsIndex, count: SupportsIndex) -> int:
    """``start`` as an int, or DrawError unless ``start`` .. ``start + count - 1`` are picture numbers."""
    first, count = check_seed(start, "start"), check_whole(count, "number of pictures")
    if count < 0:
        raise DrawError(f"the number of pictures cannot be negative: {count}")
    if first + count > _LIMIT:
        raise DrawError(f"pictures are numbered up to 2^64 - 1: {count} from {first} would go past it")
    return first
