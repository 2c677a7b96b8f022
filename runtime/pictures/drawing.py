"""Pictures as arrays: tiles, attention windows, grids and sheets, and the PNG they become.

Images are [C, H, W] with C = 1 or 3, in [0, 1] or uint8; what is drawn is uint8 [height, width, 3].
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DrawError
from ...files import atomic_write
from ..noise import check_whole

Rgb = NDArray[np.uint8]  # [height, width, 3]
Colour = tuple[int, int, int]

WRITE_COLOUR: Colour = (235, 55, 45)  # red, as in the paper
READ_COLOUR: Colour = (0, 170, 255)  # told from the red by colour-blind eyes too
GAP_COLOUR: Colour = (70, 70, 70)

MAX_SIDE = 16_384  # pixels; longer pictures open in few programs


def intensities(images: ArrayLike) -> NDArray[np.float32]:
    """Pictures in [0, 1]: uint8 are levels from 0 to 255, all else is taken as it is."""
    array = np.asarray(images)
    return np.asarray(array / np.float32(255) if array.dtype == np.uint8 else array, np.float32)


def check_images(images: ArrayLike) -> NDArray[np.float32]:
    """Finished pictures, float32 [n, C, H, W]; raises DrawError for others."""
    array = intensities(images)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DrawError(f"images must have shape [n, C, H, W], C 1 or 3, not {list(array.shape)}")
    return array


def to_rgb(image: ArrayLike, scale: int = 1) -> Rgb:
    """[C, H, W] to [H·scale, W·scale, 3]; every pixel becomes a square, nothing is smoothed."""
    array = intensities(image)
    levels = (np.clip(np.nan_to_num(array), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if levels.shape[0] == 1:
        levels = np.repeat(levels, 3, axis=0)
    return levels.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)


def draw_windows(tile: Rgb, window: ArrayLike, n: int, colour: Colour, scale: int) -> Rgb:
    """Draw an attention window into a tile, in place; returns the tile.

    The frame runs through the outermost of the n x n filter centres (a window of one filter frames one
    pixel). Its line is half as wide as the Gaussians' standard deviation, from one screen pixel up to one pixel
    of the picture: a thin line is a precise window, a thick one a blurred one, as in the paper. What would lie
    outside is moved to the edge of the tile, so that a window off the picture shows as a line along it.

    Args:
        tile: [H·scale, W·scale, 3], as :func:`to_rgb` gives it.
        window: [5], the row (x, y, delta, sigma, gamma) in pixels, pixel 1 the first.
        n: filters per axis.
        colour: red, green, blue.
        scale: screen pixels per pixel.
    """
    height, width = tile.shape[:2]
    x, y, delta, sigma, _ = np.asarray(window, np.float64)
    if not np.isfinite([x, y, delta, sigma]).all():
        return tile
    reach = (n - 1) / 2 * abs(delta) if n > 1 else 0.5
    line = int(np.clip(round(sigma * scale / 2), 1, max(1, scale)))
    left, right = (_edge(x + side * reach, scale, width, line) for side in (-1, 1))
    top, bottom = (_edge(y + side * reach, scale, height, line) for side in (-1, 1))
    tile[top : top + line, left : right + line] = colour
    tile[bottom : bottom + line, left : right + line] = colour
    tile[top : bottom + line, left : left + line] = colour
    tile[top : bottom + line, right : right + line] = colour
    return tile


def _edge(position: float, scale: int, size: int, line: int) -> int:
    """First screen pixel of a line centred on a 1-based position, kept inside 0 .. size."""
    # Pixel 1 covers 0 .. scale on the screen: its centre is at scale / 2.
    first = (float(np.clip(position, -1e6, 1e6)) - 0.5) * scale - line / 2
    return int(np.clip(math.floor(first + 0.5), 0, max(0, size - line)))


def arrange(tiles: Sequence[Rgb], columns: int, gap: int) -> Rgb:
    """Tiles of one size in rows of ``columns``, ``gap`` screen pixels between and around them."""
    height, width = tiles[0].shape[:2]
    size = arranged_size(len(tiles), columns, width, height, gap)
    check_size(*size)
    canvas = np.full((*size[::-1], 3), GAP_COLOUR, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y, x = gap + row * (height + gap), gap + column * (width + gap)
        canvas[y : y + height, x : x + width] = tile
    return canvas


def arranged_size(count: int, columns: int, width: int, height: int, gap: int) -> tuple[int, int]:
    """(width, height) of ``count`` tiles as :func:`arrange` puts them."""
    return columns * (width + gap) + gap, math.ceil(count / columns) * (height + gap) + gap


def grid_columns(count: int, width: int = 1, height: int = 1) -> int:
    """Columns of the grid of ``count`` tiles that comes nearest to a square."""
    return max(1, min(count, math.ceil(math.sqrt(count * height / width) - 1e-9)))


def gap_width(scale: int) -> int:
    """Screen pixels between tiles."""
    return max(1, scale // 2)


def fitting_scale(columns: int, rows: int, width: int, height: int, side: int = 1000, limit: int = 12) -> int:
    """The largest scale up to ``limit`` at which a grid of pictures stays within ``side`` screen pixels."""
    fitting = min(side // max(1, columns * (width + 1)), side // max(1, rows * (height + 1)))
    return max(1, min(fitting, limit))


def grid(images: ArrayLike, scale: int | None = None) -> Rgb:
    """Finished pictures [n, C, H, W] side by side, as nearly square as can be.

    Raises:
        DrawError: an array of another shape, no picture, or a grid beyond use.
    """
    array = check_images(images)
    height, width = array.shape[-2:]
    columns, scale = grid_layout(len(array), width, height, scale)
    return arrange([to_rgb(image, scale) for image in array], columns, gap_width(scale))


def _checked_scale(scale: int | None) -> int | None:
    """Raise DrawError for a scale that is no whole number from 1."""
    if scale is not None and (scale := check_whole(scale, "scale")) < 1:
        raise DrawError(f"the scale must be at least 1, not {scale}")
    return scale


def grid_layout(count: int, width: int, height: int, scale: int | None, side: int = 1000) -> tuple[int, int]:
    """(columns, scale) of a grid, within ``side`` screen pixels unless a scale is given.

    Raises:
        DrawError: no picture, or a grid beyond use.
    """
    if count < 1:
        raise DrawError("there is no picture to show")
    columns = grid_columns(count, width, height)
    scale = _checked_scale(scale) or fitting_scale(columns, math.ceil(count / columns), width, height, side)
    check_size(*arranged_size(count, columns, width * scale, height * scale, gap_width(scale)))
    return columns, scale


def pairs(left: ArrayLike, right: ArrayLike, columns: int | None = None, scale: int | None = None) -> Rgb:
    """Pictures [n, C, H, W] beside others of their size, ``columns`` pairs in a row, as nearly square as can be.

    Raises:
        DrawError: arrays of other shapes, no picture, or more than can be shown.
    """
    first, second = check_images(left), check_images(right)
    if first.shape != second.shape:
        raise DrawError(f"images of different shapes: {list(first.shape)} and {list(second.shape)}")
    both = np.concatenate([first, second], axis=-1)
    height, width = both.shape[-2], both.shape[-1] // 2
    columns, scale = pairs_layout(len(both), width, height, scale, columns)
    return arrange([to_rgb(pair, scale) for pair in both], columns, 2 * gap_width(scale))


def pairs_layout(
    count: int, width: int, height: int, scale: int | None, columns: int | None = None
) -> tuple[int, int]:
    """(pairs in a row, scale) of :func:`pairs` of pictures of this size; raises DrawError where too large."""
    columns = columns or grid_columns(count, 2 * width, height)
    scale = _checked_scale(scale) or fitting_scale(2 * columns, math.ceil(count / columns), width, height)
    check_size(*arranged_size(count, columns, 2 * width * scale, height * scale, 2 * gap_width(scale)))
    return columns, scale


def centred(image: ArrayLike, height: int, width: int) -> Rgb:
    """A picture [C, h, w] enlarged by a whole number into the middle of a black tile [height, width, 3]."""
    array = np.asarray(image)
    picture = to_rgb(array, max(1, min(height, width) // array.shape[-1]))[:height, :width]
    tile = np.zeros((height, width, 3), np.uint8)
    y, x = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    tile[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return tile


def chosen_steps(time_steps: int, count: int = 10) -> list[int]:
    """Up to ``count`` step numbers (1-based), evenly spread, the first and the last among them."""
    return np.linspace(1, time_steps, min(count, time_steps)).round().astype(int).tolist()


def sheet(
    canvases: ArrayLike | None,
    windows: ArrayLike | None = None,
    window_size: int = 0,
    steps: Sequence[int] | None = None,
    scale: int | None = None,
) -> Rgb:
    """How pictures come about: one row per picture, one column per chosen step.

    Many rows are broken into blocks side by side, separated by a wider gap. The last step is shown without its
    window, so that the finished picture is seen whole.

    Args:
        canvases: [n, T, C, H, W] in [0, 1].
        windows: [n, T, 5] attention rows to draw, or None.
        window_size: filters per axis of these windows.
        steps: 1-based step numbers, ten spread over T unless given.
        scale: screen pixels per pixel; fitting unless given.

    Raises:
        DrawError: no such step, no picture, arrays of other shapes, or a sheet beyond use.
    """
    frames = check_canvases(canvases)
    count, total, _, height, width = frames.shape
    steps = chosen_steps(total) if steps is None else [check_whole(step, "step") for step in steps]
    if not (steps and all(1 <= step <= total for step in steps)):
        raise DrawError(f"there are steps 1 to {total}, not {steps}")
    blocks, scale = sheet_layout(count, len(steps), width, height, scale)
    rows = math.ceil(count / blocks)
    gap = gap_width(scale)
    shown = check_windows(windows, frames)

    def tile(k: int, step: int) -> Rgb:
        picture = to_rgb(frames[k, step - 1], scale)
        if shown is not None and step != total:
            draw_windows(picture, shown[k, step - 1], window_size, WRITE_COLOUR, scale)
        return picture

    # Column by column: pictures are read downwards, block after block.
    columns: list[Rgb] = []
    for first in range(0, count, rows):
        tiles = [tile(k, step) for k in range(first, min(first + rows, count)) for step in steps]
        tiles += [np.full_like(tiles[0], GAP_COLOUR)] * (rows * len(steps) - len(tiles))
        columns.append(arrange(tiles, len(steps), gap))
        columns.append(np.full((len(columns[0]), 3 * gap, 3), GAP_COLOUR, np.uint8))
    return np.concatenate(columns[:-1], axis=1)


def check_canvases(canvases: ArrayLike | None) -> NDArray[np.float32]:
    """Pictures of every step, float32 [n, T, C, H, W]; raises DrawError for others, and where a file gave none."""
    if canvases is None:
        raise DrawError("there are no canvases: the file gives finished pictures only (--outputs image)")
    frames = intensities(canvases)
    if frames.ndim != 5 or frames.shape[2] not in (1, 3):
        raise DrawError(f"canvases must have shape [n, T, C, H, W], C 1 or 3, not {list(frames.shape)}")
    return frames


def check_windows(windows: ArrayLike | None, canvases: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Attention rows of these canvases, float64 [n, T, 5]; raises DrawError for others."""
    if windows is None:
        return None
    rows = np.asarray(windows, np.float64)
    if rows.shape != (*canvases.shape[:2], 5):
        raise DrawError(f"windows must have shape {[*canvases.shape[:2], 5]}, not {list(rows.shape)}")
    return rows


def sheet_layout(count: int, steps: int, width: int, height: int, scale: int | None) -> tuple[int, int]:
    """(blocks side by side, scale) of a sheet; raises DrawError for none, or where it would be too large."""
    if count < 1:
        raise DrawError("there is no picture to show")
    blocks = grid_columns(count, steps * (width + 1) + 2, height + 1)
    rows = math.ceil(count / blocks)
    scale = _checked_scale(scale) or fitting_scale(blocks * steps, rows, width, height, side=1200, limit=6)
    gap = gap_width(scale)
    check_size(blocks * (steps * (width * scale + gap) + 4 * gap), rows * (height * scale + gap))
    return blocks, scale


def check_size(width: int, height: int) -> None:
    """Raise DrawError for a picture too large to be looked at: said before memory is asked for."""
    if max(width, height) > MAX_SIDE:
        raise DrawError(
            f"the picture would have {width} x {height} pixels, more than {MAX_SIDE} a side: "
            "ask for fewer pictures or a smaller --scale"
        )


def write_png(path: str | os.PathLike[str], rgb: Rgb) -> None:
    """Write a PNG; grey pictures as grey. The same pixels give the same bytes."""
    from imageio.v3 import imwrite

    grey = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all())
    levels = np.ascontiguousarray(rgb[..., 0] if grey else rgb)
    with atomic_write(path) as file:
        imwrite(file, levels, extension=".png", plugin="pillow")
