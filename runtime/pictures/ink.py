"""How much ink lies on each pixel of a picture: light or dark ink, on even or unevenly lit ground.

The steps have the numbers of docs/embedding.md, which the web page follows too. Levels are float64 in 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LIGHT, DARK, AUTO = "light", "dark", "auto"  # ink

GREY = (0.299, 0.587, 0.114)  # Rec. 601
FINE, COARSE = 256, 64  # cells along the longer side, for decisions and for the ground
BLANK = 0.1  # the least contrast that is taken for ink
_EVEN = 16.0  # levels that even ground varies by


@dataclass(frozen=True)
class Ink:
    """The ink of a picture of h x w pixels."""

    density: Floats  # [h, w] in [0, 1]: 0 is ground
    smooth: Floats  # the same, its noise averaged away where there are pixels to spare
    peak: float  # density where there is most ink
    noise: float  # how far the density typically is from its neighbours' mean
    kind: str  # LIGHT or DARK
    levelled: bool  # whether the ground was uneven
    plane: str  # what it was taken from: "grey", "red", "green", "blue" or "alpha"

    @property
    def blank(self) -> bool:
        """No ink: nothing stands out from the ground and its noise."""
        return self.peak < max(BLANK, 4 * self.noise)

    def strength(self, low: float, high: float) -> Floats:
        """Density stretched so that ``low`` of the peak (at least the noise) becomes 0 and ``high`` of it 1."""
        floor = max(low * self.peak, min(3 * self.noise, self.peak / 2))
        return np.clip((self.density - floor) / (high * self.peak - floor), 0.0, 1.0)


def find_ink(planes: Floats, alpha: Floats | None, wanted: str = AUTO) -> Ink:
    """The ink of a picture.

    Args:
        planes: [1 or 3, h, w], grey or red, green and blue, 0..255.
        alpha: [h, w], 0..255; None for an opaque picture.
        wanted: LIGHT, DARK, or AUTO to find out.
    """
    if alpha is not None and alpha.min() < 250:
        planes, only_alpha = _opaque(planes, alpha)
        if only_alpha:
            return _measured(alpha / 255, LIGHT if wanted == AUTO else wanted, False, "alpha")
    values, fine, name = _plane(planes)
    threshold = otsu(fine)
    kind = _kind(fine, threshold) if wanted == AUTO else wanted
    ground = _even_ground(fine, threshold, kind)
    levelled = ground is None
    if ground is None:
        ground = _uneven_ground(values, kind)
    if kind == DARK:
        density = 1 - values / np.maximum(ground, 1.0)
    else:
        density = (values - ground) / np.maximum(255 - ground, 1.0)
    return _measured(np.clip(density, 0.0, 1.0), kind, levelled, name)


def _measured(density: Floats, kind: str, levelled: bool, name: str) -> Ink:
    smooth = blurred(density) if min(density.shape) >= 64 else density
    noise = 1.48 * float(np.median(np.abs(density - smooth)))
    return Ink(density, smooth, float(smooth.max()), noise, kind, levelled, name)


def _plane(planes: Floats) -> tuple[Floats, Floats, str]:
    """One value a pixel, its means over fine cells, and its name: grey unless a colour shows the ink much better."""
    cells = [cell_means(plane, FINE) for plane in planes]
    if len(planes) == 1:
        return planes[0], cells[0], "grey"
    grey = GREY[0] * cells[0] + GREY[1] * cells[1] + GREY[2] * cells[2]
    contrasts = [float(np.ptp(cell)) for cell in cells]
    best = int(np.argmax(contrasts))
    if contrasts[best] > 1.5 * float(np.ptp(grey)):
        return planes[best], cells[best], ("red", "green", "blue")[best]
    return GREY[0] * planes[0] + GREY[1] * planes[1] + GREY[2] * planes[2], grey, "grey"


def _opaque(planes: Floats, alpha: Floats) -> tuple[Floats, bool]:
    """Transparent parts filled with the commonest visible colour; whether alpha alone says what is drawn."""
    seen = alpha >= 128
    if not seen.any():
        return planes, True
    spread = max(float(np.ptp(np.percentile(plane[seen], (2, 98)))) for plane in planes)
    if spread < 64 and not seen.all():
        return planes, True
    share = alpha / 255
    fill = [float(np.median(plane[seen])) for plane in planes]
    filled = [share * plane + (1 - share) * colour for plane, colour in zip(planes, fill, strict=True)]
    return np.stack(filled), False


def _kind(fine: Floats, threshold: float) -> str:
    """LIGHT or DARK: by border and histogram where they agree, else by what stands out in its surroundings."""
    light = fine > threshold
    border, whole = float(light[_border(light.shape)].mean()), float(light.mean())
    if min(border, whole) > 0.8:
        return DARK
    if max(border, whole) < 0.2:
        return LIGHT
    # Uneven light moves surroundings and strokes alike; strokes are the rarer and the more different.
    apart = fine - windowed(fine, round(max(fine.shape) / 8))
    skewness = float((apart**3).mean()) / (float((apart**2).mean()) ** 1.5 + 1e-9)
    if abs(skewness) > 0.6:
        return DARK if skewness < 0 else LIGHT
    return DARK if border + whole > 1 else LIGHT


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The outermost 32nd of a picture, at least a pixel."""
    band = max(1, round(max(shape) / 32))
    mask = np.ones(shape, np.bool_)
    mask[band:-band, band:-band] = False
    return mask


def _even_ground(fine: Floats, threshold: float, kind: str) -> float | None:
    """The level of ground that is the same everywhere; None if it is not."""
    ground = fine > threshold if kind == DARK else fine <= threshold
    levels = fine[ground]
    if not len(levels):
        return float(np.median(fine))
    # Soft edges of the ink are among them, on the ink's side.
    low, high = np.percentile(levels, (25, 95) if kind == DARK else (5, 75))
    border = float(ground[_border(ground.shape)].mean())
    return float(np.median(levels)) if high - low <= _EVEN and border >= 0.85 else None


def _uneven_ground(values: Floats, kind: str) -> Floats:
    """The ground's level at every pixel: what is left when strokes narrower than a third of the picture go."""
    cells = cell_means(values, COARSE)
    reach = max(1, round(max(cells.shape) / 6))
    closed = eroded(dilated(cells, reach), reach) if kind == DARK else dilated(eroded(cells, reach), reach)
    return enlarged(blurred(closed), values.shape)


# --- small operators


def cell_size(shape: tuple[int, ...], most: int) -> int:
    """Pixels a side of the square cells of which ``most`` cover the longer side."""
    return -(-max(shape) // most)


def cell_means(values: Floats, most: int) -> Floats:
    """Means over square cells, so few that the longer side has at most ``most``."""
    size = cell_size(values.shape, most)
    if size == 1:
        return values
    height, width = values.shape
    rows = np.add.reduceat(values, np.arange(0, height, size), axis=0)
    sums: Floats = np.add.reduceat(rows, np.arange(0, width, size), axis=1)
    tall = np.minimum(size, height - np.arange(0, height, size))
    wide = np.minimum(size, width - np.arange(0, width, size))
    return sums / (tall[:, None] * wide)


def otsu(values: Floats) -> float:
    """The level that divides the values into two classes of the greatest variance between them (Otsu 1979).

    Of 256 steps between the least and the greatest value; values up to it are the lower class.
    """
    least, most = float(values.min()), float(values.max())
    if most <= least:
        return most
    bins = np.minimum(((values - least) / (most - least) * 256).astype(np.int64), 255)
    counts = np.bincount(bins.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * above)
    best = int(np.argmax(np.nan_to_num(between[:-1], posinf=0.0)))
    return least + (best + 1) / 256 * (most - least)


def blurred(values: Floats) -> Floats:
    """Means over 3 x 3 pixels, the edge repeated."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def windowed(values: Floats, reach: int) -> Floats:
    """Means over the pixels within ``reach`` along both axes, of those inside the picture."""
    for _ in range(2):
        size = len(values)
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        low, high = np.maximum(np.arange(size) - reach, 0), np.minimum(np.arange(size) + reach + 1, size)
        values = ((sums[high] - sums[low]) / (high - low)[:, None]).T
    return values


def dilated(values: Floats, reach: int) -> Floats:
    """The greatest value within ``reach`` pixels along both axes."""
    for _ in range(2):
        padded = np.pad(values, ((reach, reach), (0, 0)), constant_values=-np.inf)
        values = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0).max(-1).T  # type: ignore[call-overload]
    return values


def eroded(values: Floats, reach: int) -> Floats:
    """The least value within ``reach`` pixels along both axes."""
    return -dilated(-values, reach)


def enlarged(cells: Floats, shape: tuple[int, ...]) -> Floats:
    """Cells of :func:`cell_means` spread over the pixels again, straight between their middles."""
    size = cell_size(shape, COARSE)
    for axis, extent in enumerate(shape[:2]):
        at = np.clip((np.arange(extent) + 0.5) / size - 0.5, 0, cells.shape[axis] - 1)
        first = np.minimum(at.astype(np.int64), max(cells.shape[axis] - 2, 0))
        second = np.minimum(first + 1, cells.shape[axis] - 1)
        part = (at - first)[:, None] if axis == 0 else at - first
        cells = (1 - part) * cells.take(first, axis) + part * cells.take(second, axis)
    return cells
