"""Samples of a model as its data are: what figures about samples look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...models.draw import Draw
from ..data.stream import BINARISE_SAMPLES, binarise
from .figures import Advance, image_noise

BATCH = 100  # pictures through the network at a time


@torch.no_grad()
def draw_samples(
    model: Draw, count: int, seed: int, binary: bool, advance: Advance = lambda _: None
) -> Tensor:
    """Samples 0..count-1 of ``seed``, float32 [count, C, H, W].

    The network gives Bernoulli means. For black and white data each pixel is drawn from its mean, by a fixed stream:
    a grey mean is no picture of that kind. For other data the means themselves are the samples.
    """
    parts = []
    for start in range(0, count, BATCH):
        noise = image_noise(model, seed, start, min(BATCH, count - start))
        parts.append(model.generate(noise).image)
        advance(len(noise))
    samples = torch.cat(parts)
    if binary:
        levels = (samples.cpu().numpy() * 255).round().astype(np.uint8)
        samples = torch.from_numpy(binarise(levels, BINARISE_SAMPLES)).to(samples)
    return samples
