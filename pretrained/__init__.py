"""Trained models shipped with the package, found by name; see the cards (``*.md``) beside them."""

from __future__ import annotations

import atexit
import functools
import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

from ..errors import DrawError
from ..files import reading

# What is packaged under a name that a command looks for: weights are shipped as safetensors.
_SUFFIXES = {".onnx": (".onnx",), ".ckpt": (".safetensors", ".ckpt")}

_IN_FOLDERS = {
    ".onnx": ("decoder.onnx", "classifier.onnx", "scorer.onnx"),
    ".ckpt": ("model.safetensors",),
}


def packaged_models(suffix: str) -> list[str]:
    """Names of the packaged files of a kind: ``.onnx``, or ``.ckpt`` for weights in either container."""
    return sorted(_packaged(suffix))


def _packaged(suffix: str) -> dict[str, str]:
    """Names and file names; of two files with the same name the first suffix wins."""
    items = [item.name for item in files(__name__).iterdir()]
    found: dict[str, str] = {}
    for each in _SUFFIXES[suffix]:
        for name in items:
            if name.endswith(each):
                found.setdefault(name.removesuffix(each), name)
    return found


@functools.cache
def _on_disk(name: str) -> Path:
    """A packaged file as a path. Where the package is imported from a zip it is unpacked until the process ends."""
    item = files(__name__) / name
    if isinstance(item, Path):
        return item
    kept = ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(as_file(item))


def find_packaged(path: str | os.PathLike[str], suffix: str, what: str, inside: Sequence[str] = ()) -> Path:
    """The file of a path, of a bare name among the packaged models, or in a folder that ``draw-export --hub`` wrote.

    A packaged name wins over a file of that name without a suffix; a path with a folder or a suffix is a path.

    Args:
        suffix: ``.onnx``, or ``.ckpt`` for weights in either container.
        what: how messages call it: "model", "checkpoint".
        inside: which file of such a folder, best first; any of the kind unless given.

    Raises:
        DrawError: there is none, or it is a folder; lists the packaged names.
    """
    text = os.fspath(path)
    if not text:  # as a path it would be the current folder
        raise DrawError(f"the name of the {what} is empty")
    bare = isinstance(path, str) and not text.endswith(_SUFFIXES[suffix]) and Path(text).name == text
    shipped = _packaged(suffix) if bare else {}
    if text in shipped:
        return _on_disk(shipped[text])
    with reading(text):
        return _found(text, bare, suffix, what, inside)


def _found(text: str, bare: bool, suffix: str, what: str, inside: Sequence[str]) -> Path:
    found = Path(text)
    if found.is_dir() and (found / "config.json").is_file():
        wanted = inside or _IN_FOLDERS[suffix]
        there = [found / name for name in wanted if (found / name).is_file()]
        if there:
            return there[0]
        raise DrawError(f"the folder {text} holds no {wanted[0]}")
    if found.is_dir():
        best, hint = found / "best.ckpt", ""
        if best.is_file():  # a run of draw-train
            make = f"; make one: draw-export --ckpt {shlex.quote(str(best))} -o model.onnx"
            hint = f": give {best}" if suffix == ".ckpt" else make
        raise DrawError(f"{text} is a folder, not a {what}{hint}")
    if not found.exists():
        if bare and suffix == ".ckpt" and text in _packaged(".onnx"):
            raise DrawError(
                f"the weights of {text} are too large for the package, which has its ONNX file:"
                f" give the path of pretrained/{text}.safetensors in a checkout"
            )
        known = ", ".join(packaged_models(suffix))
        packaged = f"packaged models: {known}" if known else "no models are packaged with this version"
        raise DrawError(f"no {what} {text} ({packaged})" if bare else f"no {what} at {text} ({packaged})")
    return found


def hub_models(folder: str | os.PathLike[str]) -> list[Path]:
    """The ONNX files of a folder that ``draw-export --hub`` wrote; of others none."""
    found = Path(folder)
    names = _IN_FOLDERS[".onnx"] if (found / "config.json").is_file() else ()
    return [found / name for name in names if (found / name).is_file()]


def files_read(path: str | os.PathLike[str]) -> list[Path]:
    """The files that an argument such as ``--onnx`` may lead to, as far as they are there."""
    shipped = _packaged(".onnx").get(os.fspath(path))
    return [Path(path), *hub_models(path), *([] if shipped is None else [_on_disk(shipped)])]


def packaged_card(name: str) -> str | None:
    """The card (Markdown behind YAML front matter) of a packaged model; None for a name that is none."""
    if name not in _packaged(".onnx"):
        return None
    card = files(__name__) / f"{name}.md"
    return card.read_text(encoding="utf-8") if card.is_file() else None
