"""Finding files in the format of MNIST as programs leave them, MNIST's own or another set's.

- the official idx files, gzipped or not, also as torchvision keeps them (``MNIST/raw``, ``FashionMNIST/raw``) and as
  Kaggle names them (``train-images.idx3-ubyte``, or a folder of the file's name around it): MNIST, Fashion-MNIST and
  Kuzushiji-MNIST
- EMNIST's (``emnist-letters-train-images-idx3-ubyte``), whose pictures lie on their side
- Keras's ``mnist.npz``: ``x_train``, ``y_train``, ``x_test``, ``y_test``
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DrawError
from ...files import reading
from ...runtime.pictures.labelled import read_arrays
from .dataset import Pictures
from .downloads import fetch_file, is_official, places
from .idx import read_labels, read_pictures

TRAIN, TEST = "train", "t10k"
_KINDS = {"images": 3, "labels": 1}  # and their axes
_FILE = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx\d-ubyte(\.gz)?")
_NPZ = "mnist.npz"
_MAX_CLASSES = 256


@dataclass(frozen=True)
class _Place:
    """A folder with files of one set, by part and kind; or an npz file, and none."""

    where: Path
    files: dict[tuple[str, str], Path]
    prefix: str = ""


def read_part(root: Path, part: str, labelled: bool) -> Pictures:
    """The training (:data:`TRAIN`) or test (:data:`TEST`) pictures [n, 1, 28, 28], their labels and names of the classes.

    All files are taken from the first place that has any. Where there is none MNIST's own are downloaded.

    Args:
        labelled: labels are needed. Otherwise they may be missing.

    Raises:
        DrawError: several sets in one place, a file is missing (and could not be downloaded) or damaged.
    """
    place = _find(root)
    if place is None:
        looked = f"{', '.join(map(str, _folders(root)))} (idx files, or {_NPZ})"
        kinds = _KINDS if labelled else ("images",)
        files = {(part, kind): fetch_file(root, f"mnist/{_official(part, kind)}", looked) for kind in kinds}
        place = _Place(root / "mnist", files)
    if not place.files:
        return _from_npz(place.where, part, labelled)
    pictures = read_pictures(_file(place, part, "images"))
    # EMNIST's pictures come as MATLAB stores them, columns first. Other sets have a name in front too (QMNIST).
    if place.prefix.startswith("emnist-"):
        pictures = np.ascontiguousarray(pictures.swapaxes(2, 3))
    if not labelled and (part, "labels") not in place.files:
        return Pictures(pictures)
    path = _file(place, part, "labels")
    numbers = read_labels(path, len(pictures), _MAX_CLASSES)
    names = _names(place.prefix, int(numbers.max()))
    if place.prefix.startswith("emnist-letters"):
        numbers = numbers - 1  # a is 1
        if numbers.min() < 0:
            raise DrawError(f"{path} has the label 0; EMNIST's letters are 1 to 26")
    return Pictures(pictures, numbers, names=names)


def _names(prefix: str, largest: int) -> tuple[str, ...]:
    """Of the classes: digits, and EMNIST's letters."""
    if prefix.startswith("emnist-letters"):
        return tuple(string.ascii_lowercase)
    if prefix.startswith("emnist-byclass"):
        return tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
    if prefix.startswith(("emnist-balanced", "emnist-bymerge")):
        return tuple(string.digits + string.ascii_uppercase + "abdefghnqrt")
    return tuple(map(str, range(max(10, largest + 1))))


def _find(root: Path) -> _Place | None:
    for folder in _folders(root):
        if (folder / _NPZ).is_file():
            return _Place(folder / _NPZ, {})
        sets: dict[str, dict[tuple[str, str], Path]] = {}
        for name, path in _listed(folder):
            match = _FILE.fullmatch(name)
            if match:
                part = TRAIN if match["part"] == TRAIN else TEST
                files = sets.setdefault(match["set"], {})
                # Sorted: a gzipped file, which is the official one, wins over an unpacked one.
                files[part, match["kind"]] = path
        if len(sets) > 1:
            names = ", ".join(sorted(name.rstrip("-") or "MNIST" for name in sets))
            raise DrawError(
                f"{folder} holds several sets ({names}): put the one that is meant into a folder of its own,"
                " and name that with --data-dir"
            )
        for prefix, files in sets.items():
            return _Place(folder, files, prefix)
    return None


def _listed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and files; Kaggle's archive has folders of a file's name around it."""
    with reading(folder), suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            inner = path / path.name
            if path.is_file():
                yield path.name, path
            elif inner.is_file():
                yield path.name, inner


def _folders(root: Path) -> list[Path]:
    """Where the files may lie, best first: in the data folder, or in it where it is the set's own."""
    return [*places(root, "mnist"), root / "mnist" / "raw", root / "MNIST" / "raw", root / "raw"]


def _official(part: str, kind: str) -> str:
    return f"{part}-{kind}-idx{_KINDS[kind]}-ubyte.gz"


def _file(place: _Place, part: str, kind: str) -> Path:
    path = place.files.get((part, kind))
    if path is None:
        name = _official(part, kind)
        if any(is_official(place.where.parent, f"mnist/{path.name}") for path in place.files.values()):
            return fetch_file(place.where.parent, f"mnist/{name}", str(place.where))
        there = ", ".join(path.name for path in place.files.values())
        raise DrawError(f"{place.where} has no {place.prefix}{name} beside {there}")
    return path


def _from_npz(path: Path, part: str, labelled: bool) -> Pictures:
    ending = "train" if part == TRAIN else "test"
    x, y = f"x_{ending}", f"y_{ending}"
    arrays = read_arrays(path, [x, y]) if labelled else read_arrays(path, [x], [y])
    pictures = arrays[x]
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (28, 28) or not len(pictures):
        raise DrawError(f"{path}: {x} must be bytes [n, 28, 28], not {pictures.dtype} {list(pictures.shape)}")
    if y not in arrays:
        return Pictures(pictures[:, None])
    numbers = arrays[y]
    if numbers.shape != (len(pictures),) or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise DrawError(f"{path}: {y} must be {len(pictures):,} class numbers")
    if numbers.max() >= _MAX_CLASSES:
        raise DrawError(
            f"{path}: {y} has the class number {numbers.max()}; up to {_MAX_CLASSES - 1} are read"
        )
    return Pictures(pictures[:, None], numbers.astype(np.int64), names=_names("", int(numbers.max())))
