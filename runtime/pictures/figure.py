"""Where in a picture's ink the one figure is, if there is one: connected parts, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# In parts of the largest piece: longer side, or area.
NEAR, DUST, PIECE, ALIKE = 0.25, 0.01, 0.2, 0.7
CLUTTER = 0.08  # of the figure's area
PIECES = 3  # a figure's parts, dust not counted


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
    """The box around the largest figure in a mask of ink."""

    top: int
    left: int
    bottom: int  # exclusive
    right: int  # exclusive
    core: int  # longer side of its largest part
    alone: bool  # whether there is hardly any other ink, and it is of few parts itself
    several: bool  # whether another is about as large

    @property
    def side(self) -> int:
        """The longer side of the box."""
        return max(self.bottom - self.top, self.right - self.left)


def find_figure(mask: NDArray[np.bool_]) -> Figure | None:
    """The largest figure of a mask [h, w] of ink; None without ink.

    The largest part is its core, and parts near it belong to it. Dust is passed over, and so are frames: dark
    corners and what a sheet lies on, which follow the picture's border, and boxes drawn around something.
    """
    parts = connected_parts(mask)
    if not len(parts):
        return None
    sizeable = (parts.side >= 0.05 * max(mask.shape)) & (parts.area >= 0.005 * parts.area.max())
    loose = (parts.contact <= 0.9 * parts.side) & ~_drawn_around(parts, sizeable)
    if not (loose & sizeable).any():
        loose = np.ones(len(parts), np.bool_)
    core = int(np.argmax(np.where(loose, parts.area * parts.side, 0)))  # a 1 is long, not large
    side = int(parts.side[core])
    counts = loose & (parts.area >= DUST * parts.area[core])
    gap = np.maximum(
        np.maximum(parts.top - parts.bottom[core], parts.top[core] - parts.bottom),
        np.maximum(parts.left - parts.right[core], parts.left[core] - parts.right),
    )
    own = counts & (gap <= NEAR * side)
    rest = counts & ~own & (parts.side >= PIECE * side)
    other = int(parts.area[rest].sum())
    pieces = int((own & (parts.side >= PIECE * side)).sum())
    alike = rest & (parts.side >= ALIKE * side) & (parts.area >= 0.4 * parts.area[core])
    return Figure(
        int(parts.top[own].min()),
        int(parts.left[own].min()),
        int(parts.bottom[own].max()),
        int(parts.right[own].max()),
        side,
        alone=bool(other == 0 or (other <= CLUTTER * parts.area[own].sum() and pieces <= PIECES)),
        several=bool(alike.any()),
    )


def _drawn_around(parts: Parts, sizeable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which are thin boxes with another part well inside, about half as large at least."""
    found = np.zeros(len(parts), np.bool_)
    (among,) = np.nonzero(sizeable)
    for k in among:
        inset, box = 0.05 * parts.side[k], (parts.bottom[k] - parts.top[k]) * (parts.right[k] - parts.left[k])
        inside = (parts.top[among] >= parts.top[k] + inset) & (parts.bottom[among] <= parts.bottom[k] - inset)
        inside &= (parts.left[among] >= parts.left[k] + inset) & (
            parts.right[among] <= parts.right[k] - inset
        )
        half = parts.side[among] >= 0.45 * parts.side[k]
        found[k] = parts.area[k] <= 0.25 * box and bool((inside & half).any())
    return found


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
