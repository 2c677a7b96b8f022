"""Picture files and arrays become what a model reads: [C, H, W] float32 in [0, 1].

For all pictures: the first frame of an animation; rotated as EXIF says; transparent parts over black; grey by
Rec. 601 (0.299 R + 0.587 G + 0.114 B) for a model of one channel; 16-bit values divided by 65535, 12-bit ones of
a TIFF by 4095; 0 is white where a TIFF says so.

Then ``pad``: shrunk, aspect kept, only if larger than the model's picture; centred on black. Never enlarged: a
classifier trained on 28-pixel digits in a 100-pixel scene would not know a digit of 100 pixels.

Or ``cover``, for models of photographs, which fill their frame: the largest centred box of the model's aspect,
resized to its size, whether that shrinks or enlarges. Training prepares its pictures by the same
:func:`open_picture` and :func:`cover`, in whole bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DrawError, first_line
from ...files import check_ordinary, reading
from ..metadata import COVER, PAD
from .cover import cover
from .decoders import MAX_PIXELS, QUIET, ROOM, Whole, hush_decoders

if TYPE_CHECKING:
    from PIL import Image

# Formats that Pillow decodes itself: it would hand an EPS file to an interpreter.
_COMMON = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")
FORMATS = (*_COMMON, "JPEG2000", "DIB", "PCX", "SGI", "DDS", "ICO", "ICNS", "QOI")
# Without a signature: believed where the file is called so.
NAMED_FORMATS = ("TGA",)

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # two tags of a TIFF, and a value of the second
_REC601 = np.array([0.299, 0.587, 0.114], np.float32)

Shape = tuple[int, int, int]  # channels, height, width


def read_picture(
    path: str | os.PathLike[str], shape: Shape, invert: bool = False, picture_fit: str = PAD
) -> NDArray[np.float32]:
    """A picture file as the input of a model.

    Args:
        path: PNG, JPEG, GIF, BMP, TIFF, WebP, PPM, AVIF or another of :data:`FORMATS`.
        shape: (C, H, W) of the model, C = 1 or 3.
        invert: dark ink on light paper becomes light on dark; what is transparent stays black.
        picture_fit: ``pad`` or ``cover``, the two rules above.

    Returns:
        float32 [C, H, W] in [0, 1]

    Raises:
        DrawError: missing, a folder, no picture, damaged, or more than 64 megapixels.
    """
    channels, height, width = shape
    if picture_fit == COVER:
        levels = cover(open_picture(path, channels, invert), width, height)
        return levels.astype(np.float32) / np.float32(255)
    with _decoded(path) as picture:
        levels, alpha = _channels(_reduced(picture, shape))
    if invert:
        levels = 1 - levels
    return fit(levels if alpha is None else levels * alpha, shape)


def read_levels(
    path: str | os.PathLike[str], most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """A picture file's levels [1 or 3, h, w] and, where it has one, alpha [h, w], both in [0, 1].

    A picture whose longer side is more than ``most`` pixels is averaged down to no more.

    Raises:
        DrawError: as :func:`read_picture` does.
    """
    from PIL import Image

    with _decoded(path) as picture:
        picture = _in_plain_mode(picture)
        times = -(-max(picture.size) // most)
        if picture.mode[0] in "IF":  # reduce() knows floats, not 16-bit integers
            picture = Image.fromarray(np.clip(_channels(picture)[0][0], 0, 1))
        return _channels(picture.reduce(times))


def open_picture(path: str | os.PathLike[str], channels: int, invert: bool = False) -> Image.Image:
    """A picture at its own size and in whole bytes, as Pillow's ``L`` (1 channel) or ``RGB`` (3).

    Raises:
        DrawError: as :func:`read_picture` does.
    """
    from PIL import Image

    with _decoded(path) as picture:
        if picture.mode.startswith(("I", "F")):
            levels = np.clip(_channels(picture)[0][0], 0, 1)
            picture = Image.fromarray(((1 - levels if invert else levels) * 255 + 0.5).astype(np.uint8))
        else:
            # Palettes go through RGB: their direct way to grey rounds differently.
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
            if invert:
                bands = len(picture.getbands())
                picture = picture.point([*range(255, -1, -1)] * 3 + [*range(256)] * (bands - 3))
            if picture.mode == "RGBA":
                black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
                picture = Image.alpha_composite(black, picture).convert("RGB")
        return picture.convert("RGB" if channels == 3 else "L")


@contextmanager
def _decoded(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A file's first frame, upright. What goes wrong in the block is the file's fault as well."""
    from PIL import Image, ImageOps

    path = Path(path)
    with reading(path):
        if path.is_dir():
            raise DrawError(f"{path} is a folder, not a picture")
        if not path.exists():
            raise DrawError(f"no picture at {path}")
        check_ordinary(path)
    Image.init()
    hush_decoders()
    formats = [name for name in FORMATS if name in Image.OPEN]
    named = Image.EXTENSION.get(path.suffix.lower(), "")
    if named in NAMED_FORMATS:
        formats.append(named)
    limit = f"more than the {MAX_PIXELS // 10**6} megapixels that are read"
    try:
        with QUIET, Whole(path) as file, Image.open(file, formats=formats) as picture:  # reads the header
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise DrawError(f"{path} has {width} x {height} pixels, {limit}")
            with ROOM.taken(width * height):
                picture.load()
                upright = _with_alpha(picture)
                # In place: what is upright already would be copied.
                ImageOps.exif_transpose(upright, in_place=True)
                yield _deep_tiff(upright, getattr(picture, "tag_v2", {}))
    except (DrawError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise DrawError(
            f"{path} is no picture that can be read ({', '.join(_COMMON)} and the like)"
        ) from None
    except Image.DecompressionBombError:  # Pillow's own limit, met while opening
        raise DrawError(f"{path} has {limit}") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        if isinstance(error, OSError) and error.filename is not None:
            raise DrawError(f"cannot read {path}: {error.strerror}") from error
        raise DrawError(f"{path} is damaged: {first_line(error, 120)}") from error


def fit(image: ArrayLike, shape: Shape) -> NDArray[np.float32]:
    """An array [c, h, w] in [0, 1] (c = 1 or 3) by the same rules: grey or three channels, then padded."""
    levels = np.asarray(image, np.float32)
    channels, height, width = shape
    if levels.shape[0] == 3 and channels == 1:
        levels = np.tensordot(_REC601, levels, 1)[None]
    elif levels.shape[0] == 1 and channels == 3:
        levels = np.repeat(levels, 3, axis=0)
    elif levels.shape[0] != channels:
        raise DrawError(f"a picture of {levels.shape[0]} channels does not fit a model of {channels}")
    levels = _shrunk(levels, height, width)
    out = np.zeros(shape, np.float32)
    top, left = (height - levels.shape[1]) // 2, (width - levels.shape[2]) // 2
    out[:, top : top + levels.shape[1], left : left + levels.shape[2]] = np.clip(levels, 0, 1)
    return out


def image_array(images: ArrayLike, shape: Shape) -> NDArray[Any]:
    """Numbers of any kind and range as [n, C, H, W], from that or, for one channel, from [n, H, W].

    Raises:
        DrawError: another shape, or no numbers.
    """
    try:
        array = np.asarray(images)
    except ValueError:
        raise DrawError("images must be one array: pictures of one size") from None
    channels, height, width = shape
    if array.ndim == 3 and channels == 1 and array.shape[1:] == (height, width):
        array = array[:, None]
    if array.ndim != 4 or array.shape[1:] != shape or len(array) < 1:
        least = "" if array.shape[:1] != (0,) else ", n at least 1"
        raise DrawError(
            f"images must have shape [n, {channels}, {height}, {width}]{least}, not {list(array.shape)}"
        )
    if array.dtype.kind not in "fbiu":
        raise DrawError(f"images must be numbers, not {array.dtype}")
    return array


def check_images(images: ArrayLike, shape: Shape) -> NDArray[np.float32]:
    """Arrays given through the API: [n, C, H, W], or [n, H, W] for one channel; uint8 (0 to 255), or others in [0, 1].

    What is float32 already is not copied: who writes into the result may write into ``images``.

    Raises:
        DrawError: another shape or range, or not finite.
    """
    array = image_array(images, shape)
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    with np.errstate(over="ignore"):  # beyond float32: infinite, and refused
        array = array.astype(np.float32, copy=False)
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise DrawError(
            "images must be uint8, or numbers from 0 to 1 (divide others by the largest they can be)"
        )
    return array


def _reduced(picture: Image.Image, shape: Shape) -> Image.Image:
    """8-bit pictures as L, LA, RGB or RGBA, much larger ones averaged down to about twice the model's size.

    The averaging keeps a picture of 64 megapixels from becoming gigabytes of floats.
    """
    picture = _in_plain_mode(picture)
    if picture.mode[0] in "IF":
        return picture
    times = min(max(picture.width / shape[2], picture.height / shape[1]) / 2, *picture.size)
    return picture.reduce(int(times)) if times >= 2 else picture


def _with_alpha(picture: Image.Image) -> Image.Image:
    """A deep grey picture of which one level is transparent in whole bytes, as LA: Pillow converts the others alone."""
    from PIL import Image

    key = picture.info.get("transparency")
    if not (picture.mode.startswith("I") and isinstance(key, int)):
        return picture
    levels = np.asarray(picture)
    alpha = np.where(levels == key, 0, 255).astype(np.uint8)
    grey = Image.fromarray(np.clip(levels / 257 + 0.5, 0, 255).astype(np.uint8))
    plain = Image.merge("LA", (grey, Image.fromarray(alpha)))
    plain.info = {name: value for name, value in picture.info.items() if name != "transparency"}
    return plain


def _deep_tiff(picture: Image.Image, tags: Mapping[int, object]) -> Image.Image:
    """What Pillow does for eight bits and not for deeper ones: levels of twelve bits, and those of which 0 is white."""
    from PIL import Image

    twelve_bits = tags.get(_BITS_PER_SAMPLE) == (12,)
    white_is_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and picture.mode[0] in "IF"
    if not (twelve_bits or white_is_zero):
        return picture
    levels = (
        np.asarray(picture).astype(np.float32) / np.float32(4095) if twelve_bits else _channels(picture)[0][0]
    )
    return Image.fromarray(1 - levels if white_is_zero else levels)


def _in_plain_mode(picture: Image.Image) -> Image.Image:
    """As L, LA, RGB or RGBA; deeper ones as they are."""
    if picture.mode[0] in "IF":
        return picture
    if picture.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in picture.info:
        return picture
    if picture.mode in ("1", "La") and "transparency" not in picture.info:
        return picture.convert({"1": "L", "La": "LA"}[picture.mode])
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _channels(picture: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """([1 or 3, h, w] in [0, 1], alpha [h, w] or None)"""
    array = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        return np.nan_to_num(array, copy=False)[None], None
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return array[None] / np.float32(65535), None
    array = array / np.float32(255)
    if picture.mode == "L":
        return array[None], None
    array = array.transpose(2, 0, 1)
    if picture.mode in ("LA", "RGBA"):
        return array[:-1], array[-1]
    return array, None


def _shrunk(levels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Pillow widens the triangle filter when it shrinks: every pixel counts, nothing overshoots."""
    from PIL import Image

    factor = min(height / levels.shape[1], width / levels.shape[2])
    if factor >= 1:
        return levels
    size = max(1, round(levels.shape[2] * factor)), max(1, round(levels.shape[1] * factor))
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in levels]
    return np.stack([np.asarray(plane, np.float32) for plane in planes])
