"""Where in a picture's ink the one figure is, if there is one: connected parts, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# In parts of the largest piece: longer side, or area.
NEAR, DUST, PIECE = 0.25, 0.01, 0.2
CLUTTER = 0.2  # of the figure's area
ALIKE = 0.7


@dataclass(frozen=True)
class Parts:
    """Connected parts of a mask, in the order of their first pixels; one entry each."""

    area: Ints
    top: Ints
    left: Ints
    bottom: Ints  # exclusive
    right: Ints  # exclusive
    contact: Ints  # pixels on the picture's border

    @property
    def side(self) -> Ints:
        """The longer side of the box around each."""
        return np.maximum(self.bottom - self.top, self.right - self.left)

    def __len__(self) -> int:
        return len(self.area)


@dataclass(frozen=True)
class Figure:
    """A box around ink."""

    top: int
    left: int
    bottom: int  # exclusive
    right: int  # exclusive

    @property
    def side(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)


@dataclass(frozen=True)
class Found:
    """What a mask of ink holds."""

    figure: Figure | None  # None: no ink, or clutter
    several: bool = False  # two figures or more of about the same size


def find_figure(mask: NDArray[np.bool_]) -> Found:
    """The one figure of a mask [h, w] of ink.

    The largest part is its core; parts near it belong to it. Dust is passed over. What else is there, if it is
    more than a little, makes the picture a scene, of which no part may be cut out.
    """
    parts = connected_parts(mask)
    if not len(parts):
        return Found(None)
    loose = parts.contact <= 0.9 * parts.side  # the others are frames: dark corners, the edge of a sheet
    if parts.area[loose].sum() < 0.05 * parts.area.max():
        loose = np.ones(len(parts), np.bool_)
    core = int(np.argmax(np.where(loose, parts.area, 0)))
    side = int(parts.side[core])
    counts = loose & (parts.area >= DUST * parts.area[core])
    gap = np.maximum(
        np.maximum(parts.top - parts.bottom[core], parts.top[core] - parts.bottom),
        np.maximum(parts.left - parts.right[core], parts.left[core] - parts.right),
    )
    own = counts & (gap <= NEAR * side)
    rest = counts & ~own & (parts.side >= PIECE * side)
    large = rest & (parts.side >= ALIKE * side) & (parts.area >= 0.4 * parts.area[core])
    if parts.area[rest].sum() > CLUTTER * parts.area[own].sum():
        return Found(None, bool(large.any()))
    box = parts.top[own].min(), parts.left[own].min(), parts.bottom[own].max(), parts.right[own].max()
    return Found(Figure(*map(int, box)))


def connected_parts(mask: NDArray[np.bool_]) -> Parts:
    """Parts of a mask whose pixels touch, at corners too."""
    height, width = mask.shape
    stride = width + 2  # a gap between rows
    flat = np.zeros((height, stride), np.int8)
    flat[:, 1:-1] = mask
    steps = np.diff(flat.ravel())
    begin, end = np.flatnonzero(steps == 1) + 1, np.flatnonzero(steps == -1) + 1  # runs of pixels, row by row
    part = _joined(begin, end, stride)
    _, part = np.unique(part, return_inverse=True)
    count = int(part.max(initial=-1)) + 1
    row, first, last = begin // stride, begin % stride - 1, (end - 1) % stride - 1

    def least(values: Ints) -> Ints:
        out = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(out, part, values)
        return out

    contact = np.where((row == 0) | (row == height - 1), end - begin, (first == 0) * 1 + (last == width - 1))
    return Parts(
        np.bincount(part, end - begin, count).astype(np.int64),
        least(row),
        least(first),
        1 - least(-row),
        1 - least(-last),
        np.bincount(part, contact, count).astype(np.int64),
    )


def _joined(begin: Ints, end: Ints, stride: int) -> Ints:
    """For each run the first run of its part."""
    low = np.searchsorted(end + stride, begin)  # runs of the row above that touch this one
    high = np.searchsorted(begin + stride, end, side="right")
    touching = np.maximum(high - low, 0)
    ours = np.repeat(np.arange(len(begin)), touching)
    theirs = np.arange(len(ours)) - np.repeat(np.cumsum(touching) - touching, touching) + low[ours]
    root = np.arange(len(begin))
    while True:
        before = root.copy()
        lower = np.minimum(root[ours], root[theirs])
        for side in (ours, theirs):
            np.minimum.at(root, root[side], lower)
            np.minimum.at(root, side, lower)
        while not np.array_equal(root, root[root]):
            root = root[root]
        if np.array_equal(before, root):
            return root
