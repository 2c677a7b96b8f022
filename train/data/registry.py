"""Data sets by name."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import DrawError
from ...models.config import ImageSize
from .dataset import Dataset
from .places import cache_root, expand_home

DATASETS: dict[str, str] = {
    "digits": "scikit-learn's 8x8 digits, grey; nothing to download",
    "mnist": "the fixed binarised MNIST files, 28x28: the paper's protocol",
    "mnist-dynamic": "MNIST binarised afresh at every batch, 28x28",
    "mnist-two-digit": "two MNIST digits, binarised, anywhere in 60x60",
    "svhn": "Street View house numbers, colour, 54x54 crops",
    "cifar10": "CIFAR-10, colour, 32x32",
    "images": "any folder of pictures, grey or colour, at a size of your choice",
    "labelled-images": "a folder of pictures for each class, grey or colour, at a size of your choice",
    "cluttered-mnist": "a digit among pieces of others, grey, 100x100, with labels",
}
# Made of MNIST's own digits, not of the fixed binarised files.
_OF_DIGITS = ("cluttered-mnist", "mnist-two-digit", "mnist-dynamic")
_ALIASES = {"binarized-mnist": "mnist"}


def load_dataset(
    name: str,
    data_dir: Path | None,
    device: torch.device | str,
    *,
    image_dir: Path | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    strength: float = 0.0,
    all_digits: bool = False,
    labels: tuple[str, ...] | None = None,
    validation_dir: Path | None = None,
    shift: int = 0,
    whole: bool = False,
) -> Dataset:
    """Load a data set onto a device.

    Args:
        name: one of :data:`DATASETS`.
        data_dir: the folder that holds ``mnist/``, ``binarized_mnist/``, ``cifar10/``, ``svhn/``. None: the
            environment's ``DRAW_DATA``, or else a folder of the user's cache.
        device: where pictures are kept and batches are made.
        image_dir: ``images`` and ``labelled-images`` only, as the next two: the folder of pictures.
        image_size: height and width in pixels.
        channels: 1 (grey) or 3 (colour, the default).
        labels, validation_dir, shift, whole: ``labelled-images`` only: see :func:`~.labelled_folder.load_labelled_folder`.
        strength: ``cluttered-mnist`` only: see :func:`~.cluttered.load_cluttered`.
        all_digits: ``cluttered-mnist``, ``mnist-two-digit`` and ``mnist-dynamic``: see
            :func:`~.mnist.with_validation`.

    Raises:
        DrawError: unknown name, options that do not fit it, or files that are missing or damaged.
    """
    name = _ALIASES.get(name, name)
    if name not in DATASETS:
        raise DrawError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    device = torch.device(device)
    if strength and name != "cluttered-mnist":
        raise DrawError(f"--deform is for cluttered-mnist, not for {name}")
    if all_digits and name not in _OF_DIGITS:
        raise DrawError(f"--all-digits is for {', '.join(_OF_DIGITS)}, not for {name}")
    if name in ("images", "labelled-images"):
        folder, size = _own_pictures(name, image_dir, image_size, channels)
        if name == "images":
            from .folder import load_folder

            if validation_dir is not None:
                raise DrawError("--validation-dir is for labelled-images: images holds some of its own back")
            return load_folder(folder, size, device)
        from .labelled_folder import load_labelled_folder

        validation = expand_home(validation_dir) if validation_dir else None
        return load_labelled_folder(
            folder, size, device, labels=labels, validation=validation, shift=shift, whole=whole
        )
    if any(option is not None for option in (image_dir, image_size, channels)):
        raise DrawError(
            f"a folder, size or channels of pictures can be chosen for images and labelled-images, not for {name}"
        )
    if name == "cluttered-mnist":
        from .cluttered import load_cluttered

        return load_cluttered(data_root(data_dir), device, strength=strength, all_digits=all_digits)
    if name == "digits":
        from .digits import load_digits

        return load_digits(device)
    loader = _loader(name)
    if all_digits:
        loader = functools.partial(loader, all_digits=True)
    return loader(data_root(data_dir), device)


def _loader(name: str) -> Callable[..., Dataset]:
    # Imported one by one: h5py and Pillow are not needed to train on MNIST.
    match name:
        case "mnist":
            from .mnist import load_binarised as load
        case "mnist-dynamic":
            from .mnist import load_dynamic as load
        case "mnist-two-digit":
            from .two_digit import load_two_digit as load
        case "cifar10":
            from .cifar import load_cifar10 as load
        case "svhn":
            from .svhn import load_svhn as load
        case _:
            raise AssertionError(name)
    return load


def _own_pictures(
    name: str, folder: Path | None, size: tuple[int, int] | None, channels: int | None
) -> tuple[Path, ImageSize]:
    if folder is None or size is None:
        raise DrawError(f"the data set {name} needs a folder and a size: --image-dir DIR --image-size H W")
    height, width = size
    if not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise DrawError(f"--image-size: {height} x {width} pixels; each side must be between 1 and 4096")
    channels = 3 if channels is None else channels
    if channels not in (1, 3):
        raise DrawError(f"--channels must be 1 (grey) or 3 (colour), not {channels}")
    return expand_home(folder), ImageSize(channels, height, width)


def data_root(data_dir: Path | None) -> Path:
    """The folder that holds the data sets: ``data_dir``, else ``$DRAW_DATA``, else one in the user's cache.

    Raises:
        DrawError: a folder was named that does not exist, or none was and the user has no home.
    """
    variable = os.environ.get("DRAW_DATA")
    named = data_dir or variable
    if not named:
        return cache_root()
    root = expand_home(Path(named))
    if not root.is_dir():
        # draw-train's option has the variable's value where that alone is given.
        said = "DRAW_DATA" if str(named) == variable else "--data-dir"
        raise DrawError(
            f"{said}: the folder {root} does not exist; create it to have data downloaded into it"
        )
    return root
