"""draw-classify: what is in a picture, by an exported glimpse classifier."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import VersionOption, check_outputs, make_app, note, option, progress, run_app
from ...errors import DrawError
from ...files import check_not_read
from ...streams import print_json
from . import options
from .answers import Answers
from .options import OUTPUTS, check_used, shown_in, summary
from .picture_files import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..classifier import Classifier
    from ..pictures.labelled import LabelledPictures
    from ..pictures.prepare import Prepared

app = make_app()


@app.command()
def command(
    context: typer.Context,
    images: Annotated[
        list[Path],
        typer.Argument(help="Picture files, folders of them, or one .npz.", metavar="IMAGE|FOLDER|FILE.npz"),
    ],
    onnx: Annotated[
        str,
        option(
            "Classifier: an .onnx file that draw-export wrote, a folder of draw-export --hub, or a packaged model's name.",
            metavar="FILE|FOLDER|NAME",
        ),
    ] = "cluttered-mnist",
    as_json: options.Json = False,
    as_csv: Annotated[bool, option("Print CSV in place of the table.", OUTPUTS, "--csv")] = False,
    gif: Annotated[
        Path | None,
        option(
            "Write a GIF of the glimpses moving over the first 16 pictures, with what each sees.", OUTPUTS
        ),
    ] = None,
    confusion: Annotated[
        Path | None, option("With known classes: write a PNG of which are taken for which.", OUTPUTS)
    ] = None,
    ink: options.Ink = None,
    invert: Annotated[bool, option("Short for --ink dark.", None, "--invert")] = False,
    min_confidence: Annotated[
        float | None,
        option("Leave an answer open where no class has this probability.", None, min=0, max=1, metavar="P"),
    ] = None,
    fps: options.Fps = None,
    scale: options.Scale = None,
    provider: options.Provider = "auto",
    threads: options.PictureThreads = None,
    batch: options.Batch = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Classify pictures with an exported glimpse classifier.

    Pictures are made like those that the model knows: dark ink on paper becomes light, uneven light is levelled, a
    single figure is cropped and scaled to the known size. What was done stands in the last column. An .npz with images
    and labels, or a folder with a folder for each class, gives the error rate with its 95 % interval and which classes
    are taken for which.

        draw-classify digit.png --gif glimpses.gif

        draw-classify --onnx classifier.onnx test.npz
    """
    _check_usage(context, as_json, as_csv, invert, ink, min_confidence)
    check_used(context, {"fps": {"--gif": gif}, "scale": {"--gif": gif}})
    check_outputs({"--gif": gif, "--confusion": confusion})

    from ...pretrained import files_read
    from ..classifier import Classifier
    from ..pictures.gif import check_fps

    check_fps(fps)
    classifier = Classifier(onnx, provider, threads)
    if gif is not None and not classifier.has_steps:
        raise DrawError(f"{onnx} gives answers only, no glimpses for --gif: export it with --outputs steps")
    if ink == "auto" and classifier.metadata.figure_size is None:
        note("--ink auto: the model knows no figures of a size, so its pictures are taken as they are")
    source = _source(images, classifier)
    check_not_read((gif, confusion), (*files_read(onnx), *source.names, *images))
    _check_outputs(classifier, source, gif, confusion, scale)
    wanted = "dark" if invert else ink or "auto"
    result, first = _classify(classifier, source, wanted, classifier.batch_size(batch), min_confidence)
    result.note_warnings()
    if gif is not None:
        _write_gif(gif, classifier, first, result, scale, fps or 2)
    if confusion is not None:
        _write_confusion(confusion, result)
    if as_json:
        print_json(result.as_json())
    elif as_csv:
        result.print_csv()
    else:
        result.print_table()


def _check_usage(
    context: typer.Context,
    as_json: bool,
    as_csv: bool,
    invert: bool,
    ink: str | None,
    min_confidence: float | None,
) -> None:
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    if invert and ink not in (None, "dark"):
        raise typer.BadParameter(f"--invert is short for --ink dark, and --ink {ink} contradicts it.")
    if min_confidence is not None and math.isnan(min_confidence):  # older releases of Typer let it pass
        raise typer.BadParameter("--min-confidence must be a number from 0 to 1.")


def _source(arguments: list[Path], classifier: Classifier) -> PictureFiles | LabelledPictures:
    from ..pictures.labelled import read_labelled

    archives = [path for path in arguments if path.suffix.lower() == ".npz"]
    if archives and len(arguments) > 1:
        raise DrawError(f"{archives[0]} must be the only argument: its pictures are counted on their own")
    classes = classifier.metadata.labels
    if archives:
        return read_labelled(archives[0], classes)
    return PictureFiles(arguments, classes, classifier.threads)


def _check_outputs(
    classifier: Classifier,
    source: PictureFiles | LabelledPictures,
    gif: Path | None,
    confusion: Path | None,
    scale: int | None,
) -> None:
    """Refuse what cannot be drawn before the work, not after it."""
    from ..pictures.attention_gifs import MAX_PICTURES, looks_layout

    if confusion is not None and source.labels is None:
        raise DrawError("--confusion needs known classes: an .npz with labels, or a folder for each class")
    if gif is not None:
        shown, (_, height, width) = min(len(source.names), MAX_PICTURES), classifier.metadata.image_shape
        looks_layout(shown, width, height, classifier.metadata.time_steps, scale)


def _classify(
    classifier: Classifier,
    source: PictureFiles | LabelledPictures,
    ink: str,
    size: int,
    least: float | None,
) -> tuple[Answers, NDArray[np.float32]]:
    """The answers, in batches of ``size``, and the first pictures, [up to 16, C, H, W], which a GIF shows."""
    import numpy as np

    from ..pictures.attention_gifs import MAX_PICTURES

    metadata = classifier.metadata
    first: list[NDArray[np.float32]] = []
    done: list[Prepared] = []
    nothing = np.empty(0, np.float32)

    def batches() -> Iterator[NDArray[np.float32]]:
        for part in source.prepared(size, metadata.picture_rule, ink):
            first.extend(prepared.image for prepared in part[: MAX_PICTURES - len(first)])
            done.extend(replace(prepared, image=nothing) for prepared in part)
            yield np.stack([prepared.image for prepared in part])

    started, probabilities = time.perf_counter(), []
    with progress("classifying", len(source.names)) as bar:
        for part in classifier.stream(batches(), steps=False):
            probabilities.append(part.probabilities)
            bar.advance(len(part))
    together = np.concatenate(probabilities)
    result = Answers(source.names, together, metadata.labels, source.labels, done, least)
    note(summary(len(result.names), time.perf_counter() - started, classifier))
    return result, np.stack(first)


def _write_confusion(path: Path, result: Answers) -> None:
    from ..pictures.confusion_matrix import write_confusion

    matrix = result.confusion()
    assert matrix is not None
    write_confusion(path, matrix)
    note(f"wrote {path}")


def _write_gif(
    gif: Path,
    classifier: Classifier,
    images: NDArray[np.float32],
    result: Answers,
    scale: int | None,
    fps: float,
) -> None:
    from ..pictures.attention_gifs import write_glimpse_gif

    shown_in(gif, len(result.names))
    look = classifier(images)
    assert look.glimpses is not None
    assert look.read_attention is not None
    texts = result.captions()[: len(images)]
    write_glimpse_gif(gif, images, look.glimpses, look.read_attention, texts, scale, fps)
    note(f"wrote {gif}")


def main() -> None:
    run_app(app, "draw-classify")
