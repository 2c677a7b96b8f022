"""What a card shows commands printing, and the test figures in it. draw-eval's are computed in this process."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from run_folder import run

from draw_onnx.train.evaluation.files import evaluate_checkpoint, evaluate_onnx
from draw_onnx.train.evaluation.options import Request

LICENCE, AUTHOR = "MIT", "draw-onnx authors"  # of the packaged weights


@dataclass(frozen=True)
class Block:
    """A command, what it printed, and the test figures in that, by their names in a weights file's header."""

    words: list[str]
    text: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"```console\n$ {shlex.join(self.words)}\n{self.text}\n```"


def exported(weights: str, onnx: str, root: Path) -> Block:
    """draw-export of ``weights`` to ``onnx``, paths below ``root``, in a process of its own: it measures times."""
    words = ["draw-export", "--ckpt", weights, "-o", onnx]
    words += ["--model-license", LICENCE, "--model-author", AUTHOR]  # of other weights they are not stated
    return Block(words, run(words, root))


def evaluated(
    kind: Literal["ckpt", "onnx"], file: str, root: Path, data_dir: Path | None, **options: Any
) -> Block:
    """draw-eval of ``file``, with the fields of a request as its options; paths are below ``root``.

    Raises:
        DrawError: what draw-eval would say.
    """
    words = ["draw-eval", f"--{kind}", file]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value.as_posix() if isinstance(value, Path) else str(value)]
    print("$", shlex.join(words), file=sys.stderr, flush=True)
    here: dict[str, Any] = {k: root / v if isinstance(v, Path) else v for k, v in options.items()}
    request = Request(str(root / file), data_dir, **here)
    result = evaluate_checkpoint(request) if kind == "ckpt" else evaluate_onnx(request)
    return Block(words, "\n".join(result.lines), test_figures(request, result.values))


def test_figures(request: Request, values: Mapping[str, Any]) -> dict[str, float]:
    """The test figures among an evaluation's values, with the decimals that draw-eval prints.

    A plain figure on part of a set (limit) is none; importance weighting is too dear for the whole. Neither is one of
    samples at another temperature.
    """
    figures: dict[str, float] = {}
    if request.limit is None:
        if "bound" in values:
            figures |= {name: round(values[name], 2) for name in ("bound", "standard_error")}
        else:
            figures |= zip(
                ("error", "error_low", "error_high"),
                (round(value, 2) for value in (values["error_percent"], *values["interval"])),
                strict=True,
            )
        figures["images"] = values["images"]
    if "importance_bound" in values:
        figures |= {
            name: round(values[name], 2) for name in ("importance_bound", "importance_standard_error")
        }
        figures |= {
            "importance_samples": values["importance_samples"],
            "importance_images": values["images"],
        }
    if request.recognise is not None and values["temperature"] == 1:
        figures |= {
            "recognised_samples": request.recognise,
            "recognised": round(values["recognised_samples"], 1),
            "recognised_real": round(values["recognised_real"], 1),
            "recognised_torn": round(values["recognised_torn"], 1),
        }
    return {f"test_{name}": value for name, value in figures.items()}
