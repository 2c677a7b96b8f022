"""Data sets by name, and which options each takes: the one answer for draw-train, draw-eval and Python."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from ...errors import DrawError
from .places import cache_root, expand_home

if TYPE_CHECKING:
    import torch

    from ...models.checkpoint import Checkpoint
    from ...runtime.metadata import Metadata
    from .dataset import Dataset


class DataOptions(TypedDict, total=False):
    """Options of single data sets, called as those of draw-train; None, 0 and False are as good as not given."""

    image_dir: Path | None  # the folder of pictures
    image_size: tuple[int, int] | None  # height and width in pixels, 1 to 4096
    channels: int | None  # 1 (grey) or 3 (colour, the default)
    validation_dir: Path | None  # see labelled_folder.py, as the next two
    whole: bool
    shift: int  # training pictures are moved by up to this many pixels (shift.py)
    deform: float  # training digits are deformed by this strength, 0 to 3 (deform.py)
    all_digits: bool  # train on the validation pictures too: see mnist.py


class Source(NamedTuple):
    """Where a data set comes from: ``function`` of ``module``, and the options that it takes."""

    module: str
    function: str
    options: tuple[str, ...] = ()
    in_root: bool = True  # whether its files lie in the folder of all data sets
    needs: tuple[tuple[str, str], ...] = ()  # options that have to be given, and what they are


_OWN = ("image_dir", "image_size", "channels")
_SIZE = ("image_size", "H W")
DATASETS: dict[str, Source] = {
    "digits": Source("digits", "load_digits", in_root=False),
    "mnist": Source("mnist", "load_binarised", ("shift", "all_digits")),
    "mnist-dynamic": Source("mnist", "load_dynamic", ("deform", "all_digits")),
    "mnist-two-digit": Source("two_digit", "load_two_digit", ("deform", "all_digits")),
    "svhn": Source("svhn", "load_svhn"),
    "cifar10": Source("cifar", "load_cifar10"),
    "images": Source(
        "folder",
        "load_folder",
        _OWN,
        in_root=False,
        needs=(("image_dir", "DIR, a folder of picture files"), _SIZE),
    ),
    "labelled-images": Source(
        "labelled_folder",
        "load_labelled_folder",
        (*_OWN, "validation_dir", "shift", "whole", "labels"),
        in_root=False,
        needs=(("image_dir", "DIR, with a folder of picture files for each class"), _SIZE),
    ),
    "cluttered-mnist": Source("cluttered", "load_cluttered", ("deform", "all_digits")),
}
_ALIASES = {"binarized-mnist": "mnist"}


def load_dataset(
    name: str,
    data_dir: Path | None,
    device: torch.device | str,
    *,
    labels: tuple[str, ...] | None = None,
    **options: Unpack[DataOptions],
) -> Dataset:
    """Load a data set onto a device.

    Args:
        name: one of :data:`DATASETS`.
        data_dir: the folder that holds ``mnist/``, ``binarized_mnist/``, ``cifar10/``, ``svhn/``. None: the
            environment's ``DRAW_DATA``, or else a folder of the user's cache.
        device: where pictures are kept and batches are made.
        labels: the classes of a trained model, for ``labelled-images``, whose own are otherwise its folders.
        options: see :class:`DataOptions`, and :data:`DATASETS` for which set takes which.

    Raises:
        DrawError: unknown name, options that do not fit it, or files that are missing or damaged.
    """
    import torch

    arguments: dict[str, Any] = {key: value for key, value in options.items() if value}
    check_options(name, arguments)
    source = find_source(name)
    for folder in arguments.keys() & {"image_dir", "validation_dir"}:
        arguments[folder] = expand_home(arguments[folder])
    if source.in_root:
        arguments["root"] = data_root(data_dir)
    elif data_dir is not None and not is_environments(data_dir):
        data_root(data_dir)  # of no use here, but a folder that is named must exist
    if "labels" in source.options and labels:
        arguments["labels"] = labels
    # Imported one by one: h5py and Pillow are not needed to train on MNIST.
    load = getattr(importlib.import_module(f".{source.module}", __package__), source.function)
    return load(device=torch.device(device), **arguments)


def find_source(name: str) -> Source:
    """Raises DrawError for an unknown name, listing the known ones."""
    source = DATASETS.get(_ALIASES.get(name, name))
    if source is None:
        raise DrawError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    return source


def check_options(name: str, given: Iterable[str]) -> None:
    """Look at the :class:`DataOptions` that are given for a data set, by their names.

    Raises:
        DrawError: unknown name, an option of other data sets, or none that it needs.
    """
    source, given = find_source(name), list(given)
    for key in given:
        if key not in source.options:
            *most, last = [other for other, its in DATASETS.items() if key in its.options] or ["none"]
            sets = f"{', '.join(most)} and {last}" if most else last
            raise DrawError(f"{option_name(key)} is for {sets}, not for {name}")
    for key, what in source.needs:
        if key not in given:
            raise DrawError(f"{name} needs {option_name(key)} {what}")


def saw_validation(file: Checkpoint | Metadata, dataset: Dataset) -> bool:
    """Whether a file's weights were trained on what ``dataset`` holds back to validate with, by ``--all-digits``."""
    source = DATASETS.get(dataset.name)
    if file.dataset != dataset.name or source is None or "all_digits" not in source.options:
        return False
    return file.train_size == dataset.train_size + len(dataset.evaluation("valid"))


def option_name(key: str) -> str:
    """A parameter as one types it: ``--image-dir`` for ``image_dir``."""
    return "--" + key.replace("_", "-")


def is_environments(data_dir: Path) -> bool:
    """Whether it is what ``$DRAW_DATA`` says: the options have that value where they are not given."""
    variable = os.environ.get("DRAW_DATA")
    return bool(variable) and Path(variable) == data_dir


def data_root(data_dir: Path | None) -> Path:
    """The folder that holds the data sets: ``data_dir``, else ``$DRAW_DATA``, else one in the user's cache.

    Raises:
        DrawError: a folder was named that does not exist, or none was and the user has no home.
    """
    named = data_dir or os.environ.get("DRAW_DATA")
    if not named:
        return cache_root()
    root = expand_home(Path(named))
    if not root.is_dir():
        said = "DRAW_DATA" if is_environments(Path(named)) else "--data-dir"
        if os.path.lexists(root):
            raise DrawError(f"{said}: {root} is no folder")
        raise DrawError(
            f"{said}: the folder {root} does not exist; create it to have data downloaded into it"
        )
    return root
