"""Any folder of picture files as a data set.

Every picture is resized, keeping its proportions, so that it just covers the model's size, and its centre is
cut out: a picture twice as wide as wanted loses a quarter on the left and on the right. Smaller pictures are
enlarged. Sorted by their path inside the folder, shuffled by a fixed stream and split: 5 % validate, 5 % test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ... import console
from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from ...runtime.pictures.reading import cover, open_picture
from ...runtime.pictures.walk import no_pictures, walk
from .dataset import Dataset, Split
from .prepared import cached_images, each, listing
from .stream import FOLDER_SPLIT, permutation

MAX_BYTES = 16 << 30  # of prepared pictures, which have to fit the device
_NAMED = 5  # unreadable files named one by one
_RULE = "1: cover, centre crop, bilinear"  # part of the cache's key: change it with the preparation


def load_folder(folder: Path, size: ImageSize, device: torch.device) -> Dataset:
    """``images``: the pictures of ``folder`` and the folders in it; intensities / 255 as Bernoulli means.

    Unreadable ones are named, up to five, and left out; one line says how many were used, and what was passed over.

    Raises:
        DrawError: no such folder, fewer than three readable pictures, or more than fit 16 GiB.
    """
    if not folder.is_dir():
        raise DrawError(f"--image-dir: the folder {folder} does not exist")
    found = walk(folder)
    files = listing(folder, found.files)
    if not files:
        raise DrawError(no_pictures(found))
    if len(files) * size.channels * size.height * size.width > MAX_BYTES:
        raise DrawError(
            f"{folder}: {len(files):,} pictures of that size take more than 16 GiB: choose a smaller size"
        )

    source = [_RULE, size.channels, size.height, size.width, str(folder.resolve())]
    names = [str(file[0]) for file in files]
    images = cached_images("images", source, files, lambda: _prepare(folder, names, size))
    order = permutation(FOLDER_SPLIT, len(images))
    held = max(1, len(images) // 20)
    if len(images) < 3:
        raise DrawError(f"{folder} holds {len(images)} readable pictures: at least three are needed")
    parts = {"train": order[2 * held :], "valid": order[:held], "test": order[held : 2 * held]}
    splits = {name: Split(torch.from_numpy(images[part]).to(device)) for name, part in parts.items()}
    left_out = len(files) - len(images)
    console.note(found.line({"unreadable": left_out}))
    return Dataset(
        name="images",
        image=size,
        train=splits["train"],
        evaluations={name: (lambda split=split: split) for name, split in splits.items()},
        binary=False,
        picture_fit=COVER,
        note=f"{left_out:,} unreadable pictures left out" if left_out else "",
    )


def _prepare(folder: Path, names: list[str], size: ImageSize) -> np.ndarray:
    def prepare(name: str) -> np.ndarray | DrawError:
        try:
            return cover(open_picture(folder / name, size.channels), size.width, size.height)
        except DrawError as error:
            return error

    images, failures = [], 0
    for result in each(names, prepare, f"preparing pictures of {folder.name}"):
        if isinstance(result, DrawError):
            failures += 1
            if failures <= _NAMED:
                console.note(f"left out: {result}")
        else:
            images.append(result)
    if failures > _NAMED:
        console.note(f"left out: {failures - _NAMED:,} more that cannot be read")
    if not images:
        raise DrawError(f"{folder} holds no readable picture")
    return np.stack(images)
