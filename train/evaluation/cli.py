"""``draw-eval``"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...console import VersionOption, check_outputs, make_app, note, option, run_app
from ...files import check_not_read
from ..command_options import DATA, MACHINE, DataDir, Device, Threads
from ..data.registry import DATASETS
from .options import Request, misfit

app = make_app()

_FIGURES = "Figures"


@app.command()
def command(
    ckpt: Annotated[
        str | None,
        option(
            "Checkpoint to evaluate, a folder of draw-export --hub, or a packaged model's name.",
            metavar="FILE|FOLDER|NAME",
        ),
    ] = None,
    onnx: Annotated[
        str | None,
        option(
            "Exported scorer or classifier to evaluate instead, likewise.",
            metavar="FILE|FOLDER|NAME",
        ),
    ] = None,
    data_dir: DataDir = None,
    dataset: Annotated[
        str | None,
        option(f"Evaluate on another data set than the file names: {', '.join(DATASETS)}.", DATA),
    ] = None,
    split: Annotated[
        str, option("valid, test, or another the data set has; all of a labelled --image-dir.", DATA)
    ] = "test",
    limit: Annotated[
        int | None, option("Only LIMIT images, evenly spread over the set. Default: all.", DATA, min=1)
    ] = None,
    importance: Annotated[
        int | None,
        option(
            "Also the importance-weighted bound with K samples an image (checkpoints).",
            _FIGURES,
            min=1,
            metavar="K",
        ),
    ] = None,
    seed: Annotated[
        int | None, option("Of the noise stream, for DRAW. Default: 0.", _FIGURES, min=0, max=2**64 - 1)
    ] = None,
    batch: Annotated[int, option("Images at a time.", MACHINE, min=1)] = 100,
    plot: Annotated[Path | None, option("Write a PNG of the KL per step.", _FIGURES)] = None,
    calibration: Annotated[
        Path | None,
        option(
            "Write a PNG of how often a classifier is right against how sure it is, and say the expected"
            " calibration error.",
            _FIGURES,
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        option("Print which classes a classifier takes for which, and write it as a PNG.", _FIGURES),
    ] = None,
    nearest: Annotated[
        Path | None,
        option(
            "Write a PNG of samples beside their nearest training pictures, and say how unique they are.",
            _FIGURES,
        ),
    ] = None,
    samples: Annotated[
        int | None, option("Number of samples for --nearest. Default: 64.", _FIGURES, min=1)
    ] = None,
    temperature: Annotated[
        float | None,
        option(
            "With --nearest and --recognise: multiply the samples' noise by this; below 1 they are more regular and"
            " vary less. Default: 1.",
            _FIGURES,
            min=0,
            max=10,
            metavar="FACTOR",
        ),
    ] = None,
    recognise: Annotated[
        int | None,
        option(
            "Have N samples of digits (say 1000) read by a classifier trained on real ones, beside real and torn"
            " digits: which share can be read, and whether all digits occur. Takes half a minute, pairs of digits two.",
            _FIGURES,
            min=1,
            metavar="N",
        ),
    ] = None,
    recognise_sheet: Annotated[
        Path | None, option("With --recognise: write a PNG of samples and what was read in them.", _FIGURES)
    ] = None,
    as_json: Annotated[bool, option("Print the figures as JSON.", _FIGURES, "--json")] = False,
    image_dir: Annotated[
        Path | None, option("Folder of pictures, for models trained on images or labelled-images.", DATA)
    ] = None,
    validation_dir: Annotated[
        Path | None,
        option("labelled-images: the folder that draw-train's --validation-dir named, if it did.", DATA),
    ] = None,
    dtype: Annotated[
        Literal["fp32", "int8"],
        option(
            "int8: with the rounded weights that draw-export --dtype int8 writes (checkpoints).", _FIGURES
        ),
    ] = "fp32",
    device: Annotated[Device, option("Where a checkpoint is evaluated.", MACHINE)] = "auto",
    provider: Annotated[Device, option("Where an ONNX file is evaluated.", MACHINE)] = "auto",
    threads: Threads = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Evaluate a model: the test bound in nats (mean ± standard error), or the error rate with its 95 % interval.

    Image k of those evaluated takes the noise of the stream's image k, so that PyTorch and ONNX Runtime give
    the same figure.
    """
    given = locals()  # by name: options are called as the fields of the request
    if (ckpt is None) == (onnx is None):
        raise typer.BadParameter("give either --ckpt FILE or --onnx FILE.")
    pictures = {"--plot": plot, "--calibration": calibration, "--confusion": confusion, "--nearest": nearest}
    check_outputs({**pictures, "--recognise-sheet": recognise_sheet})
    for folder in (image_dir, validation_dir):
        if folder is not None and folder.is_dir():
            from ...runtime.pictures.walk import walk

            check_not_read((*pictures.values(), recognise_sheet), walk(folder).files)
    options = [f.name for f in dataclasses.fields(Request) if f.name != "file"]
    request = Request(ckpt or onnx or "", **{name: given[name] for name in options})
    wrong = misfit(request, "ONNX file" if onnx is not None else "checkpoint")
    if wrong is not None:
        raise typer.BadParameter(f"{wrong}.")
    from ..machine import flushed_subnormals
    from .files import evaluate_checkpoint, evaluate_onnx

    with flushed_subnormals():
        result = evaluate_onnx(request) if onnx is not None else evaluate_checkpoint(request)
    if as_json:
        print(json.dumps(_plain(result.values), allow_nan=False))
    else:
        for line in result.lines:
            print(line)
    for what in result.written:
        note(f"wrote {what}")


def _plain(value: Any) -> Any:
    """With null for what JSON has no number for: the standard error of one image, figures of a model that diverged."""
    if isinstance(value, dict):
        return {name: _plain(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    run_app(app, "draw-eval")
