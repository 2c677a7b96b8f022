"""``draw-eval``"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from ...console import VersionOption, check_outputs, make_app, run_app

app = make_app()


@app.command()
def command(
    ckpt: Annotated[
        str | None, typer.Option(help="Checkpoint to evaluate, or the name of a packaged model.")
    ] = None,
    onnx: Annotated[
        str | None,
        typer.Option(help="Exported scorer or classifier to evaluate instead, or a packaged name."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="DRAW_DATA",
            help="Folder that holds mnist/, binarized_mnist/, ... Default: a cache folder.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Evaluate on another data set than the file names.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="valid, test, or another the data set has; all of a labelled --image-dir.")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only LIMIT images, evenly spread over the set. Default: all.")
    ] = None,
    importance: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Also the importance-weighted bound with K samples an image (checkpoints).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise stream.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 100,
    plot: Annotated[Path | None, typer.Option(help="Write a PNG of the KL per step.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Write a PNG of how often a classifier is right against how sure it is, and say the expected"
            " calibration error."
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(help="Print which classes a classifier takes for which, and write it as a PNG."),
    ] = None,
    nearest: Annotated[
        Path | None,
        typer.Option(
            help="Write a PNG of samples beside their nearest training pictures, and say how unique they are."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples for --nearest.")] = 64,
    recognise: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Have N samples of digits (say 1000) read by a classifier trained on real ones, beside real and torn"
            " digits: which share can be read, and whether all digits occur. Takes half a minute, pairs of digits two.",
        ),
    ] = None,
    recognise_sheet: Annotated[
        Path | None, typer.Option(help="With --recognise: write a PNG of samples and what was read in them.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    image_dir: Annotated[
        Path | None, typer.Option(help="Folder of pictures, for models trained on images or labelled-images.")
    ] = None,
    dtype: Annotated[
        Literal["fp32", "int8"],
        typer.Option(
            help="int8: with the rounded weights that draw-export --dtype int8 writes (checkpoints)."
        ),
    ] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda (checkpoints).")] = "auto",
    provider: Annotated[str, typer.Option(help="auto, cpu or cuda (ONNX files).")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the library's choice.")
    ] = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Evaluate a model: the test bound in nats (mean ± standard error), or the error rate with its 95 % interval.

    Image k of those evaluated takes the noise of the stream's image k, so that PyTorch and ONNX Runtime give
    the same figure.
    """
    if (ckpt is None) == (onnx is None):
        raise typer.BadParameter("give either --ckpt FILE or --onnx FILE.")
    check_outputs(
        {
            "--plot": plot,
            "--calibration": calibration,
            "--confusion": confusion,
            "--nearest": nearest,
            "--recognise-sheet": recognise_sheet,
        }
    )
    if onnx is not None and (importance or plot or nearest or recognise):
        raise typer.BadParameter(
            "--importance, --plot, --nearest and --recognise need the model itself: use --ckpt."
        )
    if recognise_sheet is not None and recognise is None:
        raise typer.BadParameter("--recognise-sheet shows what --recognise N reads: give both.")
    if onnx is not None and dtype != "fp32":
        raise typer.BadParameter("--dtype is for checkpoints: an ONNX file has its weights as they are.")
    if onnx is not None and device != "auto":
        raise typer.BadParameter("--device is for checkpoints: an ONNX file takes --provider.")
    if ckpt is not None and provider != "auto":
        raise typer.BadParameter("--provider is for ONNX files: a checkpoint takes --device.")
    from ..machine import flushed_subnormals
    from .files import Request, evaluate_checkpoint, evaluate_onnx

    with flushed_subnormals():
        request = Request(
            file=ckpt or onnx or "",
            data_dir=data_dir,
            dataset=dataset,
            image_dir=image_dir,
            split=split,
            limit=limit,
            seed=seed,
            batch=batch,
            threads=threads,
            calibration=calibration,
            confusion=confusion,
            provider=provider,
            device=device,
            int8=dtype == "int8",
            importance=importance,
            plot=plot,
            nearest=nearest,
            samples=samples,
            recognise=recognise,
            recognise_sheet=recognise_sheet,
        )
        result = evaluate_onnx(request) if onnx is not None else evaluate_checkpoint(request)
    if json_:
        import json

        # JSON has no NaN, which the standard error of one image is.
        print(
            json.dumps(
                {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in result.values.items()}
            )
        )
    else:
        for line in result.lines:
            print(line)


def main() -> None:
    run_app(app, "draw-eval")
