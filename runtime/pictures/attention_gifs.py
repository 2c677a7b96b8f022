"""GIFs of where a network looks: a classifier's glimpses, a scorer's reading and writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .captions import caption_height, captioned
from .drawing import (
    READ_COLOUR,
    WRITE_COLOUR,
    Rgb,
    arrange,
    arranged_size,
    centred,
    draw_windows,
    gap_width,
    grid_columns,
    to_rgb,
)
from .gif import check_frames, frames_layout, write_gif

MAX_PICTURES = 16  # in one GIF: more are too small to follow


def write_glimpse_gif(
    path: str | os.PathLike[str],
    images: NDArray[np.float32],
    glimpses: NDArray[np.float32],
    windows: NDArray[np.float32],
    answers: Sequence[str],
    scale: int | None = None,
    fps: float = 2.0,
) -> None:
    """The glimpse window moving over each picture, beside it what the glimpse sees, at the end the answer.

    Args:
        path: where to.
        images: [n, C, H, W] in [0, 1].
        glimpses: [n, T, C, N, N], gamma included; shown without it, so that brightness is the picture's.
        windows: [n, T, 5] rows (x, y, delta, sigma, gamma).
        answers: [n] texts for the last frame.
        scale: screen pixels per pixel; fitting unless given.
        fps: glimpses per second.
    """
    gamma = windows[:, :, 4][:, :, None, None, None]
    seen = np.divide(glimpses, gamma, out=np.zeros_like(glimpses), where=gamma > 0)
    _count, steps, _, size, _ = glimpses.shape

    def pair(k: int, step: int, scale: int) -> tuple[Rgb, Rgb]:
        t = min(step, steps - 1)
        tile = draw_windows(to_rgb(images[k], scale), windows[k, t], size, READ_COLOUR, scale)
        return tile, centred(seen[k, t], *tile.shape[:2])

    _write_pairs(path, images, "glimpse", steps, answers, pair, scale, fps)


def write_score_gif(
    path: str | os.PathLike[str],
    images: NDArray[np.float32],
    canvases: NDArray[np.float32],
    read_windows: NDArray[np.float32] | None,
    write_windows: NDArray[np.float32] | None,
    read_size: int,
    write_size: int,
    bounds: Sequence[float],
    scale: int | None = None,
    fps: float = 10.0,
) -> None:
    """Each picture with the window that reads it (blue), beside it the canvas with the window that writes (red).

    Args:
        path: where to.
        images: [n, C, H, W] in [0, 1].
        canvases: [n, T, C, H, W].
        read_windows: [n, T, 5], or None without attention.
        write_windows: [n, T, 5], or None without attention.
        read_size: filters per axis of the read window.
        write_size: filters per axis of the write window.
        bounds: [n] nats, for the last frame.
        scale: screen pixels per pixel; fitting unless given.
        fps: steps per second.
    """
    steps = canvases.shape[1]

    def pair(k: int, step: int, scale: int) -> tuple[Rgb, Rgb]:
        left, right = to_rgb(images[k], scale), to_rgb(canvases[k, min(step, steps - 1)], scale)
        if step < steps and read_windows is not None and write_windows is not None:
            draw_windows(left, read_windows[k, step], read_size, READ_COLOUR, scale)
            draw_windows(right, write_windows[k, step], write_size, WRITE_COLOUR, scale)
        return left, right

    _write_pairs(path, images, "step", steps, [f"{bound:.1f} nats" for bound in bounds], pair, scale, fps)


def looks_layout(count: int, width: int, height: int, steps: int, scale: int | None) -> tuple[int, int]:
    """(pairs in a row, scale) of a GIF of ``count`` pictures of this size; raises DrawError where it would be too large."""
    if scale is None:
        _, scale = frames_layout(count, 2 * width, height, None)
        scale = max(scale, -(-90 // (2 * width)))  # room for the caption
    columns, gap = grid_columns(count, 2 * width, height), gap_width(scale)
    both = 2 * width * scale + gap, height * scale + 2 * gap
    tile = both[0], both[1] + caption_height(both[0])
    check_frames(*arranged_size(count, columns, *tile, 3 * gap), steps + 1)
    return columns, scale


def _write_pairs(
    path: str | os.PathLike[str],
    images: NDArray[np.float32],
    step: str,
    steps: int,
    results: Sequence[str],
    pair: Callable[[int, int, int], tuple[Rgb, Rgb]],
    scale: int | None,
    fps: float,
) -> None:
    """A frame for each step, ``step 3 of 8`` below each pair, and one with the results."""
    count, channels, height, width = images.shape
    columns, scale = looks_layout(count, width, height, steps, scale)
    gap = gap_width(scale)

    def frame(index: int) -> Rgb:
        tiles = []
        for k in range(count):
            left, right = pair(k, index, scale)
            both = arrange([left, right], 2, gap)[:, gap:-gap]
            tiles.append(captioned(both, f"{step} {index + 1} of {steps}" if index < steps else results[k]))
        return arrange(tiles, columns, 3 * gap)

    write_gif(path, frame, steps + 1, fps, grey=channels == 1)
