"""What pictures of digits are drawn with: ink, pens, paper, light and a camera. digit_kinds.py puts them together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
WHITE = np.array([255.0, 255.0, 255.0])


def strokes(digit: Bytes, side: int, crisp: bool = True, thin: float = 0.0) -> Floats:
    """How much ink covers each pixel, [side, side] in [0, 1], of a digit [28, 28] as large as ``side`` pixels.

    Args:
        crisp: edges as sharp as a pen's, else as soft as enlarging makes them.
        thin: 0 for MNIST's stroke; towards 1 a finer pen.
    """
    level = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), float) / 255
    if not crisp:
        return level
    edge = min(28 / side * 3, 1.0)  # level per pixel across an edge
    return np.clip((level - 0.5 - 0.3 * thin) / edge + 0.5, 0, 1)


def line(digit: Bytes, side: int, width: float) -> Floats:
    """The digit drawn anew with a pen ``width`` pixels wide along the middle of its strokes: [side, side]."""
    rough = np.asarray(Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)) > 110
    middle = Image.fromarray(thinned(rough).astype(np.uint8) * 255)
    soft = middle.resize((side, side), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(side / 112))
    pen = Image.fromarray((np.asarray(soft) > 60).astype(np.uint8) * 255)
    reach = max(0, round((width - side / 40) / 2))
    if reach:
        pen = pen.filter(ImageFilter.GaussianBlur(reach)).point([255 * (v > 40) for v in range(256)])
    return np.asarray(pen.filter(ImageFilter.GaussianBlur(0.8)), float) / 255


def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Strokes made one pixel wide (Zhang and Suen 1984)."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.copy()
        for first in (True, False):
            # The eight neighbours, clockwise from the one above.
            turns = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
            p = np.stack([np.roll(mask, (-y, -x), (0, 1)) for y, x in turns]).astype(int)
            count = p.sum(0)
            rises = ((p == 0) & (np.roll(p, -1, 0) == 1)).sum(0)
            up, right, down, left = p[0], p[2], p[4], p[6]
            pair = (
                (up * right * down == 0) & (right * down * left == 0)
                if first
                else (up * right * left == 0) & (up * down * left == 0)
            )
            mask &= ~((count >= 2) & (count <= 6) & (rises == 1) & pair)
        if np.array_equal(before, mask):
            return mask[1:-1, 1:-1]


def laid(size: tuple[int, int], ink: Floats, place: tuple[int, int]) -> Floats:
    """A sheet (height, width) of nothing but this ink, its top and left at ``place``; what would lie outside is cut off."""
    sheet = np.zeros(size)
    (height, width), (top, left) = size, place
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + ink.shape[0], height), min(left + ink.shape[1], width)
    if y1 > y0 and x1 > x0:
        sheet[y0:y1, x0:x1] = ink[y0 - top : y1 - top, x0 - left : x1 - left]
    return sheet


def within(rng: np.random.Generator, size: tuple[int, int], side: int, margin: int) -> tuple[int, int]:
    """Top and left of a square that keeps a margin on a sheet (height, width), all in pixels."""
    top, left = (int(rng.integers(margin, max(margin + 1, extent - side - margin))) for extent in size)
    return top, left


def somewhere(digit: Bytes, rng: np.random.Generator, size: tuple[int, int], side: int, **how: Any) -> Floats:
    """A sheet (height, width) of nothing but one digit, wholly inside."""
    top, left = (int(rng.integers(0, max(1, extent - side + 1))) for extent in size)
    return laid(size, strokes(digit, side, **how), (top, left))


def coloured(ink: Floats, paper: Floats, pen: Floats) -> Floats:
    """[h, w, 3] in 0..255: a pen's colour over the paper's (one colour, or one a pixel)."""
    return ink[..., None] * pen + (1 - ink[..., None]) * paper


def to_image(values: Floats) -> Image.Image:
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Floats:
    """A smooth random field in [0, 1] with about ``cells`` hills a side."""
    small = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC), float).clip(0, 1)


def light(rng: np.random.Generator, size: tuple[int, int], darkest: float) -> Floats:
    """Uneven light [h, w] up to 1: a lamp on one side, corners that fall off."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.array(size, float)[:, None, None] - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    lamp = 0.5 + x * math.cos(angle) + y * math.sin(angle)  # about 0 to 1
    field_ = darkest + (1 - darkest) * lamp.clip(0, 1)
    return field_ * (1 - rng.uniform(0.1, 0.5) * (x * x + y * y))


def camera(scene: Floats, rng: np.random.Generator, blur: float, noise: float) -> Image.Image:
    """A photograph of a scene [h, w, 3]: turned a little, seen from the side, out of focus, noisy."""
    height, width = scene.shape[:2]
    angle = math.radians(rng.uniform(-8, 8))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    middle = np.array([width / 2, height / 2])
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    seen = (corners - middle) @ rotation.T * 0.8 + middle  # nearer, so that no corner is empty
    seen += rng.uniform(-0.04, 0.04, (4, 2)) * [width, height]
    picture = to_image(scene).transform(
        (width, height), Image.Transform.PERSPECTIVE, _perspective(corners, seen), Image.Resampling.BICUBIC
    )
    picture = picture.filter(ImageFilter.GaussianBlur(blur))
    grain = rng.normal(0, noise, (height, width, 1)) + rng.normal(0, noise / 2, (height, width, 3))
    return to_image(np.asarray(picture, float) + grain)


def _perspective(output: Floats, source: Floats) -> list[float]:
    """Pillow's eight coefficients that take the corners of the output to those of the source."""
    rows, right = [], []
    for (x, y), (u, v) in zip(output, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.linalg.solve(np.array(rows), np.array(right)).tolist()


def paper_colour(rng: np.random.Generator) -> Floats:
    return rng.uniform(225, 255) * np.array([1.0, rng.uniform(0.96, 1), rng.uniform(0.88, 1)])


def pen_colour(rng: np.random.Generator) -> Floats:
    """Black, blue or grey."""
    pens = [[25, 25, 25], [30, 40, 120], [60, 60, 65], [10, 10, 40]]
    return np.array(pens[rng.integers(4)], float) + rng.uniform(-10, 15)
