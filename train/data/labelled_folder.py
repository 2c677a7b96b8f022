"""A folder with one folder of pictures a class as a data set with labels.

Pictures are prepared as those of :mod:`.folder`. The class of a picture is the folder below the top one that it lies
in, however deep; classes are numbered in the order of their names.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ...console import note
from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from .dataset import Dataset, Pictures, Split
from .folder import checked_size, find_pictures, prepared_pictures
from .shift import draw_shifted
from .stream import LABELLED_SPLIT, permutation

_SHOWN = 8  # classes in a message


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the folders in ``folder`` that hold pictures, sorted.

    Raises:
        DrawError: no such folder, fewer than two classes, or names that cannot be stored.
    """
    found = find_pictures(folder, "--image-dir")
    names = sorted({name for name in map(found.label, found.files) if name})
    if len(names) < 2:
        raise DrawError(
            f"{folder} needs a folder of pictures for each of at least two classes; it has"
            f" {f'one, {names[0]}' if names else 'pictures in no folder below it'}"
        )
    for name in names:
        if not name.strip():
            raise DrawError(f"{folder}: the class {name!r} has a name of blanks")
        if "," in name or not name.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DrawError(f"{folder}: the class {name!r} has a comma or an unprintable letter in its name")
    return tuple(names)


def load_labelled_folder(
    device: torch.device,
    *,
    image_dir: Path,
    image_size: tuple[int, int],
    channels: int = 3,
    labels: tuple[str, ...] | None = None,
    validation_dir: Path | None = None,
    shift: int = 0,
    whole: bool = False,
) -> Dataset:
    """``labelled-images``: pictures with the names of their folders; intensities / 255.

    Of each class a tenth validates and a tenth tests, one picture at least, by a fixed shuffle. With
    ``validation_dir``, a folder like the first, its pictures do: of each class one half validates and the other tests.

    Args:
        image_size, channels: see :func:`~.folder.load_folder`.
        labels: the classes of a trained model, to which those of the folder must belong. None: the folder's.
        shift: training pictures are moved by up to this many pixels in both directions (shift.py).
        whole: only to evaluate: the one split ``all`` has every picture of ``image_dir``, however few.

    Raises:
        DrawError: no such folder, other classes, too few pictures in one, or a size or channels out of range.
    """
    size = checked_size(image_size, channels)
    if whole and validation_dir is not None:
        raise DrawError("--validation-dir: the split all is every picture of --image-dir, leave it out")
    names = labels or class_names(image_dir)
    data, files = _read(image_dir, "--image-dir", names, size)
    evaluations: dict[str, Callable[[], Split]]
    balance = ""
    if whole:
        stored = data.on(device)
        evaluations = {"all": lambda: stored}
    else:
        if validation_dir is None:
            parts = _split(data, names, {"valid": 10, "test": 10}, str(image_dir))
            train, held = parts.pop("train"), data
        else:
            held, held_files = _read(validation_dir, "--validation-dir", names, size)
            _say_shared(files, held_files)
            parts = _split(held, names, {"valid": 2}, str(validation_dir))
            parts["test"] = parts.pop("train")
            train = np.arange(len(data))
            _check_counts(data, names, 1, str(image_dir))
        stored = data[train].on(device)
        balance = _balance(names, data.labels[train])
        evaluations = {
            "train": lambda: stored,
            "valid": lambda: held[parts["valid"]].on(device),
            "test": lambda: held[parts["test"]].on(device),
        }
    return Dataset(
        name="labelled-images",
        image=size,
        train=stored,
        evaluations=evaluations,
        binary=False,
        labels=names,
        draw=functools.partial(draw_shifted, shift=shift),
        picture_fit=COVER,
        balance=balance,
    )


def _read(
    folder: Path, option: str, names: tuple[str, ...], size: ImageSize
) -> tuple[Pictures, Sequence[Path]]:
    """The pictures of the class folders with their class numbers, and their files."""
    found = find_pictures(folder, option)
    inside = [path for path in found.files if found.label(path)]
    unknown = sorted({str(found.label(path)) for path in inside} - set(names))
    if unknown:
        raise DrawError(f"{folder}: {_listed(unknown)} is none of the classes {_listed(names)}")
    beside = len(found.files) - len(inside)
    if not inside:
        count = f"{beside:,} picture{'s' * (beside != 1)}"
        raise DrawError(
            f"{option}: {folder} has {count} beside the class folders and none in one; a picture belongs into"
            f" {folder / 'CLASS'}, where CLASS is one of {_listed(names)}"
        )
    images, files = prepared_pictures(found, inside, size, {"beside the class folders": beside})
    numbers = {name: k for k, name in enumerate(names)}
    return Pictures(images, np.array([numbers[str(found.label(path))] for path in files], np.int64)), files


def _say_shared(trained: Sequence[Path], held: Sequence[Path]) -> None:
    """One line where pictures that are held out are trained on, through links as well."""
    both = {*map(os.path.realpath, trained)} & {*map(os.path.realpath, held)}
    if both:
        note(
            f"--validation-dir: {len(both):,} of its {len(held):,} pictures are those of --image-dir: figures say nothing of"
            " new ones"
        )


def _split(data: Pictures, names: Sequence[str], shares: dict[str, int], where: str) -> dict[str, np.ndarray]:
    """Rows of each part, one ``share``-th of every class; ``train`` is what is left, never nothing."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*shares, "train")}
    order = permutation(LABELLED_SPLIT, len(data.labels))
    _check_counts(data, names, len(shares) + 1, where)
    for label in range(len(names)):
        rows = order[data.labels[order] == label]
        begin = 0
        for name, share in shares.items():
            end = begin + max(1, len(rows) // share)
            parts[name].append(rows[begin:end])
            begin = end
        parts["train"].append(rows[begin:])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def _check_counts(data: Pictures, names: Sequence[str], needed: int, where: str) -> None:
    counts = np.bincount(data.labels, minlength=len(names))
    few = [name for name, count in zip(names, counts, strict=True) if count < needed]
    if few:
        pictures = f"{needed} pictures" if needed > 1 else "a picture that can be read"
        raise DrawError(f"{where}: each class needs {pictures}; too few are in {_listed(few)}")


def _balance(names: Sequence[str], labels: np.ndarray) -> str:
    """How many training pictures the classes have."""
    counts = np.bincount(labels, minlength=len(names))
    least, most = int(counts.argmin()), int(counts.argmax())
    text = f"{len(names)} classes, {len(labels):,} pictures to train on"
    if counts[least] == counts[most]:
        return f"{text}, {counts[least]:,} each"
    return f"{text}: {counts[least]:,} ({names[least]}) to {counts[most]:,} ({names[most]}) each"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
