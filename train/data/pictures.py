"""Decoding picture files for training, many at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ... import console
from ...errors import DrawError
from ...runtime.pictures.reading import FORMATS, MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_picture(path: Path, channels: int) -> Image:
    """A picture as Pillow's ``L`` (1 channel) or ``RGB`` (3): upright, transparency over black.

    As :mod:`draw_onnx.runtime.pictures.reading` does for a trained model, but in whole bytes and at the picture's own
    size: camera rotation (EXIF) is applied, colour becomes grey by Rec. 601, 16-bit grey is divided by
    65535. Of an animation the first picture is taken.

    Raises:
        DrawError: missing, not a picture, damaged or cut off, or larger than 64 megapixels (said from the
            header, before anything is decoded).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with Image.open(path, formats=formats) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise DrawError(f"{path} has {width:,} x {height:,} pixels, more than 64 megapixels")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith(("I", "F")):
                return _from_wide(upright, channels)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
                upright = Image.alpha_composite(black, upright)
            # Palettes go through RGB: their direct way to grey rounds differently.
            return upright.convert("RGB").convert("RGB" if channels == 3 else "L")
    except DrawError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, met while opening
        raise DrawError(f"{path} has more than 64 megapixels") from error
    except UnidentifiedImageError as error:
        raise DrawError(f"{path} is not a picture ({', '.join(formats)})") from error
    except Exception as error:  # Pillow's decoders raise all kinds on damaged files
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DrawError(f"cannot read {path} as a picture: {' '.join(str(detail).split())}") from error


def _from_wide(picture: Image, channels: int) -> Image:
    """16-bit grey (modes I;16 and I) and floating point in [0, 1] (F) to eight bits."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    full = 1.0 if picture.mode == "F" else 65535.0
    grey = Image.fromarray((np.clip(values / full, 0, 1) * 255 + 0.5).astype(np.uint8))
    return grey.convert("RGB") if channels == 3 else grey


def each(items: Sequence[Item], work: Callable[[Item], Result], text: str) -> list[Result]:
    """``work(item)`` for all items, in order, on a few threads (decoders release the lock), with a bar."""
    results: list[Result] = []
    with (
        warnings.catch_warnings(),
        console.progress(text, len(items)) as bar,
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        warnings.simplefilter("ignore")  # Pillow's remarks about odd files; what matters is raised
        try:
            for result in pool.map(work, items):
                results.append(result)
                bar.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
