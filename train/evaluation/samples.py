"""Samples of a model as its data are: what figures about samples look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...models.draw import Draw
from ...runtime.noise import check_temperature
from ..data.stream import BINARISE_SAMPLES, binarise
from .figures import Advance, image_noise

BATCH = 100  # pictures through the network at a time


@torch.no_grad()
def draw_samples(
    model: Draw,
    count: int,
    seed: int,
    binary: bool,
    advance: Advance = lambda _: None,
    temperature: float = 1.0,
) -> Tensor:
    """Samples 0..count-1 of ``seed``, float32 [count, C, H, W].

    The network gives Bernoulli means. For black and white data each pixel is drawn from its mean, by a fixed stream:
    a grey mean is no picture of that kind. For other data the means themselves are the samples. Their noise is
    multiplied by ``temperature``, as Sampler.sample does it.

    Raises:
        DrawError: a temperature out of range.
    """
    scale = float(check_temperature(temperature))
    parts = []
    for start in range(0, count, BATCH):
        noise = scale * image_noise(model, seed, start, min(BATCH, count - start))
        parts.append(model.generate(noise).image)
        advance(len(noise))
    samples = torch.cat(parts)
    if binary:
        levels = (samples.cpu().numpy() * 255).round().astype(np.uint8)
        samples = torch.from_numpy(binarise(levels, BINARISE_SAMPLES)).to(samples)
    return samples


def at_temperature(temperature: float) -> str:
    """What is said of samples that are not as the model learned them: figures at another temperature are others."""
    return f" at temperature {temperature:g}" if temperature != 1 else ""
