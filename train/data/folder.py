"""Any folder of picture files as a data set.

Every picture is resized, keeping its proportions, so that it just covers the model's size, and its centre is
cut out: a picture twice as wide as wanted loses a quarter on the left and on the right. Smaller pictures are
enlarged. Sorted by their path inside the folder, shuffled by a fixed stream and split: 5 % validate, 5 % test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ... import console
from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from ...runtime.pictures.cover import cover
from ...runtime.pictures.reading import open_picture
from ...runtime.pictures.walk import Walk, no_pictures, walk
from .dataset import Dataset, Pictures
from .prepared import cached_arrays, each, listing
from .stream import FOLDER_SPLIT, permutation

MAX_BYTES = 16 << 30  # of prepared pictures, which have to fit the device
_NAMED = 5  # unreadable files named one by one
_RULE = "2: cover, centre crop, bilinear"  # part of the cache's key: change it with the preparation


def load_folder(
    device: torch.device, *, image_dir: Path, image_size: tuple[int, int], channels: int = 3
) -> Dataset:
    """``images``: the pictures of ``image_dir`` and the folders in it; intensities / 255 as Bernoulli means.

    Unreadable ones are named, up to five, and left out; one line says how many were used, and what was passed over.

    Args:
        image_size: height and width in pixels, 1 to 4096.
        channels: 1 (grey) or 3 (colour).

    Raises:
        DrawError: no such folder, fewer than three readable pictures, more than fit 16 GiB, or a size or channels
            out of range.
    """
    size = checked_size(image_size, channels)
    found = find_pictures(image_dir, "--image-dir")
    images, files = prepared_pictures(found, found.files, size)
    order = permutation(FOLDER_SPLIT, len(images))
    held = max(1, len(images) // 20)
    if len(images) < 3:
        count = f"{len(images)} readable picture{'s' * (len(images) != 1)}"
        raise DrawError(f"{image_dir} holds {count}: at least three are needed")
    parts = {"train": order[2 * held :], "valid": order[:held], "test": order[held : 2 * held]}
    splits = {name: Pictures(images[part]).on(device) for name, part in parts.items()}
    left_out = len(found.files) - len(files)
    return Dataset(
        name="images",
        image=size,
        train=splits["train"],
        evaluations={name: (lambda split=split: split) for name, split in splits.items()},
        binary=False,
        picture_fit=COVER,
        note=f"{left_out:,} unreadable picture{'s' * (left_out != 1)} left out" if left_out else "",
    )


def checked_size(image_size: tuple[int, int], channels: int) -> ImageSize:
    """The size of pictures to prepare; raises DrawError where it is out of range."""
    height, width = image_size
    if not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise DrawError(f"--image-size: {height} x {width} pixels; each side must be between 1 and 4096")
    if channels not in (1, 3):
        raise DrawError(f"--channels must be 1 (grey) or 3 (colour), not {channels}")
    return ImageSize(channels, height, width)


def find_pictures(folder: Path, option: str) -> Walk:
    """The picture files of a folder that ``option`` names. Raises DrawError where there is no such folder, or none in it."""
    if not folder.is_dir():
        if folder.exists():
            raise DrawError(f"{option}: {folder} is no folder")
        raise DrawError(f"{option}: the folder {folder} does not exist")
    found = walk(folder)
    if not found.files:
        raise DrawError(no_pictures(found))
    return found


def prepared_pictures(
    found: Walk, files: Sequence[Path], size: ImageSize, passed_over: Mapping[str, int] | None = None
) -> tuple[np.ndarray, list[Path]]:
    """Some of a folder's files as uint8 [n, C, H, W], and those n files: unreadable ones are named and left out.

    One line says what was used and what was not; ``passed_over`` are files of ``found`` that the caller does not want.

    Raises:
        DrawError: none is readable, or they are more than fit 16 GiB.
    """
    folder = found.folder
    if len(files) * size.channels * size.height * size.width > MAX_BYTES:
        raise DrawError(
            f"{folder}: {len(files):,} pictures of that size take more than 16 GiB: choose a smaller size"
        )
    source = [_RULE, size.channels, size.height, size.width, str(folder.resolve())]

    failures: dict[Path, DrawError] = {}

    def prepared(path: Path) -> np.ndarray | None:
        try:
            return cover(open_picture(path, size.channels), size.width, size.height)
        except DrawError as error:
            failures[path] = error
            return None

    def prepare() -> dict[str, np.ndarray]:
        failures.clear()
        results = each(files, prepared, f"preparing pictures of {folder.name}")
        images = [result for result in results if result is not None]
        if images:
            return {"images": np.stack(images), "kept": np.array([result is not None for result in results])}
        _name(failures, files)
        raise DrawError(f"{folder} holds no readable picture")

    def fits(arrays: dict[str, np.ndarray]) -> bool:
        """Of these files, and what could not be read then cannot be now: permissions are no part of the key."""
        kept = arrays.get("kept", np.empty(0))
        shape = (int(kept.sum()), size.channels, size.height, size.width)
        if kept.dtype != np.bool_ or kept.shape != (len(files),) or arrays["images"].shape != shape:
            return False
        return all(prepared(path) is None for path, was_kept in zip(files, kept, strict=True) if not was_kept)

    arrays = cached_arrays("images", source, listing(folder, files), prepare, fits)
    _name(failures, files)
    kept = [path for path, is_kept in zip(files, arrays["kept"], strict=True) if is_kept]
    console.note(found.line({"unreadable": len(files) - len(kept), **(passed_over or {})}))
    return arrays["images"], kept


def _name(failures: Mapping[Path, DrawError], files: Sequence[Path]) -> None:
    """Say which files are left out, the first few by name."""
    named = [failures[path] for path in files if path in failures][:_NAMED]
    for error in named:
        console.note(f"left out: {error}")
    if len(failures) > len(named):
        console.note(f"left out: {len(failures) - len(named):,} more that cannot be read")
