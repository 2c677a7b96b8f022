"""draw-classify: what is in a picture, by an exported glimpse classifier."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...console import VersionOption, check_outputs, make_app, note, progress, run_app
from ...errors import DrawError
from ...streams import printable
from . import options
from .options import OUTPUTS, option, shown_in, summary
from .picture_files import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..classifier import Classifier
    from ..error_rate import ErrorRate
    from ..pictures.labelled import LabelledPictures

app = make_app()


@app.command()
def command(
    images: Annotated[
        list[Path],
        typer.Argument(help="Picture files, folders of them, or one .npz.", metavar="IMAGE|FOLDER|FILE.npz"),
    ],
    onnx: Annotated[
        str,
        option(
            "Classifier: an .onnx file that draw-export wrote, or the name of a packaged model.",
            metavar="FILE|NAME",
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
    invert: options.Invert = False,
    fps: options.Fps = None,
    scale: options.Scale = None,
    provider: options.Provider = "auto",
    threads: options.Threads = None,
    batch: options.Batch = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Classify pictures with an exported glimpse classifier.

    Pictures of any kind and size become the model's input: grey, shrunk only if larger, centred on black,
    never enlarged. An .npz with images and labels gives the error rate with its 95 % interval.

        draw-classify digit.png --gif glimpses.gif

        draw-classify --onnx classifier.onnx test.npz
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    check_outputs({"--gif": gif})

    import numpy as np

    from ..classifier import Classifier
    from ..pictures.attention_gifs import MAX_PICTURES
    from ..pictures.gif import check_fps

    check_fps(fps)
    classifier = Classifier(onnx, provider, threads)
    if gif is not None and not classifier.has_steps:
        raise DrawError(f"{onnx} gives answers only, no glimpses for --gif: export it with --outputs steps")
    labels, shape = classifier.metadata.labels, classifier.metadata.image_shape
    source = _source(images, labels)
    first: list[NDArray[np.float32]] = []  # what a GIF shows

    def batches() -> Iterator[NDArray[np.float32]]:
        for pictures in source.batches(classifier.batch_size(batch), shape, invert):
            if gif is not None and sum(map(len, first)) < MAX_PICTURES:
                first.append(pictures)
            yield pictures

    started, probabilities = time.perf_counter(), []
    with progress("classifying", len(source.names)) as bar:
        for part in classifier.stream(batches(), steps=False):
            probabilities.append(part.probabilities)
            bar.advance(len(part))
    result = _Result(source.names, np.concatenate(probabilities), labels, source.labels)
    note(summary(len(result.names), time.perf_counter() - started, classifier))
    if gif is not None:
        _write_gif(gif, classifier, np.concatenate(first), result, scale, fps or 2)
    if as_json:
        print(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
    elif as_csv:
        result.print_csv()
    else:
        result.print_table()


def _source(arguments: list[Path], classes: tuple[str, ...]) -> PictureFiles | LabelledPictures:
    from ..pictures.labelled import read_labelled

    archives = [path for path in arguments if path.suffix.lower() == ".npz"]
    if archives and len(arguments) > 1:
        raise DrawError(f"{archives[0]} must be the only argument: its pictures are counted on their own")
    return read_labelled(archives[0], classes) if archives else PictureFiles(arguments)


def _write_gif(
    gif: Path,
    classifier: Classifier,
    images: NDArray[np.float32],
    result: _Result,
    scale: int | None,
    fps: float,
) -> None:
    from ..pictures.attention_gifs import write_glimpse_gif

    images = images[: shown_in(gif, len(result.names))]
    look = classifier(images)
    assert look.glimpses is not None
    assert look.read_attention is not None
    texts = [f"{answer}  {share:.1%}" for answer, share in result.answers()[: len(images)]]
    write_glimpse_gif(gif, images, look.glimpses, look.read_attention, texts, scale, fps)
    note(f"wrote {gif}")


@dataclass(frozen=True)
class _Result:
    """Answers, ready to be printed in three ways."""

    names: list[str]
    probabilities: NDArray[np.float32]  # [n, classes]
    labels: tuple[str, ...]
    truth: NDArray[np.int64] | None  # [n]

    def answers(self) -> list[tuple[str, float]]:
        """(name of the likeliest class, its probability)"""
        return [(self.labels[int(row.argmax())], float(row.max())) for row in self.probabilities]

    def error_rate(self) -> ErrorRate | None:
        """None where the right answers are not known."""
        from ..error_rate import ErrorRate

        if self.truth is None:
            return None
        return ErrorRate(len(self.truth), int((self.probabilities.argmax(1) != self.truth).sum()))

    def as_json(self) -> Any:
        if (error := self.error_rate()) is not None:
            figures = {"images": error.images, "errors": error.wrong, "error_rate": error.rate}
            return {**figures, "interval": list(error.interval)}
        return [
            {
                "picture": name,
                "answer": answer,
                "probability": share,
                "probabilities": dict(zip(self.labels, map(float, row), strict=True)),
            }
            for name, (answer, share), row in zip(self.names, self.answers(), self.probabilities, strict=True)
        ]

    def print_csv(self) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        truth = ["label"] if self.truth is not None else []
        writer.writerow(
            ["picture", *truth, "answer", "probability", *(f"p_{label}" for label in self.labels)]
        )
        for k, (name, (answer, share)) in enumerate(zip(self.names, self.answers(), strict=True)):
            known = [self.labels[self.truth[k]]] if self.truth is not None else []
            row = [f"{p:.6f}" for p in self.probabilities[k]]
            writer.writerow([name, *known, answer, f"{share:.6f}", *row])

    def print_table(self) -> None:
        if (error := self.error_rate()) is not None:
            print(error)
            return
        names = [printable(name) for name in self.names]
        width = max(len("picture"), *map(len, names))
        column = max(len("answer"), *map(len, self.labels))
        print(f"{'picture':<{width}}  {'answer':<{column}}  probability  runner-up")
        for name, row in zip(names, self.probabilities, strict=True):
            first, second = row.argsort()[::-1][:2]
            print(
                f"{name:<{width}}  {self.labels[first]:<{column}}  {row[first]:>10.2%}   "
                f"{self.labels[second]} {row[second]:.2%}"
            )


def main() -> None:
    run_app(app, "draw-classify")
