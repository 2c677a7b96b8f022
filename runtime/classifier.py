"""Classifying pictures with an exported glimpse classifier."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DrawError
from .batches import join, map_in_order
from .metadata import CLASSIFIER, IMAGE
from .pictures.ink import AUTO, DARK, LIGHT
from .pictures.prepare import Prepared, prepare_file
from .pictures.reading import check_images, image_array
from .session import Floats, OpenedModel, Source


@dataclass(frozen=True, eq=False)
class Classification:
    """n pictures, T glimpses of N x N filters; the arrays have the names of the file's outputs."""

    logits: Floats  # [n, classes] after the last glimpse
    probabilities: Floats  # [n, classes]
    labels: tuple[str, ...]  # names of the classes
    glimpses: Floats | None = None  # [n, T, C, N, N] what the network saw, gamma included
    # [n, T, 5] x, y, delta, sigma, gamma in pixels; pixel 1 is the first
    read_attention: Floats | None = None

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def classes(self) -> NDArray[np.int64]:
        """[n] number of the likeliest class"""
        return self.logits.argmax(1).astype(np.int64)

    @property
    def answers(self) -> list[str]:
        """Name of the likeliest class of each picture"""
        return [self.labels[k] for k in self.classes]


class Classifier(OpenedModel):
    """Classifies with a ``draw.classifier`` file. One classifier may be used from many threads; pickled,
    it opens its model again.

    Args:
        path: an ``.onnx`` file, its content as bytes, or the name of a packaged model such as ``cluttered-mnist``.
        provider: ``auto``, ``cpu`` or ``cuda``.
        threads: batches run at the same time; the CPUs at hand unless given.

    Raises:
        DrawError: the file or the provider is not to be had; the message says why.
    """

    _model_type = CLASSIFIER

    def __init__(
        self,
        path: Source = "cluttered-mnist",
        provider: str = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__(path, provider, threads)

    def __call__(self, images: ArrayLike, batch: int | None = None, steps: bool = True) -> Classification:
        """Classify pictures.

        Args:
            images: [n, C, H, W], or [n, H, W] for one channel; uint8 (0 to 255), or floats in [0, 1]. Files become such
                arrays through :meth:`prepare`.
            batch: pictures through the graph at once.
            steps: also glimpses and windows, where the file gives them.

        Raises:
            DrawError: images of another shape or range, or ONNX Runtime fails.
        """
        array, size = image_array(images, self.metadata.image_shape), self.batch_size(batch)
        return join(list(self.stream((array[i : i + size] for i in range(0, len(array), size)), steps)))

    def prepare(self, path: str | os.PathLike[str], ink: str = AUTO) -> Prepared:
        """A picture file as this model reads it: ``classifier(classifier.prepare("digit.jpg").image[None])``.

        Args:
            ink: ``light`` (on dark), ``dark`` (on light), or ``auto`` to find out.

        Raises:
            DrawError: the file cannot be read.
        """
        if ink not in (AUTO, LIGHT, DARK):
            raise DrawError(f"ink is auto, light or dark, not {ink!r}")
        return prepare_file(path, self.metadata.picture_rule, ink)

    def stream(self, batches: Iterable[ArrayLike], steps: bool = True) -> Iterator[Classification]:
        """Classify batches one after the other, each as the call takes it: memory does not grow with their number.

        Some are asked for before the first is answered: each is an array of its own, not one filled anew.

        Raises:
            DrawError: as the call does, at the batch that is at fault.
        """
        shape, labels = self.metadata.image_shape, self.metadata.labels

        def classify(images: ArrayLike) -> Classification:
            return Classification(**self._run({IMAGE: check_images(images, shape)}, steps), labels=labels)

        return map_in_order(classify, batches, self.threads)
