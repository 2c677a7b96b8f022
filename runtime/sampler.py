"""Drawing pictures with an exported decoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DrawError
from .batches import join, map_in_order
from .metadata import CANVASES, DECODER, IMAGE, NOISE, WRITE_ATTENTION
from .noise import check_range, check_seed, check_temperature, check_whole, noise
from .session import Floats, OpenedModel, Source


@dataclass(frozen=True, eq=False)
class Samples:
    """n pictures of C x H x W pixels, painted in T steps from Z latents a step."""

    images: Floats  # [n, C, H, W] Bernoulli means in [0, 1]; canvases[:, -1] where there are any
    noise: Floats  # [n, T, Z] as it went in: the seed's, times the temperature
    canvases: Floats | None  # [n, T, C, H, W] the picture after each step
    write_attention: Floats | None  # [n, T, 5] x, y, delta, sigma, gamma in pixels; pixel 1 is the first
    seed: int | None  # None for noise of the caller's own
    start: int  # number of the first picture
    temperature: float | None  # what the seed's noise was multiplied by; None for noise of the caller's own

    def __len__(self) -> int:
        return len(self.images)


class Sampler(OpenedModel):
    """Draws with a ``draw.decoder`` file. One sampler may be used from many threads; pickled, it opens its model again.

    Picture k of a seed is the same whatever else is asked for: on one machine's CPU the same bits of the packaged models,
    of all without attention, and of all whose T N W and T N H are multiples of 4 (N filters of the write window); of
    others the same to about 1e-7, since ONNX Runtime's sums depend on where in memory a row begins. Between machines and
    on a GPU the same to about 1e-6.

    Args:
        path: an ``.onnx`` file, its content as bytes, or the name of a packaged model such as ``mnist``.
        provider: ``auto``, ``cpu`` or ``cuda``.
        threads: batches run at the same time; the CPUs at hand unless given.

    Raises:
        DrawError: the file or the provider is not to be had; the message says why.
    """

    _model_type = DECODER

    def __init__(self, path: Source = "mnist", provider: str = "auto", threads: int | None = None) -> None:
        super().__init__(path, provider, threads)

    def sample(
        self,
        n: SupportsIndex,
        seed: SupportsIndex = 0,
        start: SupportsIndex = 0,
        batch: int | None = None,
        steps: bool = True,
        temperature: SupportsFloat = 1.0,
    ) -> Samples:
        """Pictures ``start`` .. ``start + n - 1`` of ``seed``.

        Args:
            n: number of pictures, at least 1.
            seed: 0 .. 2^64 - 1.
            start: number of the first picture, 0 .. 2^64 - 1.
            batch: pictures through the graph at once; it changes the speed, never the pictures beyond what is said above
                (but for int8 files, whose pictures depend a little on what is beside them).
            steps: also the canvas and the window of every step, where the file gives them. They take T times
                the memory of the pictures.
            temperature: what the noise is multiplied by, 0 (all pictures alike) to 10. Below 1: more regular
                pictures that vary less.

        Raises:
            DrawError: a number out of range, or ONNX Runtime fails.
        """
        return join(list(self.stream(n, seed, start, batch, steps, temperature)))

    def stream(
        self,
        n: SupportsIndex,
        seed: SupportsIndex = 0,
        start: SupportsIndex = 0,
        batch: int | None = None,
        steps: bool = True,
        temperature: SupportsFloat = 1.0,
    ) -> Iterator[Samples]:
        """The same as :meth:`sample`, batch by batch: memory does not grow with ``n``."""
        n = check_whole(n, "number of pictures")
        if n < 1:
            raise DrawError(f"the number of pictures must be at least 1, not {n}")
        s, first = check_seed(seed), check_range(start, n)
        scale, size = check_temperature(temperature), self.batch_size(batch)
        t, z = self.metadata.time_steps, self.metadata.latent_size

        def draw(begin: int) -> Samples:
            count = min(size, first + n - begin)
            return self._draw(scale * noise(s, begin, count, t, z), s, begin, float(temperature), steps)

        return map_in_order(draw, range(first, first + n, size), self.threads)

    def sample_noise(self, noise: ArrayLike, batch: int | None = None, steps: bool = True) -> Samples:
        """Pictures from noise of your own, [n, T, Z].

        Raises:
            DrawError: the shape does not fit, or something is no finite number.
        """
        own = _floats(noise)
        expected = (self.metadata.time_steps, self.metadata.latent_size)
        if own.ndim != 3 or own.shape[1:] != expected or len(own) < 1:
            (t, z), least = expected, "" if own.shape[:1] != (0,) else ", n at least 1"
            raise DrawError(f"noise must have shape [n, {t}, {z}]{least}, not {list(own.shape)}")
        if not np.isfinite(own).all():
            raise DrawError("noise holds NaN or infinity")
        size = self.batch_size(batch)

        def draw(begin: int) -> Samples:
            return self._draw(own[begin : begin + size], None, begin, None, steps)

        return join(list(map_in_order(draw, range(0, len(own), size), self.threads)))

    def _draw(
        self, noise: Floats, seed: int | None, start: int, temperature: float | None, steps: bool
    ) -> Samples:
        got = self._run({NOISE: noise}, steps)
        return Samples(
            got[IMAGE], noise, got.get(CANVASES), got.get(WRITE_ATTENTION), seed, start, temperature
        )


def _floats(noise: ArrayLike) -> Floats:
    try:
        given = np.asarray(noise)
    except ValueError:  # lists of several lengths
        given = None
    if given is None or given.dtype.kind not in "fiu":
        raise DrawError("noise must be numbers in one array [n, T, Z]")
    with np.errstate(over="ignore"):  # beyond float32: infinite, and refused
        # A copy: the answer's noise stays what went in, whatever becomes of the caller's.
        return given.astype(np.float32)
