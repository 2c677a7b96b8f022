"""What draw-eval is asked, and which of its options are for which files and models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ..data.registry import option_name

FileKind = Literal["checkpoint", "ONNX file"]
ModelKind = Literal["DRAW network", "classifier"]


@dataclass(frozen=True)
class Request:
    """What to evaluate, on what, and what to write: draw-eval's options. What is as here is not given."""

    file: str  # a checkpoint or an ONNX file, or a packaged model's name
    data_dir: Path | None = None
    dataset: str | None = None  # None: the one that the file names
    image_dir: Path | None = None
    validation_dir: Path | None = None
    split: str = "test"
    limit: int | None = None  # None: all
    batch: int = 100
    threads: int | None = None
    seed: int | None = None  # None: 0
    calibration: Path | None = None
    confusion: Path | None = None
    provider: str = "auto"
    device: str = "auto"
    dtype: str = "fp32"  # "int8": weights rounded as those of an int8 file
    importance: int | None = None
    plot: Path | None = None
    nearest: Path | None = None
    samples: int | None = None  # None: 64
    temperature: float | None = None  # None: 1
    recognise: int | None = None
    recognise_sheet: Path | None = None


class _For(NamedTuple):
    """What an option is for; None is everything."""

    model: ModelKind | None = None
    file: FileKind | None = None
    needs: tuple[str, ...] = ()  # one of these options, of which it says more
    instead: str = "use --ckpt"  # with another kind of file


_FOR: dict[str, _For] = {
    "seed": _For("DRAW network"),
    "calibration": _For("classifier"),
    "confusion": _For("classifier"),
    "provider": _For(file="ONNX file", instead="a checkpoint takes --device"),
    "device": _For(file="checkpoint", instead="an ONNX file takes --provider"),
    "dtype": _For(file="checkpoint", instead="an ONNX file has its weights as they are"),
    "importance": _For("DRAW network", "checkpoint"),
    "plot": _For("DRAW network", "checkpoint"),
    "nearest": _For("DRAW network", "checkpoint"),
    "samples": _For("DRAW network", "checkpoint", ("nearest",)),
    "temperature": _For("DRAW network", "checkpoint", ("nearest", "recognise")),
    "recognise": _For("DRAW network", "checkpoint"),
    "recognise_sheet": _For("DRAW network", "checkpoint", ("recognise",)),
}


def misfit(request: Request, file: FileKind, model: ModelKind | None = None) -> str | None:
    """What to say of an option that would be passed over, else None. Without ``model`` it is not known yet."""
    given = {f.name for f in dataclasses.fields(request) if getattr(request, f.name) != f.default}
    for name, (of_model, of_file, needs, instead) in _FOR.items():
        if name not in given:
            continue
        if of_file not in (None, file):
            return f"{option_name(name)} is for {of_file}s: {instead}"
        if needs and not given.intersection(needs):
            return f"{option_name(name)} says more of {' or '.join(map(option_name, needs))}: give that too"
        if model is not None and of_model not in (None, model):
            return f"{option_name(name)} is for {of_model}s, and this {file} is a {model}"
    return None
