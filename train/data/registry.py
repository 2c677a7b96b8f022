"""Data sets by name."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ...errors import DrawError
from .dataset import Dataset

DATASETS: dict[str, str] = {
    "digits": "scikit-learn's 8x8 digits, grey; nothing to download",
    "mnist": "the fixed binarised MNIST files, 28x28: the paper's protocol",
    "mnist-dynamic": "MNIST binarised afresh at every batch, 28x28",
    "cluttered-mnist": "a digit among pieces of others, grey, 100x100, with labels",
}
_ALIASES = {"binarized-mnist": "mnist"}


def load_dataset(
    name: str,
    data_dir: Path | None,
    device: torch.device | str,
    *,
    image_dir: Path | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    download: bool = True,
) -> Dataset:
    """Load a data set onto a device.

    Args:
        name: one of :data:`DATASETS`.
        data_dir: the folder that holds ``mnist/``, ``binarized_mnist/``, ``cifar10/``, ``svhn/``. None: the
            environment's ``DRAW_DATA``, or else a folder of the user's cache.
        device: where pictures are kept and batches are made.
        image_dir: ``images`` only: the folder of pictures.
        image_size: ``images`` only: height and width in pixels.
        channels: ``images`` only: 1 (grey) or 3 (colour).
        download: fetch what is missing. Without it a missing file is an error at once.

    Raises:
        DrawError: unknown name, options that do not fit it, or files that are missing or damaged.
    """
    name = _ALIASES.get(name, name)
    if name not in DATASETS:
        raise DrawError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    device = torch.device(device)
    if name == "digits":
        from .digits import load_digits

        return load_digits(device)
    root = data_root(data_dir)
    if name == "cluttered-mnist":
        from .cluttered import load_cluttered

        return load_cluttered(root, device, download)
    from .mnist import load_binarised, load_dynamic

    return (load_binarised if name == "mnist" else load_dynamic)(root, device, download)


def data_root(data_dir: Path | None) -> Path:
    """The folder that holds the data sets: ``data_dir``, else ``$DRAW_DATA``, else one in the user's cache.

    Raises:
        DrawError: a folder was named that does not exist.
    """
    named = data_dir or os.environ.get("DRAW_DATA")
    if not named:
        from pooch import os_cache

        return Path(os_cache("draw-onnx"))
    root = Path(named).expanduser()
    if not root.is_dir():
        said = "--data-dir" if data_dir else "DRAW_DATA"
        raise DrawError(
            f"{said}: the folder {root} does not exist; create it to have data downloaded into it"
        )
    return root
