"""draw-classify: what is in a picture, by an exported glimpse classifier."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...console import VersionOption, check_outputs, make_app, note, progress, run_app
from ...errors import DrawError
from .options import (
    APPEARANCE,
    OUTPUTS,
    BatchOption,
    InvertOption,
    JsonOption,
    ProviderChoice,
    ProviderOption,
    ScaleOption,
    ThreadsOption,
    model_file,
    output_file,
    summary,
)
from .picture_files import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..classifier import Classification, Classifier

app = make_app()


@app.command()
def command(
    images: Annotated[
        list[Path],
        typer.Argument(help="Picture files, folders of them, or one .npz.", metavar="IMAGE|FOLDER|FILE.npz"),
    ],
    onnx: Annotated[
        str,
        model_file("Classifier: an .onnx file that draw-export wrote, or the name of a packaged model."),
    ] = "cluttered-mnist",
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV in place of the table.", rich_help_panel=OUTPUTS)
    ] = False,
    gif: Annotated[
        Path | None,
        output_file("Write a GIF of the glimpses moving over the first 16 pictures, with what each sees."),
    ] = None,
    invert: InvertOption = False,
    fps: Annotated[
        float, typer.Option(help="Glimpses per second of the GIF, up to 50.", rich_help_panel=APPEARANCE)
    ] = 2.0,
    scale: ScaleOption = None,
    provider: ProviderOption = ProviderChoice.auto,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
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

    from ..classifier import Classifier
    from ..pictures.gif import check_fps

    check_fps(fps)
    classifier = Classifier(onnx, provider.value, threads)
    if gif is not None and not classifier.has_steps:
        raise DrawError(f"{onnx} gives answers only, no glimpses for --gif: export it with --outputs steps")
    source = _Source(images, classifier, classifier.batch_size(batch), invert)
    result = _classify(classifier, source, gif, fps, scale)
    if as_json:
        print(json.dumps(result.as_json(), indent=1, ensure_ascii=False))
    elif as_csv:
        result.print_csv()
    else:
        result.print_table()


class _Source:
    """Batches of pictures, from files or from an npz."""

    def __init__(self, arguments: list[Path], classifier: Classifier, size: int, invert: bool) -> None:
        from ..pictures.labelled import read_labelled

        self._shape = classifier.metadata.image_shape
        self._size, self._invert = size, invert
        archives = [path for path in arguments if path.suffix.lower() == ".npz"]
        if archives and len(arguments) > 1:
            raise DrawError(f"{archives[0]} must be the only argument: its pictures are counted on their own")
        self.archive = read_labelled(archives[0], classifier.metadata.labels) if archives else None
        self._files = None if self.archive else PictureFiles(arguments, self._shape, invert)

    @property
    def names(self) -> list[str]:
        """Of the pictures; those that could not be read are gone once all batches have been."""
        if self._files is not None:
            return self._files.names
        assert self.archive is not None
        return [str(k) for k in range(len(self.archive))]

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """[k, C, H, W]"""
        import numpy as np

        if self._files is None:
            assert self.archive is not None
            for begin in range(0, len(self.archive), self._size):
                yield self.archive.batch(begin, begin + self._size, self._shape, self._invert)
            return
        ready: list[NDArray[np.float32]] = []
        for picture in self._files:
            ready.append(picture)
            if len(ready) == self._size:
                yield np.stack(ready)
                ready = []
        if ready:
            yield np.stack(ready)


def _classify(
    classifier: Classifier, source: _Source, gif: Path | None, fps: float, scale: int | None
) -> _Result:
    import numpy as np

    from ..classifier import join
    from ..pictures.attention_gifs import MAX_PICTURES, write_glimpse_gif

    shown: list[NDArray[np.float32]] = []
    looks: list[Classification] = []
    logits, probabilities = [], []

    def remembered() -> Iterator[NDArray[np.float32]]:
        for images in source.batches():
            if gif is not None and sum(map(len, shown)) < MAX_PICTURES:
                shown.append(images)
            yield images

    started = time.perf_counter()
    with progress("classifying", len(source.names)) as bar:
        for part in classifier.stream(remembered(), steps=gif is not None):
            if gif is not None and sum(map(len, looks)) < MAX_PICTURES:
                looks.append(part)
            logits.append(part.logits)
            probabilities.append(part.probabilities)
            bar.advance(len(part))
    labels = None if source.archive is None else source.archive.labels
    result = _Result(source.names, np.concatenate(probabilities), classifier.metadata.labels, labels)
    note(
        summary(
            len(result.names),
            "picture",
            time.perf_counter() - started,
            classifier.provider,
            classifier.threads,
        )
    )
    if gif is not None:
        first, pictures = join(looks), np.concatenate(shown)[:MAX_PICTURES]
        assert first.glimpses is not None
        assert first.read_attention is not None
        if len(result.names) > MAX_PICTURES:
            note(f"{gif} shows the first {MAX_PICTURES} of {len(result.names)} pictures")
        count = len(pictures)
        texts = [f"{answer}  {share:.1%}" for answer, share in result.answers()[:count]]
        write_glimpse_gif(
            gif, pictures, first.glimpses[:count], first.read_attention[:count], texts, scale, fps
        )
        note(f"wrote {gif}")
    return result


class _Result:
    """Answers, ready to be printed in three ways."""

    def __init__(
        self,
        names: list[str],
        probabilities: NDArray[np.float32],
        labels: tuple[str, ...],
        truth: NDArray[np.int64] | None,
    ) -> None:
        self.names, self.probabilities, self.labels, self.truth = names, probabilities, labels, truth

    def answers(self) -> list[tuple[str, float]]:
        """(name of the likeliest class, its probability)"""
        return [(self.labels[int(row.argmax())], float(row.max())) for row in self.probabilities]

    def _figures(self) -> dict[str, Any]:
        from ..error_rate import wilson_interval

        assert self.truth is not None
        wrong = int((self.probabilities.argmax(1) != self.truth).sum())
        low, high = wilson_interval(wrong, len(self.truth))
        return {
            "images": len(self.truth),
            "errors": wrong,
            "error_rate": wrong / len(self.truth),
            "interval": [low, high],
        }

    def as_json(self) -> Any:
        if self.truth is not None:
            return self._figures()
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
        if self.truth is not None:
            figures = self._figures()
            low, high = figures["interval"]
            print(
                f"error rate {figures['error_rate']:.2%} ({figures['errors']} of {figures['images']};"
                f" 95 % interval {low:.2%} to {high:.2%})"
            )
            return
        width = max(len("picture"), *(len(name) for name in self.names))
        column = max(len("answer"), *(len(label) for label in self.labels))
        print(f"{'picture':<{width}}  {'answer':<{column}}  probability  runner-up")
        for name, row in zip(self.names, self.probabilities, strict=True):
            first, second = row.argsort()[::-1][:2]
            print(
                f"{name:<{width}}  {self.labels[first]:<{column}}  {row[first]:>10.2%}   "
                f"{self.labels[second]} {row[second]:.2%}"
            )


def main() -> None:
    run_app(app, "draw-classify")
