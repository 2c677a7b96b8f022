"""How unique are the samples? For each, the nearest training picture, and how near fresh pictures come.

A grey mean is nearer to everything than a picture is. Samples of black and white data are therefore drawn from
their Bernoulli means first, and compared with test pictures. Grey and coloured data have no such draw: there samples
are means, and so is what they are compared with, the network's reconstructions of test pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.draw import Draw
from ...runtime.pictures.drawing import MAX_SIDE, fitting_scale, gap_width, pairs
from ..data.dataset import Dataset, Split
from ..data.stream import BINARISE_TRAIN
from .figures import Advance, image_noise
from .samples import BATCH, at_temperature, draw_samples

CHUNK = 5000  # training pictures held as float32 at a time


@dataclass(frozen=True)
class Uniqueness:
    """Samples beside their nearest training pictures. Distances are L2 over all pixels, intensities 0 to 1."""

    samples: Tensor  # [n, C, H, W]
    neighbours: Tensor  # [n, C, H, W]
    distances: np.ndarray  # [n]
    # [m] of test pictures, or their reconstructions, to their nearest training picture
    test_distances: np.ndarray
    reconstructed: bool = False  # which of the two
    temperature: float = 1.0  # of the samples

    @property
    def share(self) -> float:
        """Percentage of samples nearer to a training picture than the median test picture (or reconstruction) is.

        Fresh pictures like the test set's give about 50; a model that copies gives 100, with distances near 0.
        """
        return 100 * float((self.distances < np.median(self.test_distances)).mean())

    @property
    def copies(self) -> float:
        """Percentage of samples nearer to a training picture than all but 1 % of the test pictures are."""
        return 100 * float((self.distances < np.percentile(self.test_distances, 1)).mean())

    def __str__(self) -> str:
        fresh = "reconstructed test picture" if self.reconstructed else "test picture"
        count = len(self.distances)
        samples = f"{count:,} sample{'s' * (count != 1)}{at_temperature(self.temperature)}"
        return (
            f"{samples}: median distance to the nearest training picture {np.median(self.distances):.3f}"
            f" ({fresh}s {np.median(self.test_distances):.3f});"
            f" {self.share:.1f} % nearer than the median {fresh}, {self.copies:.1f} % nearer than 99 % of them"
        )


@torch.no_grad()
def find_nearest(
    model: Draw,
    dataset: Dataset,
    count: int,
    seed: int = 0,
    advance: Advance = lambda _: None,
    temperature: float = 1.0,
) -> Uniqueness:
    """Samples 0..count-1 of ``seed`` and as many test pictures, at least 200, or all there are, against the training set.

    The data set is one that :func:`check_nearest` lets pass.
    """
    samples = draw_samples(model, count, seed, dataset.binary, temperature=temperature)
    train, test = dataset.evaluation("train"), dataset.evaluation("test")
    if dataset.binary and train.maximum == 255:  # kept grey, binarised afresh in every batch: draw them once
        train = train.arrays().binarised(BINARISE_TRAIN).on(train.images.device)
    some = test.spread(max(count, 200))
    fresh = some.slice(0, len(some)).images
    if not dataset.binary:
        fresh = torch.cat(
            [
                torch.sigmoid(model(part, image_noise(model, seed, BATCH * k, len(part))).canvas)
                for k, part in enumerate(fresh.split(BATCH))
            ]
        )
    queries = torch.cat([samples, fresh])
    distances, index = nearest(queries, train, advance)
    return Uniqueness(
        samples=samples,
        neighbours=train.take(index[:count]).images,
        distances=distances[:count].cpu().numpy(),
        test_distances=distances[count:].cpu().numpy(),
        reconstructed=not dataset.binary,
        temperature=temperature,
    )


def nearest(queries: Tensor, train: Split, advance: Advance = lambda _: None) -> tuple[Tensor, Tensor]:
    """L2 distance to, and index of, the nearest picture of ``train`` for each query: [n], [n]."""
    flat = queries.flatten(1)
    best = torch.full((len(flat),), float("inf"), device=flat.device)
    index = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    for start in range(0, len(train), CHUNK):
        part = train.slice(start, start + CHUNK).images.flatten(1)
        # Without the matrix-product shortcut: it loses the small distances that matter here.
        distance, where = torch.cdist(flat, part, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        better = distance < best
        best = torch.where(better, distance, best)
        index = torch.where(better, where + start, index)
        advance(len(part))
    return best, index


_PAIRS_A_ROW = 4


def _nearest_scale(count: int, width: int, height: int) -> int:
    return fitting_scale(2 * _PAIRS_A_ROW, -(-count // _PAIRS_A_ROW), width, height, limit=4)


def check_nearest(dataset: Dataset, count: int) -> None:
    """Before samples are drawn: raises DrawError where no training pictures are kept, or for a sheet beyond use."""
    if "train" not in dataset.evaluations:
        raise DrawError(
            f"--nearest: {dataset.name} makes its training pictures anew in every batch and keeps none"
        )
    _, height, width = dataset.image
    scale, rows = _nearest_scale(count, width, height), -(-count // _PAIRS_A_ROW)
    gap = 2 * gap_width(scale)
    if max(_PAIRS_A_ROW * (2 * width * scale + gap), rows * (height * scale + gap)) > MAX_SIDE:
        raise DrawError(f"--nearest: {count:,} pairs are too many for a picture; ask for fewer --samples")


def nearest_sheet(found: Uniqueness) -> np.ndarray:
    """Pairs of (sample, nearest training picture), four pairs a row, nearest pair first."""
    order = np.argsort(found.distances)
    samples, neighbours = found.samples.cpu().numpy(), found.neighbours.cpu().numpy()
    scale = _nearest_scale(len(order), samples.shape[-1], samples.shape[-2])
    return pairs(samples[order], neighbours[order], min(_PAIRS_A_ROW, len(order)), scale)
