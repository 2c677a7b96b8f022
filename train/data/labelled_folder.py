"""A folder with one folder of pictures a class as a data set with labels.

Pictures are prepared as those of :mod:`.folder`. The class of a picture is the folder below the top one that it lies
in, however deep; classes are numbered in the order of their names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import COVER
from .dataset import Batch, Dataset, Pictures, Split
from .folder import find_pictures, prepared_pictures
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
        if "," in name or not name.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DrawError(f"{folder}: the class {name!r} has a comma or an unprintable letter in its name")
    return tuple(names)


def load_labelled_folder(
    folder: Path,
    size: ImageSize,
    device: torch.device,
    *,
    labels: tuple[str, ...] | None = None,
    validation: Path | None = None,
    shift: int = 0,
    whole: bool = False,
) -> Dataset:
    """``labelled-images``: pictures with the names of their folders; intensities / 255.

    Of each class a tenth validates and a tenth tests, one picture at least, by a fixed shuffle. With ``validation``, a
    folder like the first, its pictures do: of each class one half validates and the other tests.

    Args:
        labels: the classes of a trained model, to which those of the folder must belong. None: the folder's.
        whole: only to evaluate: the one split ``all`` has every picture of ``folder``, however few.
        shift: training pictures are moved by up to this many pixels in both directions; their edges are repeated.

    Raises:
        DrawError: no such folder, other classes, or too few pictures in one.
    """
    names = labels or class_names(folder)
    data = _read(folder, "--image-dir", names, size)
    evaluations: dict[str, Callable[[], Split]]
    balance = ""
    if whole:
        stored = data.on(device)
        evaluations = {"all": lambda: stored}
    else:
        if validation is None:
            parts = _split(data, names, {"valid": 10, "test": 10}, str(folder))
            train, held = parts.pop("train"), data
        else:
            held = _read(validation, "--validation-dir", names, size)
            parts = _split(held, names, {"valid": 2}, str(validation))
            parts["test"] = parts.pop("train")
            train = np.arange(len(data))
            _check_counts(data, names, 1, str(folder))
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


def draw_shifted(train: Split, indices: Tensor, generator: torch.Generator, shift: int) -> Batch:
    """A training batch, each picture moved by its own whole number of pixels, -shift..shift a side, drawn [k, 2]."""
    batch = train.take(indices)
    if not shift:
        return batch
    count, _, height, width = batch.images.shape
    device = batch.images.device
    moved = torch.randint(-shift, shift + 1, (count, 2, 1), generator=generator, device=device)
    rows = (torch.arange(height, device=device) + moved[:, 0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + moved[:, 1]).clamp(0, width - 1)
    pictures = torch.arange(count, device=device)[:, None, None]
    # [k, H, W, C] by three index arrays, and back
    return Batch(
        batch.images.permute(0, 2, 3, 1)[pictures, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2),
        batch.labels,
    )


def _read(folder: Path, option: str, names: tuple[str, ...], size: ImageSize) -> Pictures:
    found = find_pictures(folder, option)
    inside = [path for path in found.files if found.label(path)]
    unknown = sorted({str(found.label(path)) for path in inside} - set(names))
    if unknown:
        raise DrawError(f"{folder}: {_listed(unknown)} is none of the classes {_listed(names)}")
    beside = len(found.files) - len(inside)
    images, files = prepared_pictures(found, inside, size, {"beside the class folders": beside})
    numbers = {name: k for k, name in enumerate(names)}
    return Pictures(images, np.array([numbers[str(found.label(path))] for path in files], np.int64))


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
