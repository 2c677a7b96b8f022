"""Preparing picture files, many at once, and keeping them in the user's cache: thousands are decoded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from ... import console
from ...errors import DrawError
from ...files import atomic_write, make_folder, reading
from ...runtime.batches import map_in_order
from ...runtime.cpus import available_cpus
from .places import cache_root, remove_leftovers

Item = TypeVar("Item")
Result = TypeVar("Result")


def cached_arrays(
    name: str,
    source: object,
    state: object,
    prepare: Callable[[], dict[str, np.ndarray]],
    fits: Callable[[dict[str, np.ndarray]], bool] = lambda _: True,
) -> dict[str, np.ndarray]:
    """What ``prepare()`` gives, from the cache where the same was prepared before.

    Args:
        name: start of the file's name, for the reader of a folder listing.
        source: plain values that say what is prepared and how: which folder, which size. One file is kept of each.
        state: plain values that say what else the result depends on; a change of any prepares again.
        prepare: makes ``images``, uint8 [n, C, H, W], and what other arrays belong to them.
        fits: whether what the cache holds can be that.

    A damaged cache file is made anew; where the cache cannot be written, one line says so.
    """
    try:
        path = cache_folder() / f"{name}-{_digest(source, 12)}-{_digest(state, 24)}.npz"
    except DrawError as error:
        console.note(f"pictures are prepared again next time: {error}")
        return prepare()
    arrays = _load(path)
    if arrays is not None and fits(arrays):
        return arrays
    arrays = prepare()
    try:
        make_folder(path.parent)
        remove_leftovers(path.parent, f".{name}-*")
        with atomic_write(path) as file:
            # Without allow_pickle=False, which NumPy 1 keeps as one more array.
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    except (DrawError, OSError) as error:
        console.note(f"pictures are prepared again next time: {error}")
        return arrays
    console.note(f"prepared pictures are kept in {path} ({arrays['images'].nbytes / 1e6:,.1f} MB)")
    for older in path.parent.glob(f"{name}-{_digest(source, 12)}-*.npz"):
        if older != path:
            with suppress(OSError):  # Windows keeps a file that another process reads
                older.unlink()
    return arrays


def _digest(values: object, length: int) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:length]


def each(items: Sequence[Item], work: Callable[[Item], Result], text: str) -> list[Result]:
    """``work(item)`` for all items, in order, on a few threads (decoders release the lock), with a bar."""
    results: list[Result] = []
    with console.progress(text, len(items)) as bar:
        for result in map_in_order(work, items, min(4, available_cpus())):
            results.append(result)
            bar.advance()
    return results


def listing(folder: Path, paths: Iterable[Path]) -> list[list[str | int]]:
    """Name within ``folder``, size and time of change of each file, sorted by name: what a cache key goes by."""
    rows: list[list[str | int]] = []
    for path in paths:
        with reading(path):
            stat = path.stat()
        rows.append([path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns])
    return sorted(rows)


def cache_folder() -> Path:
    """Where prepared arrays are kept; raises DrawError where the user has no home."""
    return cache_root() / "prepared"


def _load(path: Path) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception:  # zipfile and NumPy raise whatever damaged bytes lead them to
        return None
    images = arrays.get("images")
    return arrays if images is not None and images.dtype == np.uint8 and images.ndim == 4 else None
