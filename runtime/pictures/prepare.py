"""Pictures of ink as people have them become what a model of light figures on black knows.

The rule, in numbered steps, is in docs/embedding.md; the web page follows it too (examples/js/prepare.js).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .figure import Figure, Found, find_figure
from .ink import AUTO, DARK, LIGHT, Floats, Ink, blurred, dilated, find_ink
from .reading import Shape, fit

WORK = 1024  # pixels of the longer side that are looked at
BLACK, WHITE = 0.12, 0.5  # levels of the ground and of the ink of a picture that is the model's input already
LARGE, SMALL = 1.2, 0.75  # a figure of more, or less, than these times the known size is scaled
THIN = 0.085  # strokes narrower than this share of the figure's longer side are thickened
MOSTLY = 0.5  # more ink than this share of a picture is more than a pen leaves
SIDE = 20


@dataclass(frozen=True)
class Prepared:
    """A picture as a model reads it, and what was done to it."""

    image: NDArray[np.float32]  # [C, H, W] in [0, 1]
    ink: str = LIGHT  # "light" or "dark": what the ink was
    steps: tuple[str, ...] = ()  # what was done, in order; nothing where the picture was the model's input already
    warning: str = ""  # what lies outside of what the model knows

    def __str__(self) -> str:
        return ", ".join(self.steps) or "as it is"


def prepare(
    planes: Floats, alpha: Floats | None, shape: Shape, figure_size: int, ink: str = AUTO
) -> Prepared:
    """A picture of ink as the input of a model.

    Args:
        planes: [1 or 3, h, w], levels in 0..255.
        alpha: [h, w] in 0..255, or None.
        shape: (C, H, W) of the model.
        figure_size: longer side of a figure's ink in the model's training pictures, in pixels.
        ink: "light" (on dark), "dark" (on light), or "auto" to find out.
    """
    _, height, width = shape
    small = planes.shape[1] <= height and planes.shape[2] <= width
    over_black = planes if alpha is None else planes * (alpha / 255)
    as_it_is = fit((over_black / 255).astype(np.float32), shape)
    if small and ink != DARK and _is_input(over_black.mean(0) / 255, figure_size):
        return Prepared(as_it_is)
    found_ink = find_ink(planes, alpha, ink)
    if found_ink.blank:
        return Prepared(as_it_is, found_ink.kind, (), "blank: no ink was found in it")
    mask = _smooth(found_ink.density) > 0.5 * found_ink.peak
    found = find_figure(mask)
    steps = [f"{found_ink.kind} ink"]
    if found_ink.plane != "grey":
        steps.append(f"from {found_ink.plane}")
    if found_ink.levelled:
        steps.append("levelled")
    warning = _warning(mask, found)
    figure = found.figure
    if figure is not None and (not small or not SMALL * figure_size <= figure.side <= LARGE * figure_size):
        image, thickened = _placed(found_ink, mask, figure, figure_size, shape)
        steps += ["thickened"] * thickened + [f"cropped to {figure.side} and scaled to {figure_size} pixels"]
    else:
        image = fit(found_ink.strength(0.0, 1.0).astype(np.float32)[None], shape)
        if not small:
            steps.append("shrunk")
    return Prepared(image, found_ink.kind, tuple(steps), warning)


def _is_input(levels: Floats, figure_size: int) -> bool:
    """Whether it is light on black already, with no single figure of another size than the model knows."""
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    if np.median(border) > BLACK or (levels <= BLACK).mean() < 0.5 or levels.max() < WHITE:
        return False
    figure = find_figure(levels > 0.5 * levels.max()).figure
    return figure is None or SMALL * figure_size <= figure.side <= LARGE * figure_size


def _smooth(density: Floats) -> Floats:
    return blurred(density) if min(density.shape) >= 64 else density


def _warning(mask: NDArray[np.bool_], found: Found) -> str:
    share = float(mask.mean())
    if share > MOSTLY:
        return f"mostly ink: {share:.0%} of it"
    return "several figures: the model reads one" if found.several else ""


def _placed(
    ink: Ink, mask: NDArray[np.bool_], figure: Figure, figure_size: int, shape: Shape
) -> tuple[NDArray[np.float32], bool]:
    """The figure alone, as large as the model knows them, in the middle of black; whether it was thickened."""
    margin = max(1, round(0.05 * figure.side))
    height, width = mask.shape
    rows = slice(max(figure.top - margin, 0), min(figure.bottom + margin, height))
    columns = slice(max(figure.left - margin, 0), min(figure.right + margin, width))
    level = ink.strength(0.2, 0.8)[rows, columns]
    box = mask[rows, columns]
    thin = THIN * figure.side - _stroke_width(box)
    reach = round(thin / 2)
    if reach >= 1:
        level = dilated(level, reach)
    factor = figure_size / figure.side
    size = max(1, round(level.shape[1] * factor)), max(1, round(level.shape[0] * factor))
    scaled = Image.fromarray(level.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return fit(np.asarray(scaled)[None], shape), reach >= 1


def _stroke_width(mask: NDArray[np.bool_]) -> float:
    """Mean width of strokes: twice the area over the length of the outline."""
    padded = np.pad(mask, 1)
    outline = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    return float(2 * mask.sum() / (outline * np.pi / 4))


def prepare_file(
    path: str | os.PathLike[str], shape: Shape, figure_size: int, ink: str = AUTO
) -> Prepared:
    """:func:`prepare` for a picture file; raises as :func:`read_picture` does."""
    raise NotImplementedError
