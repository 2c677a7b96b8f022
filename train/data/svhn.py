"""SVHN format 1: photographs of whole house numbers, with a box around every digit (section 4.4 of the paper).

Prepared as the paper does, after Goodfellow et al. (2013): the smallest box around all digits, enlarged by 30 %
about its centre in both directions and clipped to the photograph, resized to 64 x 64; random 54 x 54 crops in
training, the centre crop (offset 5) in evaluation. The resizing samples the box at its exact, fractional edges.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from ...runtime.pictures.reading import open_picture
from .dataset import Batch, Dataset, Pictures, Split
from .digit_struct import HouseNumber, read_digit_struct
from .downloads import SVHN_TEST, SVHN_TRAIN, find_folder
from .prepared import cached_arrays, each, listing
from .stream import SVHN_SPLIT, permutation

STORED, CROP = 64, 54
ENLARGE = 1.3
MAX_VALID = 4_701  # the paper's validation set, of 235,754 pictures of train and extra together
TRAIN_IMAGES, TEST_IMAGES = 33_402, 13_068
_RULE = "1: box x 1.3, clipped, bilinear 64 x 64"  # part of the cache's key: change it with the preparation


def load_svhn(root: Path, device: torch.device) -> Dataset:
    """``svhn``: colour intensities / 255 as Bernoulli means, 54 x 54, no labels.

    Trains on ``svhn/train`` and, where that folder lies beside it, ``svhn/extra`` (the paper used both; it is
    not downloaded: 1.9 GB). A tenth, at most 4,701 pictures, chosen by a fixed shuffle, validates.

    Raises:
        DrawError: files could not be downloaded, or are damaged.
    """
    folder = find_folder(root, "svhn/train", "digitStruct.mat", SVHN_TRAIN)
    images = prepare_folder(folder)
    notes = [] if len(images) == TRAIN_IMAGES else [f"{len(images):,} of {TRAIN_IMAGES:,} training images"]
    extra = folder.parent / "extra"
    if (extra / "digitStruct.mat").is_file():
        more = prepare_folder(extra)
        images = np.concatenate([images, more])
        notes.append(f"with {len(more):,} extra training images")
    order = permutation(SVHN_SPLIT, len(images))
    count = max(1, min(MAX_VALID, len(images) // 10))
    train = Pictures(images[order[count:]]).on(device)
    valid = Pictures(images[order[:count]]).on(device)

    def test() -> Split:
        found = find_folder(root, "svhn/test", "digitStruct.mat", SVHN_TEST)
        return centre_crops(Pictures(prepare_folder(found)).on(device))

    # The test pictures are prepared when they are asked for, but the note must be known now.
    test_folder = folder.parent / "test"
    if (test_folder / "digitStruct.mat").is_file():
        found = sum(1 for _ in test_folder.glob("*.png"))
        if found != TEST_IMAGES:
            notes.append(f"{found:,} of {TEST_IMAGES:,} test images")
    return Dataset(
        name="svhn",
        image=ImageSize(3, CROP, CROP),
        train=train,
        evaluations={
            "train": lambda: centre_crops(train),
            "valid": lambda: centre_crops(valid),
            "test": test,
        },
        binary=False,
        picture_fit=COVER,
        draw=draw_crops,
        note=", ".join(notes),
    )


def draw_crops(train: Split, indices: torch.Tensor, generator: torch.Generator) -> Batch:
    """A training batch of random crops; one draw: the upper left corners [k, 2], row before column."""
    corners = torch.randint(STORED - CROP + 1, (len(indices), 2), generator=generator, device=indices.device)
    windows = train.images.unfold(2, CROP, 1).unfold(3, CROP, 1)  # a view: [n, 3, 11, 11, 54, 54]
    return Batch(train.intensities(windows[indices, :, corners[:, 0], corners[:, 1]]))


def centre_crops(stored: Split) -> Split:
    start = (STORED - CROP) // 2
    return Split(stored.images[:, :, start : start + CROP, start : start + CROP])


def prepare_folder(folder: Path) -> np.ndarray:
    """The prepared photographs of one folder, uint8 [n, 3, 64, 64], in the order of its digitStruct.mat."""
    boxes = folder / "digitStruct.mat"

    def prepare() -> dict[str, np.ndarray]:
        numbers = read_digit_struct(boxes)
        text = f"preparing {folder.name} pictures"
        pictures = each(numbers, lambda number: prepare_picture(folder, number), text)
        return {"images": np.stack(pictures)}

    # Reading the boxes takes as long as decoding the photographs, so the key goes by the files.
    state = [hashlib.sha256(boxes.read_bytes()).hexdigest(), *listing(folder, folder.glob("*.png"))]
    source = [_RULE, str(folder.resolve())]

    def fits(arrays: dict[str, np.ndarray]) -> bool:
        return arrays["images"].shape[1:] == (3, STORED, STORED)

    return cached_arrays(f"svhn-{folder.name}", source, state, prepare, fits)["images"]


def prepare_picture(folder: Path, number: HouseNumber) -> np.ndarray:
    """One photograph's enlarged box, resized: uint8 [3, 64, 64]."""
    picture = open_picture(folder / number.name, channels=3)
    box = enlarged_box(number.boxes, picture.width, picture.height)
    if box is None:
        raise DrawError(
            f"{folder / number.name}: its digits' boxes in digitStruct.mat lie outside the picture"
        )
    resized = picture.resize((STORED, STORED), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized).transpose(2, 0, 1)


def enlarged_box(boxes: np.ndarray, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of the box around ``boxes`` x 1.3, clipped to the picture; None if nothing is left."""
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    right, bottom = (boxes[:, 0] + boxes[:, 2]).max(), (boxes[:, 1] + boxes[:, 3]).max()
    more_x, more_y = (ENLARGE - 1) / 2 * (right - left), (ENLARGE - 1) / 2 * (bottom - top)
    left, right = max(left - more_x, 0.0), min(right + more_x, width)
    top, bottom = max(top - more_y, 0.0), min(bottom + more_y, height)
    if right - left < 1 or bottom - top < 1:
        return None
    return float(left), float(top), float(right), float(bottom)
