"""Scoring pictures with an exported scorer: how surprising a picture is, and how the network would paint it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DrawError
from .batches import join, map_in_order
from .metadata import IMAGE, NOISE, SCORER
from .noise import check_range, check_seed, noise
from .pictures.reading import check_images, image_array
from .session import Floats, OpenedModel


@dataclass(frozen=True, eq=False)
class Scores:
    """n pictures of C x H x W pixels, T steps; the names are the file's outputs."""

    bound: Floats  # [n] L_x + sum KL in nats, equation (12); lower is better
    reconstruction: Floats  # [n, C, H, W] Bernoulli means in [0, 1]
    canvases: Floats | None = None  # [n, T, C, H, W] the reconstruction after each step
    # [n, T, 5] x, y, delta, sigma, gamma in pixels; pixel 1 is the first
    read_attention: Floats | None = None
    write_attention: Floats | None = None  # [n, T, 5]

    def __len__(self) -> int:
        return len(self.bound)


class Scorer(OpenedModel):
    """Scores with a ``draw.scorer`` file. One scorer may be used from many threads; pickled, it opens its model again.

    The picture is taken as it is: for a model of binary pictures (``metadata.binary``) binarise it first, or
    the bound cannot be compared with published figures.

    A bound does not depend on what is scored with it: on one machine's CPU the same bits where C H W and T Z are
    multiples of 4, as with MNIST's pictures; else the same to about 1e-6 of it, since ONNX Runtime's sums depend on where
    in memory a row begins.

    Args:
        path: an ``.onnx`` file, its content as bytes, or a folder of ``draw-export --hub`` (no scorer is packaged).
        provider: ``auto``, ``cpu`` or ``cuda``.
        threads: batches run at the same time; the CPUs at hand unless given.

    Raises:
        DrawError: the file or the provider is not to be had; the message says why.
    """

    _model_type = SCORER

    def __call__(
        self,
        images: ArrayLike,
        seed: SupportsIndex = 0,
        start: SupportsIndex = 0,
        batch: int | None = None,
        steps: bool = True,
    ) -> Scores:
        """Score pictures.

        Args:
            images: [n, C, H, W], or [n, H, W] for one channel; uint8 (0 to 255), or bool or floats in [0, 1].
            seed: picture k takes the noise of picture ``start`` + k of this seed's stream.
            start: number of the first picture in the stream.
            batch: pictures through the graph at once; speed only, beyond what is said above.
            steps: also canvases and windows, where the file gives them. They take T times the memory.

        Raises:
            DrawError: images of another shape or range, numbers out of range, or ONNX Runtime fails.
        """
        array = image_array(images, self.metadata.image_shape)
        check_range(start, len(array))
        size = self.batch_size(batch)
        batches = (array[begin : begin + size] for begin in range(0, len(array), size))
        return join(list(self.stream(batches, seed, start, steps)))

    def stream(
        self,
        batches: Iterable[ArrayLike],
        seed: SupportsIndex = 0,
        start: SupportsIndex = 0,
        steps: bool = True,
    ) -> Iterator[Scores]:
        """Score batches one after the other, each as the call takes it: memory does not grow with their number.

        Some are asked for before the first is answered: each is an array of its own, not one filled anew.

        Raises:
            DrawError: as the call does, at the batch that is at fault.
        """
        s, first = check_seed(seed), check_seed(start, "start")
        shape = self.metadata.image_shape
        t, z = self.metadata.time_steps, self.metadata.latent_size

        def numbered() -> Iterator[tuple[int, Floats]]:
            begin = first
            for batch in batches:
                array = image_array(batch, shape)
                if self.metadata.binary and array.dtype == np.uint8 and array.max() == 1:
                    raise DrawError(
                        "uint8 images are levels from 0 to 255, and these have no level above 1: give pictures of 0 and 1"
                        " as bool or float"
                    )
                yield begin, check_images(array, shape)
                begin += len(array)

        def score(item: tuple[int, Floats]) -> Scores:
            begin, images = item
            return Scores(**self._run({IMAGE: images, NOISE: noise(s, begin, len(images), t, z)}, steps))

        return map_in_order(score, numbered(), self.threads)
