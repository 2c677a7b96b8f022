"""draw-score: the bound and the reconstruction of pictures, by an exported scorer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import VersionOption, check_outputs, make_app, note, run_app
from ...errors import DrawError
from ..metadata import COVER, PAD
from .options import (
    APPEARANCE,
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

    from ..scorer import Scorer, Scores

app = make_app()

# Data sets whose pictures are 0 and 1: a grey picture has no comparable bound under their models.
BINARY_DATASETS = ("mnist", "binarized-mnist", "mnist-dynamic", "mnist-two-digit")


@app.command()
def command(
    images: Annotated[
        list[Path], typer.Argument(help="Picture files, or folders of them.", metavar="IMAGE|FOLDER")
    ],
    onnx: Annotated[
        str,
        model_file(
            "Scorer: an .onnx file that draw-export --graph scorer wrote, or the name of a packaged model."
        ),
    ],
    as_json: JsonOption = False,
    gif: Annotated[
        Path | None,
        output_file("Write a GIF of the first 16 pictures being read (blue) and painted again (red)."),
    ] = None,
    png: Annotated[
        Path | None,
        output_file("Write each picture beside its reconstruction."),
    ] = None,
    npz: Annotated[
        Path | None,
        output_file("Write the numbers: images, bound in nats, reconstruction."),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=2**64 - 1,
            help="Seed of the noise; picture k takes the noise of picture k.",
            metavar="SEED",
        ),
    ] = 0,
    binarise: Annotated[
        bool | None,
        typer.Option(
            "--binarise/--no-binarise",
            help="Make pixels 0 or 1 at one half. Unless given: if the model was trained on such pictures.",
        ),
    ] = None,
    cover: Annotated[
        bool | None,
        typer.Option(
            "--cover/--pad",
            help="Crop and resize to fill the model's frame, or shrink if larger and centre on black. Unless given: as"
            " the model's training pictures were made.",
        ),
    ] = None,
    invert: InvertOption = False,
    fps: Annotated[
        float, typer.Option(help="Steps per second of the GIF, up to 50.", rich_help_panel=APPEARANCE)
    ] = 10.0,
    scale: ScaleOption = None,
    provider: ProviderOption = ProviderChoice.auto,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Score pictures: the bound in nats (lower is better) and how the network would paint them.

    A picture unlike those it was trained on tends to score higher, a plain one low all the same.

        draw-score --onnx scorer.onnx digit.png --gif reading.gif
    """
    check_outputs({"--gif": gif, "--png": png, "--npz": npz})

    import numpy as np

    from ..pictures.gif import check_fps
    from ..scorer import Scorer

    check_fps(fps)
    scorer = Scorer(onnx, provider.value, threads)
    if gif is not None and not scorer.has_steps:
        raise DrawError(f"{onnx} gives results only, no steps for --gif: export it with --outputs steps")
    fit = scorer.metadata.picture_fit if cover is None else COVER if cover else PAD
    files = PictureFiles(images, scorer.metadata.image_shape, invert, fit)
    array = np.stack(list(files))
    if binarise is None:
        binarise = scorer.metadata.dataset in BINARY_DATASETS
        if binarise and ((array > 0) & (array < 1)).any():
            note(
                f"pixels made 0 or 1 at one half, as in {scorer.metadata.dataset}; --no-binarise leaves them grey"
            )
    if binarise:
        array = (array >= 0.5).astype(np.float32)
    started = time.perf_counter()
    scores = scorer(array, seed, batch=batch)
    note(summary(len(scores), "picture", time.perf_counter() - started, scorer.provider, scorer.threads))
    _write(scorer, array, scores, seed, gif, png, npz, fps, scale, batch)
    _print(files.names, scores, as_json, array[0].size)


def _print(names: list[str], scores: Scores, as_json: bool, values: int) -> None:
    """Nats, also per value (C x H x W of them): bits per dimension would claim a likelihood of 8-bit pixels."""
    if as_json:
        rows = [
            {"picture": name, "bound": float(bound), "bound_per_value": float(bound) / values}
            for name, bound in zip(names, scores.bound, strict=True)
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    width = max(len("picture"), *map(len, names))
    print(f"{'picture':<{width}}  bound (nats)  nats per value")
    for name, bound in zip(names, scores.bound, strict=True):
        print(f"{name:<{width}}  {bound:>12.2f}  {bound / values:>14.4f}")


def _write(
    scorer: Scorer,
    images: NDArray[np.float32],
    scores: Scores,
    seed: int,
    gif: Path | None,
    png: Path | None,
    npz: Path | None,
    fps: float,
    scale: int | None,
    batch: int | None,
) -> None:
    from ..pictures.attention_gifs import MAX_PICTURES, write_score_gif
    from ..pictures.drawing import arrange, fitting_scale, gap_width, grid_columns, to_rgb, write_png
    from .npz import NpzWriter

    if npz is not None:
        with NpzWriter(npz) as writer:
            writer.append("images", images)
            writer.append("bound", scores.bound)
            writer.append("reconstruction", scores.reconstruction)
        note(f"wrote {npz}")
    if png is not None:
        import numpy as np

        height, width = images.shape[-2:]
        columns = grid_columns(len(images), 2 * width, height)
        enlarged = scale or fitting_scale(2 * columns, -(-len(images) // columns), width, height)
        pairs = [
            np.concatenate([to_rgb(a, enlarged), to_rgb(b, enlarged)], axis=1)
            for a, b in zip(images, scores.reconstruction, strict=True)
        ]
        write_png(png, arrange(pairs, columns, 2 * gap_width(enlarged)))
        note(f"wrote {png}")
    if gif is not None:
        count = min(len(images), MAX_PICTURES)
        if count < len(images):
            note(f"{gif} shows the first {MAX_PICTURES} of {len(images)} pictures")
        steps = scorer(images[:count], seed, batch=batch, steps=True)
        assert steps.canvases is not None
        metadata = scorer.metadata
        write_score_gif(
            gif,
            images[:count],
            steps.canvases,
            steps.read_attention,
            steps.write_attention,
            metadata.read_size,
            metadata.write_size,
            steps.bound.tolist(),
            scale,
            fps,
        )
        note(f"wrote {gif}")


def main() -> None:
    run_app(app, "draw-score")
