"""Sample sheets during training: what the network draws, or where it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..models.attention import window_from
from ..models.classifier import GlimpseClassifier
from ..models.config import ModelConfig
from ..models.draw import Draw
from ..runtime.pictures.drawing import (
    MAX_SIDE,
    READ_COLOUR,
    Rgb,
    arrange,
    centred,
    chosen_steps,
    draw_windows,
    gap_width,
    sheet,
    to_rgb,
    write_png,
)
from .data.dataset import Dataset
from .evaluation.figures import EVALUATION_SEED, image_noise

PICTURES = 12  # rows of a sheet
COLUMNS = 10  # steps or glimpses, the first and the last among them


def write_sheet(model: Draw | GlimpseClassifier, dataset: Dataset, folder: Path, iteration: int) -> None:
    """``ITERATION.png``: generated pictures step by step, or glimpse paths on validation pictures.

    The noise and the pictures are always the same, so that sheets of a run can be compared.
    """
    picture = sample_sheet(model) if isinstance(model, Draw) else glimpse_sheet(model, dataset)
    write_png(folder / f"{iteration:07d}.png", picture)


@torch.no_grad()
def sample_sheet(model: Draw) -> Rgb:
    """One row per generated picture, one column per chosen step, with the write windows."""
    config = model.config
    rows, columns = _fitting(PICTURES, config.image_height), _fitting(COLUMNS, config.image_width)
    drawn = model.generate(image_noise(model, EVALUATION_SEED, 0, rows))
    windows = (
        None if drawn.write_params is None else window_rows(drawn.write_params, config.write_size, config)
    )
    canvases = torch.sigmoid(drawn.canvases).cpu().numpy()
    steps = chosen_steps(config.time_steps, columns)
    return sheet(canvases, windows, config.write_size, steps)


@torch.no_grad()
def glimpse_sheet(model: GlimpseClassifier, dataset: Dataset) -> Rgb:
    """Two rows per validation picture: the window moving over it, and what each glimpse sees, enlarged."""
    config = model.config
    scale = max(1, min(round(100 / config.image_width), MAX_SIDE // (4 * config.image_height)))
    rows = _fitting(PICTURES, 2 * scale * config.image_height)
    steps = np.array(chosen_steps(config.time_steps, _fitting(COLUMNS, scale * config.image_width))) - 1
    images = dataset.evaluation("valid").slice(0, rows).images
    output = model(images)
    windows = window_rows(output.attention, config.read_size, config)[:, steps]
    return glimpse_rows(
        images.cpu().numpy(), windows, output.glimpses.cpu().numpy()[:, steps], scale, 2 * scale
    )


def _fitting(most: int, side: int) -> int:
    """How many tiles of so many screen pixels a sheet has room for, up to ``most`` and at least one."""
    return max(1, min(most, MAX_SIDE // (side + 8)))


def glimpse_rows(
    images: np.ndarray, windows: np.ndarray, glimpses: np.ndarray, scale: int, gap_scale: int
) -> Rgb:
    """The sheet of pictures [K, C, H, W], windows [K, T, 5] and glimpses [K, T, C, N, N], each's brightest value white."""
    steps, n = glimpses.shape[1], glimpses.shape[-1]
    tiles = []
    for k, image in enumerate(images):
        for t in range(steps):
            tiles.append(draw_windows(to_rgb(image, scale), windows[k, t], n, READ_COLOUR, scale))
        for glimpse in glimpses[k]:
            tiles.append(centred(glimpse / max(float(glimpse.max()), 1e-6), *tiles[0].shape[:2]))
    return arrange(tiles, steps, gap_width(gap_scale))


def window_rows(params: Tensor, n: int, config: ModelConfig) -> np.ndarray:
    """Attention vectors [K, T, 5] as rows (x, y, delta, sigma, gamma) in pixels."""
    return window_from(params, n, config.image_width, config.image_height).stack().cpu().numpy()
