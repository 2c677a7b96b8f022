"""GIFs: one palette for all frames, exact window colours, greys that are never dithered; a frame has what changed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DrawError
from ...files import write_bytes
from .drawing import (
    GAP_COLOUR,
    READ_COLOUR,
    WRITE_COLOUR,
    Colour,
    Rgb,
    arrange,
    arranged_size,
    check_canvases,
    check_size,
    check_windows,
    draw_windows,
    gap_width,
    grid_layout,
    to_rgb,
)

HOLD_SECONDS = 2.0  # how long the last frame stays
# Milliseconds of a frame that nothing follows for longer: 16 bits of hundredths of a second.
MAX_DURATION = 655_350
MAX_FPS = 50  # GIF counts in hundredths of a second, and viewers slow down below two of them
FITTING_SIDE = 800  # screen pixels; a GIF grows with its area
MAX_GIF_PIXELS = 1 << 28  # over all frames: a quarter of a gigabyte for whoever opens it

_MARKS: tuple[Colour, ...] = (WRITE_COLOUR, READ_COLOUR, GAP_COLOUR)
_UNCHANGED = 255  # the palette's last place: the pixel stays as the frame before has it
_GREYS = _UNCHANGED - len(_MARKS)


def _grey_levels() -> NDArray[np.uint8]:
    """252 greys [252, 3]: a step is invisible, and no pixel ever flickers between two of them."""
    levels = np.round(np.linspace(0, 255, _GREYS)).astype(np.uint8)
    return np.repeat(levels[:, None], 3, axis=1)


def _colours(frames: Iterable[Rgb]) -> NDArray[np.uint8]:
    """The colours [252, 3] that represent the frames best (median cut)."""
    from PIL import Image

    pixels = np.concatenate([frame.reshape(-1, 3) for frame in frames])
    # A sample at even distances: median cut over all frames costs seconds and gains nothing.
    pixels = pixels[:: max(1, len(pixels) // 500_000)]
    side = math.ceil(math.sqrt(len(pixels)))
    square = np.resize(pixels, (side, side, 3))
    reduced = Image.fromarray(square).quantize(_GREYS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    found = np.array((reduced.getpalette() or [])[: 3 * _GREYS], np.uint8).reshape(-1, 3)
    return np.pad(found, ((0, _GREYS - len(found)), (0, 0)))


def _indices(rgb: Rgb, palette: bytes, grey: bool) -> NDArray[np.uint8]:
    """[height, width] places of the nearest colours in a palette, not dithered; ``grey``: of :func:`_grey_levels`."""
    from PIL import Image

    if grey:
        indices = np.round(rgb[..., 0] * np.float32((_GREYS - 1) / 255)).astype(np.uint8)
    else:
        reference = Image.new("P", (1, 1))
        reference.putpalette(palette)
        reduced = Image.fromarray(rgb).quantize(palette=reference, dither=Image.Dither.NONE)
        indices = np.minimum(np.array(reduced, np.uint8), _UNCHANGED - 1)  # of the same colour
    packed = _packed(rgb)
    for offset, mark in enumerate(_MARKS):
        indices[packed == _packed(np.array(mark, np.uint8))] = _GREYS + offset
    return indices


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number per pixel: comparing one is four times faster than comparing three."""
    wide = rgb.astype(np.uint32)
    return (wide[..., 0] << np.uint32(16)) | (wide[..., 1] << np.uint32(8)) | wide[..., 2]


def write_gif(
    path: str | os.PathLike[str],
    frame: Callable[[int], Rgb],
    count: int,
    fps: float = 10.0,
    hold: float = HOLD_SECONDS,
    grey: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Write an endless GIF.

    Args:
        path: where to.
        frame: gives frame 0 .. ``count`` - 1, all of one size.
        count: number of frames.
        fps: frames per second, up to 50.
        hold: seconds that the last frame stays.
        grey: the pictures have no colours but those of windows and gaps.
        advance: called once per frame, for a progress bar.

    Raises:
        DrawError: ``fps`` out of range, more pixels than a viewer can take, or the file cannot be written.
    """
    from imageio.v3 import imwrite

    check_fps(fps)
    first = frame(0)
    check_frames(first.shape[1], first.shape[0], count)
    sample = sorted({round(i * (count - 1) / 7) for i in range(8)})
    colours = _grey_levels() if grey else _colours(frame(index) for index in sample)
    # Greys or the frames' colours, and the marks (windows, gaps) exactly.
    palette = np.concatenate([colours, np.array([*_MARKS, _MARKS[-1]], np.uint8)]).tobytes()
    indices = np.empty((count, *first.shape[:2]), np.uint8)
    for index in range(count):
        indices[index] = _indices(first if index == 0 else frame(index), palette, grey)
        advance()
    # A frame holds what changed, which halves the file; one without any change is the one before, for longer.
    same = indices[1:] == indices[:-1]
    indices[1:][same] = _UNCHANGED
    starts = np.flatnonzero([True, *~same.all((1, 2))])
    duration = round(100 / fps) * 10  # milliseconds, in GIF's unit
    durations = np.diff(starts, append=count) * duration
    durations[-1] += max(0, round(hold * 100) * 10 - duration)
    durations = np.minimum(durations, MAX_DURATION)
    options = {
        "palette": palette,
        "duration": durations.tolist() if len(starts) > 1 else int(durations[0]),
        "loop": 0,
        "transparency": _UNCHANGED,
        "disposal": 1,  # each frame lies on the one before
        "optimize": False,  # it would merge and reorder the palette
    }
    # Into memory: after an error in a file imageio tries again when the file is closed.
    data = imwrite("<bytes>", indices[starts], extension=".gif", plugin="pillow", is_batch=True, **options)
    write_bytes(path, data)


def check_frames(width: int, height: int, count: int) -> None:
    """Raise DrawError for a GIF that viewers choke on."""
    check_size(width, height)
    if width * height * count > MAX_GIF_PIXELS:
        raise DrawError(
            f"{count} frames of {width} x {height} pixels are too much for a GIF: "
            "ask for fewer pictures or frames, or a smaller --scale"
        )


def check_fps(fps: float | None) -> None:
    """Raise DrawError unless a GIF can run at ``fps``; None is a default."""
    if fps is not None and not 0.05 <= fps <= MAX_FPS:
        raise DrawError(f"a GIF runs at 0.05 to {MAX_FPS} frames per second, not {fps:g}")


def write_steps_gif(
    path: str | os.PathLike[str],
    canvases: ArrayLike | None,
    windows: ArrayLike | None = None,
    window_size: int = 0,
    scale: int | None = None,
    fps: float = 10.0,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """A grid of pictures being painted step by step; the last frame, without windows, is held.

    Args:
        path: where to.
        canvases: [n, T, C, H, W] in [0, 1].
        windows: [n, T, 5] windows to draw, or None.
        window_size: filters per axis of these windows.
        scale: screen pixels per pixel; fitting unless given.
        fps: steps per second.
        advance: called once per frame, for a progress bar.

    Raises:
        DrawError: arrays of other shapes, a rate or a scale out of range, or a GIF that viewers choke on.
    """
    check_fps(fps)
    steps = check_canvases(canvases)
    count, total, channels, height, width = steps.shape
    columns, scale = frames_layout(count, width, height, scale)
    rows = check_windows(windows, steps)

    def frame(index: int) -> Rgb:
        t = min(index, total - 1)
        tiles = [to_rgb(steps[k, t], scale) for k in range(count)]
        if rows is not None and index < total:
            for k, tile in enumerate(tiles):
                draw_windows(tile, rows[k, t], window_size, WRITE_COLOUR, scale)
        return arrange(tiles, columns, gap_width(scale))

    # With windows the finished picture comes once more without them.
    write_gif(path, frame, total + (rows is not None), fps, grey=channels == 1, advance=advance)


def write_images_gif(
    path: str | os.PathLike[str],
    frames: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    scale: int | None = None,
    fps: float = 10.0,
    hold: float = HOLD_SECONDS,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Frames [n, C, H, W] of finished pictures, each a grid."""
    check_fps(fps)
    count, channels, height, width = frames[0].shape
    columns, scale = frames_layout(count, width, height, scale)

    def frame(index: int) -> Rgb:
        return arrange([to_rgb(image, scale) for image in frames[index]], columns, gap_width(scale))

    write_gif(path, frame, len(frames), fps, hold, grey=channels == 1, advance=advance)


def frames_layout(count: int, width: int, height: int, scale: int | None, frames: int = 1) -> tuple[int, int]:
    """(columns, scale) of a grid of ``count`` tiles; raises DrawError where a GIF of it would be too large."""
    columns, scale = grid_layout(count, width, height, scale, FITTING_SIDE)
    size = arranged_size(count, columns, width * scale, height * scale, gap_width(scale))
    check_frames(*size, frames)
    return columns, scale
