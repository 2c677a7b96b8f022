"""Pictures of ink as people have them become what a model of light figures on black knows.

The rule, in numbered steps, is in docs/embedding.md; the web page follows it too (examples/js/prepare.js).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..metadata import COVER, PAD, PictureRule
from .cover import cover_levels
from .figure import Figure, connected_parts, find_figure
from .ink import AUTO, DARK, LIGHT, Floats, Ink, dilated, find_ink
from .reading import Shape, fit, read_levels, read_picture

WORK = 1024  # pixels of the longer side that are looked at
BLACK, WHITE = 0.12, 0.5  # levels of the ground and of the ink of a picture that is the model's input already
STROKE = 0.4  # of the peak: what is part of a stroke
LARGE, SMALL = 1.2, 0.75  # a figure of more, or less, than these times the known size is scaled
THIN = 0.085  # strokes narrower than this share of the figure's longer side are thickened
MOSTLY = 0.5  # more ink than this share of a picture is more than a pen leaves
FEW = 2  # parts that a picture of nothing but one figure has at most


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as a model reads it, and what was done to it."""

    image: NDArray[np.float32]  # [C, H, W] in [0, 1]
    ink: str = LIGHT  # "light" or "dark": what the ink was
    # What was done, in order; nothing where the picture was the model's input already.
    steps: tuple[str, ...] = ()
    warning: str = ""  # what lies outside of what the model knows

    def __str__(self) -> str:
        return ", ".join(self.steps) or "as it is"


def prepare_file(path: str | os.PathLike[str], rule: PictureRule, ink: str = AUTO) -> Prepared:
    """A picture file as the input of a model, by :func:`prepare`; as :func:`read_picture` where figures have no known size.

    Raises:
        DrawError: as :func:`read_picture` does.
    """
    if rule.figure_size is None:
        return _plain(read_picture(path, rule.shape, ink == DARK, rule.picture_fit), ink)
    return prepare(*read_levels(path, WORK), rule.shape, rule.figure_size, ink)


def prepare(
    levels: NDArray[np.float32],
    alpha: NDArray[np.float32] | None,
    shape: Shape,
    figure_size: int | None,
    ink: str = AUTO,
    picture_fit: str = PAD,
) -> Prepared:
    """A picture of ink as the input of a model.

    Args:
        levels: [1 or 3, h, w] in [0, 1].
        alpha: [h, w] in [0, 1], or None.
        shape: (C, H, W) of the model.
        figure_size: longer side of a figure's ink in the model's training pictures, in pixels. None for a model
            that knows no such figures: nothing is found out and nothing cropped.
        ink: "light" (on dark), "dark" (on light), or "auto" to find out.
        picture_fit: without a ``figure_size``: ``pad`` or ``cover``, the rules of :func:`read_picture`.
    """
    if figure_size is None:
        visible = 1 - levels if ink == DARK else levels
        visible = visible if alpha is None else visible * alpha
        return _plain(cover_levels(visible, shape) if picture_fit == COVER else fit(visible, shape), ink)
    height, width = levels.shape[1:]
    factor = min(shape[1] / height, shape[2] / width, 1.0)  # that makes it fit into the model's picture
    over_black = levels if alpha is None else levels * alpha
    if factor == 1 and ink != DARK and _is_input(over_black.mean(0), figure_size):
        return Prepared(fit(over_black, shape))
    found = find_ink(_in_255(levels), None if alpha is None else _in_255(alpha), ink)
    if found.blank:
        return Prepared(fit(over_black, shape), found.kind, (), "blank: no ink was found")
    mask = found.smooth > STROKE * found.peak
    figure = find_figure(mask)
    assert figure is not None  # where the peak is there is ink
    share = float(mask.mean())
    warning = f"mostly ink: {share:.0%} of the picture" if share > MOSTLY else ""
    steps = ["ink from alpha" if found.plane == "alpha" else f"{found.kind} ink"]
    if found.plane in ("red", "green", "blue"):
        steps[0] += f" in {found.plane}"
    if found.levelled:
        steps.append("levelled")
    if figure.several and not warning:
        warning = "several figures, of which one is read"
    if _stays_whole(figure, factor, figure_size):
        steps += ["shrunk"] * (factor < 1)
        image = fit(found.strength(0.0, 1.0).astype(np.float32)[None], shape)
    else:
        image, thickened = _placed(found, mask, figure, figure_size, shape)
        steps += ["cropped", f"scaled from {figure.side} to {figure_size} pixels"] + ["thickened"] * thickened
    return Prepared(image, found.kind, tuple(steps), warning)


def _plain(image: NDArray[np.float32], ink: str) -> Prepared:
    return Prepared(image, DARK, ("inverted",)) if ink == DARK else Prepared(image)


def _stays_whole(figure: Figure, factor: float, figure_size: int) -> bool:
    """Whether the picture goes in as a whole, ``factor`` times its size.

    A smaller picture whose figure has the known size already does, and a scene whose largest figure gets about
    that size: pieces of clutter may hang on it, so it is no exact measure.
    """
    if figure.alone:
        return factor == 1 and SMALL <= figure.side / figure_size <= LARGE
    return 0.6 * figure_size <= factor * figure.side and factor * figure.core <= 2 * figure_size


def _is_input(levels: NDArray[np.float32], figure_size: int) -> bool:
    """Whether it is light on black already, and no single figure of another size than the model knows."""
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    dark = levels <= BLACK
    if np.median(border) > BLACK or dark.mean() < 0.5 or levels.max() < WHITE:
        return False
    if len(connected_parts(~dark)) > FEW:
        return True
    figure = find_figure(levels > 0.5 * levels.max())
    return figure is None or SMALL <= figure.side / figure_size <= LARGE


def _in_255(levels: NDArray[np.float32]) -> Floats:
    """In 0..255; whole numbers where the file had bytes."""
    return np.round(levels.astype(np.float64) * 255, 2)


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
