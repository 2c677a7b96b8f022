"""Digits as people have them, drawn from MNIST's: on paper, scanned, photographed, with chalk on a board.

A kind is a function (digit, generator) -> :class:`Drawn`. It draws what one would see, and knows nothing of how
draw-classify prepares pictures. The same digit and generator state give the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from digit_drawing import (
    WHITE,
    Bytes,
    camera,
    coloured,
    laid,
    light,
    line,
    paper_colour,
    pen_colour,
    smooth_noise,
    somewhere,
    strokes,
    to_image,
    within,
)
from PIL import Image, ImageDraw, ImageFilter


@dataclass(frozen=True)
class Drawn:
    """A picture and how it is saved."""

    picture: Image.Image
    suffix: str = ".png"
    save: dict[str, Any] = field(default_factory=dict)


Kind = Callable[[Bytes, np.random.Generator], Drawn]


# --- the kinds of the README's table


def as_trained(digit: Bytes, rng: np.random.Generator) -> Drawn:
    return Drawn(Image.fromarray(digit))


def paper(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Dark ink on light paper, 28 x 28."""
    return Drawn(to_image(coloured(digit / 255, paper_colour(rng), pen_colour(rng))))


def large(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """280 x 280, drawn with a crisp brush or enlarged softly; half of them white on black."""
    ink = strokes(digit, 280, crisp=bool(rng.integers(2)))
    return Drawn(to_image(255 * (ink if rng.integers(2) else 1 - ink)))


def transparent(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Ink on nothing, of any size: all there is lies in the alpha channel."""
    side = int(rng.integers(28, 300))
    ink = strokes(digit, side)
    pen = np.zeros(3) if rng.integers(2) else pen_colour(rng).clip(0, 255)
    colour = np.broadcast_to(pen, (side, side, 3))
    return Drawn(to_image(np.dstack([colour, 255 * ink])))


def page(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A scanned sheet with one digit somewhere, dust, and a skew."""
    size, side = (1100, 850), int(rng.integers(60, 170))
    place = within(rng, size, side, 40)
    ink = laid(size, strokes(digit, side, thin=rng.uniform(0, 0.6)), place)
    picture = to_image(coloured(ink, paper_colour(rng), pen_colour(rng)))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 15)):
        x, y, r = rng.uniform(0, 850), rng.uniform(0, 1100), rng.uniform(0.5, 2)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(int(rng.integers(60, 180)),) * 3)
    corner = picture.getpixel((0, 0))
    picture = picture.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=corner)  # type: ignore[arg-type]
    grain = rng.normal(0, 3, (*size, 1))
    return Drawn(to_image(np.asarray(picture, float) + grain), ".jpg", {"quality": 85})


def photo(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A sheet photographed by a phone: uneven light, turned, leaning, blurred, noisy, JPEG."""
    return Drawn(_photo(digit, rng), ".jpg", {"quality": 75})


def _photo(digit: Bytes, rng: np.random.Generator) -> Image.Image:
    size, side = (480, 640), int(rng.integers(130, 330))
    place = within(rng, size, side, 50)
    sheet = laid(size, strokes(digit, side, thin=rng.uniform(0, 0.7)), place)
    grain = 1 - 0.04 * smooth_noise(rng, size, 40)
    scene = coloured(sheet, paper_colour(rng), pen_colour(rng)) * (grain * light(rng, size, 0.4))[..., None]
    return camera(scene, rng, rng.uniform(0.8, 2.5), rng.uniform(4, 10))


# --- further ones, to try what nobody listed


def coloured_ink(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Felt pens on white or pastel paper, yellow and light green among them."""
    pens = [[220, 30, 40], [240, 200, 0], [30, 160, 60], [140, 40, 160], [250, 130, 0], [0, 140, 220]]
    papers = [[255, 255, 255], [255, 240, 245], [235, 245, 255], [250, 250, 225]]
    ink = somewhere(digit, rng, (180, 160), int(rng.integers(80, 150)))
    return Drawn(to_image(coloured(ink, np.array(papers[rng.integers(4)]), np.array(pens[rng.integers(6)]))))


def lined(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A digit written over the lines of an exercise book, scanned."""
    size, gap = (400, 500), int(rng.integers(36, 60))
    scene = np.broadcast_to(paper_colour(rng), (*size, 3)).copy()
    scene[int(rng.integers(gap)) :: gap] = [150, 180, 215]
    scene[1 + int(rng.integers(gap)) :: gap] = [170, 195, 225]
    if rng.integers(2):
        scene[:, int(rng.integers(20, 60))] = [225, 120, 130]
    ink = somewhere(digit, rng, size, int(rng.integers(90, 200)), thin=rng.uniform(0, 0.6))
    picture = to_image(coloured(ink, scene, pen_colour(rng)) + rng.normal(0, 3, (*size, 1)))
    return Drawn(picture.filter(ImageFilter.GaussianBlur(0.6)), ".jpg", {"quality": 85})


def squared(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """On squared paper, photographed."""
    size, gap = (480, 640), int(rng.integers(30, 50))
    scene = np.broadcast_to(paper_colour(rng), (*size, 3)).copy()
    for k in (0, 1):
        scene[k::gap] = [165, 185, 205]
        scene[:, k::gap] = [165, 185, 205]
    side = int(rng.integers(140, 300))
    sheet = laid(size, strokes(digit, side), within(rng, size, side, 50))
    scene = coloured(sheet, scene, pen_colour(rng)) * light(rng, size, 0.5)[..., None]
    return Drawn(camera(scene, rng, rng.uniform(0.8, 1.8), 5), ".jpg", {"quality": 80})


def blackboard(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Chalk on a wiped board, photographed."""
    size = (480, 640)
    boards = [[40, 60, 50], [45, 45, 48], [25, 50, 40]]
    board = np.array(boards[rng.integers(3)]) + 45 * smooth_noise(rng, size, 7)[..., None]  # wiped
    side = int(rng.integers(150, 330))
    ink = laid(size, strokes(digit, side), within(rng, size, side, 40))
    ink *= 0.55 + 0.45 * rng.random(size)  # chalk leaves gaps
    scene = coloured(ink, board, np.array([225.0, 225, 215])) * light(rng, size, 0.6)[..., None]
    return Drawn(camera(scene, rng, rng.uniform(0.8, 1.6), 6), ".jpg", {"quality": 80})


def pencil(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Faint and fine, on grey-white paper, scanned."""
    size, side = (300, 300), int(rng.integers(110, 260))
    drawn = line(digit, side, rng.uniform(2, 5))
    ink = laid(size, drawn, (int(rng.integers(0, 301 - side)), int(rng.integers(0, 301 - side))))
    pen = np.full(3, rng.uniform(120, 165))
    picture = coloured(ink * (0.7 + 0.3 * rng.random(size)), paper_colour(rng), pen)
    return Drawn(to_image(picture + rng.normal(0, 3, (*size, 1))), ".jpg", {"quality": 80})


def small_jpeg(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """64 x 64, blocks and ringing."""
    ink = somewhere(digit, rng, (64, 64), int(rng.integers(36, 64)))
    return Drawn(to_image(coloured(ink, WHITE, pen_colour(rng))), ".jpg", {"quality": 15})


def turned_by_exif(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A photograph on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = _photo(digit, rng).transpose(Image.Transpose.ROTATE_90)
    return Drawn(picture, ".jpg", {"quality": 80, "exif": exif})


def deep(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """16 bits a pixel, of which a scanner filled twelve."""
    ink = somewhere(digit, rng, (200, 200), int(rng.integers(100, 200)))
    levels = 3900 - 3500 * ink + rng.normal(0, 20, ink.shape)
    return Drawn(Image.fromarray(levels.clip(0, 4095).astype(np.uint16)))


def palette(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A GIF of sixteen colours."""
    ink = somewhere(digit, rng, (120, 120), int(rng.integers(60, 120)))
    picture = to_image(coloured(ink, paper_colour(rng), pen_colour(rng)))
    return Drawn(picture.quantize(16), ".gif")


def tight(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """Cut out so closely that the digit touches the border, of any size."""
    ink = strokes(digit, int(rng.integers(28, 300)))
    rows, columns = np.flatnonzero((ink > 0.5).any(1)), np.flatnonzero((ink > 0.5).any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Drawn(to_image(coloured(ink, paper_colour(rng), pen_colour(rng))))


def at_the_edge(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A photograph in which the digit runs against one edge."""
    size, side = (300, 400), int(rng.integers(150, 260))
    ink = strokes(digit, side)
    rows = np.flatnonzero((ink > 0.5).any(1))
    sheet = laid(size, ink, (-int(rows[0]), int(rng.integers(20, size[1] - side - 10))))
    scene = coloured(sheet, paper_colour(rng), pen_colour(rng)) * light(rng, size, 0.6)[..., None]
    picture = to_image(scene + rng.normal(0, 5, (*size, 1))).filter(ImageFilter.GaussianBlur(1))
    return Drawn(picture, ".jpg", {"quality": 80})


def on_a_desk(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A white card on a dark desk, all of it in the picture."""
    size, side = (480, 640), int(rng.integers(130, 220))
    card = np.zeros(size)
    card[80:400, 130:510] = 1
    place = int(rng.integers(110, 370 - side)), int(rng.integers(170, 470 - side))
    sheet = laid(size, strokes(digit, side), place)
    wood = np.array([90.0, 60, 40]) * (0.7 + 0.5 * smooth_noise(rng, size, 12)[..., None])
    scene = coloured(sheet, coloured(card, wood, paper_colour(rng)), pen_colour(rng))
    return Drawn(camera(scene * light(rng, size, 0.7)[..., None], rng, 1.2, 5), ".jpg", {"quality": 80})


def hard_shadow(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """The photographer's shadow falls over the sheet, its edge across the digit."""
    size, side = (480, 640), int(rng.integers(150, 300))
    sheet = laid(size, strokes(digit, side), within(rng, size, side, 50))
    y, x = np.mgrid[0:480, 0:640]
    angle = rng.uniform(0, 2 * math.pi)
    away = (x - 320) * math.cos(angle) + (y - 240) * math.sin(angle) + rng.uniform(-100, 100)
    shade = 1 - rng.uniform(0.25, 0.5) / (1 + np.exp(-away / rng.uniform(4, 15)))
    scene = coloured(sheet, paper_colour(rng), pen_colour(rng)) * shade[..., None]
    return Drawn(camera(scene, rng, 1.2, 5), ".jpg", {"quality": 80})


def fine_pen(digit: Bytes, rng: np.random.Generator) -> Drawn:
    """A large digit of a ballpoint: a line of a thirtieth to a sixtieth of its height."""
    ink = line(digit, 500, rng.uniform(6, 12))
    return Drawn(to_image(coloured(ink, paper_colour(rng), pen_colour(rng))))


KINDS: dict[str, tuple[str, Kind]] = {
    "trained": ("as trained: 28 × 28, light on black", as_trained),
    "paper": ("ink on paper, 28 × 28", paper),
    "large": ("large, 280 × 280", large),
    "transparent": ("transparent PNG, 28 to 300 pixels", transparent),
    "page": ("scanned page with one digit", page),
    "photo": ("phone photograph: uneven light, turned, blurred, noisy", photo),
    "coloured": ("felt pens of six colours", coloured_ink),
    "lined": ("over the lines of an exercise book", lined),
    "squared": ("squared paper, photographed", squared),
    "board": ("chalk on a blackboard, photographed", blackboard),
    "pencil": ("pencil, faint and fine", pencil),
    "jpeg": ("64 × 64 JPEG of quality 15", small_jpeg),
    "exif": ("photograph on its side, with an EXIF tag", turned_by_exif),
    "deep": ("16-bit PNG", deep),
    "palette": ("GIF of 16 colours", palette),
    "tight": ("cut out so closely that it touches the border", tight),
    "edge": ("photograph, the digit against one edge", at_the_edge),
    "desk": ("card on a dark desk, photographed", on_a_desk),
    "shadow": ("photograph with a hard shadow", hard_shadow),
    "fine": ("large, of a ballpoint", fine_pen),
}
