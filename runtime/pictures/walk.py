"""Which files of a folder are pictures: the one answer for training, draw-classify and draw-score."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DrawError
from .reading import FORMATS, NAMED_FORMATS

_SHOWN = 6  # reasons in a message
_ALIASES = "links to folders that are read"


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes, in small letters with their dot, of the formats that are read, as Pillow knows them."""
    from PIL import Image

    return frozenset(
        suffix
        for suffix, name in Image.registered_extensions().items()
        if name in (*FORMATS, *NAMED_FORMATS) and name in Image.OPEN
    )


@dataclass(frozen=True)
class Walk:
    """The pictures of a folder and of the folders in it."""

    folder: Path
    files: tuple[Path, ...]  # sorted by their path inside the folder
    passed_over: Counter[str]  # why, and how many files

    def label(self, file: Path) -> str | None:
        """The folder below :attr:`folder` that a file lies in, however deep; None for one that lies beside them."""
        parts = file.relative_to(self.folder).parts
        return parts[0] if len(parts) > 1 else None

    def line(self, more: Mapping[str, int] | None = None) -> str:
        """``photos: 120 pictures found, 8 files passed over (5 .txt, 3 hidden)``.

        ``more`` were passed over since: it says how many were used then.
        """
        later = Counter(more or {})
        reasons = self.passed_over + later
        used, count = len(self.files) - later.total(), reasons.total()
        text = f"{self.folder}: {used:,} picture{'s' * (used != 1)} {'found' if more is None else 'used'}"
        return (
            f"{text}, {count:,} file{'s' * (count != 1)} passed over ({_listed(reasons)})" if count else text
        )


def _listed(reasons: Counter[str]) -> str:
    shown = reasons.most_common(_SHOWN)
    parts = [f"{count:,} {reason}" for reason, count in shown]
    rest = reasons.total() - sum(count for _, count in shown)
    return ", ".join([*parts, f"{rest:,} others"] if rest else parts)


def walk(folder: str | os.PathLike[str]) -> Walk:
    """All pictures, by suffix. Hidden files and folders are passed over (``.DS_Store``, ``._x``), what is no picture,
    and what draw-train has drawn: a run folder may lie among the pictures that it is trained on.

    Symbolic links to folders are followed, but for those to a folder that is walked by its own name: its pictures are of
    the class that this names. No folder is entered twice.

    Raises:
        DrawError: a folder cannot be read.
    """
    root = Path(folder)
    known, files, reasons = suffixes(), [], Counter()
    real_root = os.path.realpath(root)
    entered: set[tuple[int, int]] = set()

    def fail(error: OSError) -> None:
        raise DrawError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error

    for parent, folders, names in os.walk(root, onerror=fail, followlinks=True):
        status = os.stat(parent)
        # Windows gives no number to folders of some disks: there a link back is the system's own error.
        if status.st_ino and (status.st_dev, status.st_ino) in entered:
            folders[:] = []
            reasons[_ALIASES] += 1
            continue
        entered.add((status.st_dev, status.st_ino))
        reasons["hidden"] += sum(name.startswith(".") for name in folders)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        aliases = {name for name in folders if _is_alias(os.path.join(parent, name), real_root)}
        reasons[_ALIASES] += len(aliases)
        folders[:] = [name for name in folders if name not in aliases]
        # Of the two checkpoints one may be gone: its best weights, or what it went on from.
        if "samples" in folders and "metrics.csv" in names and {"best.ckpt", "last.ckpt"} & set(names):
            folders.remove("samples")
            reasons["samples of a run"] += 1
        for name in names:
            path = Path(parent, name)
            if reason := _reason(path, known):
                reasons[reason] += 1
            else:
                files.append(path)
    files.sort(key=lambda path: path.relative_to(root).as_posix())
    return Walk(root, tuple(files), +reasons)


def _is_alias(folder: str, real_root: str) -> bool:
    """Whether it is a link to a folder below the root, none of them hidden, which is walked by its own name."""
    if not os.path.islink(folder):
        return False
    try:
        parts = Path(os.path.realpath(folder)).relative_to(real_root).parts
    except ValueError:  # it lies elsewhere
        return False
    return not any(part.startswith(".") for part in parts)


def _reason(path: Path, known: frozenset[str]) -> str:
    """Why a file is passed over; nothing where it is a picture by its name."""
    if path.name.startswith("."):
        return "hidden"
    suffix = path.suffix.lower()
    if suffix not in known:
        return suffix if suffix.isascii() and suffix.isprintable() and len(suffix) > 1 else "without a suffix"
    if not path.exists():
        return "links that lead nowhere"
    return "" if path.is_file() else "no files"


def picture_paths(arguments: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are, folders as the pictures in them (:func:`walk`).

    Raises:
        DrawError: nothing there, or a folder without pictures.
    """
    return [path for part in walks(arguments) for path in part.files]


def walks(arguments: Iterable[str | os.PathLike[str]]) -> list[Walk]:
    """Of each argument: what a folder holds, or a file alone.

    Raises:
        DrawError: nothing there, or a folder without pictures.
    """
    found: list[Walk] = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            part = walk(argument)
            if not part.files:
                raise DrawError(no_pictures(part))
            found.append(part)
        elif not argument.exists():
            raise DrawError(f"no picture at {argument}")
        else:
            found.append(Walk(argument.parent, (argument,), Counter()))
    return found


def no_pictures(empty: Walk) -> str:
    """What to say of a folder without any."""
    listed = f"; passed over: {_listed(empty.passed_over)}" if empty.passed_over else ""
    return f"no pictures in the folder {empty.folder} (known by their suffix, as .png, .jpg or .tif{listed})"
