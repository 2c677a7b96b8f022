"""draw-score: the bound and the reconstruction of pictures, by an exported scorer."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import VersionOption, check_outputs, make_app, note, option, progress, run_app
from ...errors import DrawError
from ...files import check_not_read
from ...streams import print_json, printable
from ..metadata import COVER, PAD
from . import options
from .options import OUTPUTS, SEED_MAX, check_used, shown_in, summary
from .picture_files import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = make_app()


@app.command()
def command(
    context: typer.Context,
    images: Annotated[
        list[Path], typer.Argument(help="Picture files, or folders of them.", metavar="IMAGE|FOLDER")
    ],
    onnx: Annotated[
        str,
        option(
            "Scorer: an .onnx file that draw-export --graph scorer wrote, or a folder of draw-export --hub.",
            metavar="FILE|FOLDER",
        ),
    ],
    as_json: options.Json = False,
    gif: Annotated[
        Path | None,
        option("Write a GIF of the first 16 pictures being read (blue) and painted again (red).", OUTPUTS),
    ] = None,
    png: Annotated[Path | None, option("Write each picture beside its reconstruction.", OUTPUTS)] = None,
    npz: Annotated[
        Path | None, option("Write the numbers: images, bound in nats, reconstruction.", OUTPUTS)
    ] = None,
    seed: Annotated[
        int,
        option("Seed of the noise; picture k takes that of picture k.", min=0, max=SEED_MAX, metavar="SEED"),
    ] = 0,
    binarise: Annotated[
        bool | None,
        option("Make pixels 0 or 1 at one half. Unless given: if the model was trained on such pictures."),
    ] = None,
    cover: Annotated[
        bool | None,
        option(
            "Crop and resize to fill the model's frame, or shrink if larger and centre on black. Unless given: as the"
            " model's training pictures were made.",
            None,
            "--cover/--pad",
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
    """Score pictures: the bound in nats (lower is better) and how the network would paint them.

    A picture unlike those it was trained on tends to score higher, a plain one low all the same.

        draw-score --onnx scorer.onnx digit.png --gif reading.gif
    """
    check_used(context, {"fps": {"--gif": gif}, "scale": {"--gif": gif, "--png": png}})
    check_outputs({"--gif": gif, "--png": png, "--npz": npz})

    import numpy as np

    from ..pictures.attention_gifs import MAX_PICTURES, looks_layout, write_score_gif
    from ..pictures.drawing import pairs, pairs_layout, write_png
    from ..pictures.gif import check_fps
    from ..scorer import Scorer
    from .npz import NpzWriter

    check_fps(fps)
    scorer = Scorer(onnx, provider, threads)
    metadata = scorer.metadata
    if gif is not None and not scorer.has_steps:
        raise DrawError(f"{onnx} gives results only, no steps for --gif: export it with --outputs steps")
    fit = metadata.picture_fit if cover is None else COVER if cover else PAD
    files = PictureFiles(images)
    check_not_read((gif, png, npz), (onnx, *files.names))
    count, (_, height, width) = len(files.names), metadata.image_shape
    if png is not None:
        pairs_layout(count, width, height, scale)
    if gif is not None:
        looks_layout(min(count, MAX_PICTURES), width, height, metadata.time_steps, scale)
    made_binary = metadata.binary_pictures if binarise is None else binarise
    grey = False  # whether a picture was made binary that was not
    waiting: deque[NDArray[np.float32]] = deque()  # pictures that are being scored

    def batches() -> Iterator[NDArray[np.float32]]:
        nonlocal grey
        ink = "dark" if invert else "light"
        for part in files.prepared(scorer.batch_size(batch), metadata.image_shape, None, ink, fit):
            pictures = np.stack([prepared.image for prepared in part])
            if made_binary:
                grey |= bool(((pictures > 0) & (pictures < 1)).any())
                pictures = (pictures >= 0.5).astype(np.float32)
            waiting.append(pictures)
            yield pictures

    started, bounds = time.perf_counter(), []
    first: list[NDArray[np.float32]] = []  # what a GIF shows
    both: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []  # what a PNG shows
    with ExitStack() as stack:
        writer = stack.enter_context(NpzWriter(npz)) if npz is not None else None
        bar = stack.enter_context(progress("scoring", count))
        for scores in scorer.stream(batches(), seed, steps=False):
            pictures = waiting.popleft()
            bounds.append(scores.bound)
            if writer is not None:
                writer.append("images", pictures)
                writer.append("bound", scores.bound)
                writer.append("reconstruction", scores.reconstruction)
            if png is not None:
                both.append((pictures, scores.reconstruction))
            if gif is not None and sum(map(len, first)) < MAX_PICTURES:
                first.append(pictures)
            bar.advance(len(scores))
    bound = np.concatenate(bounds)
    if grey and binarise is None:
        note(f"pixels made 0 or 1 at one half, as in {metadata.dataset}; --no-binarise leaves them grey")
    note(summary(len(bound), time.perf_counter() - started, scorer))
    if npz is not None:
        note(f"wrote {npz}")
    if png is not None:
        left, right = (np.concatenate(side) for side in zip(*both, strict=True))
        write_png(png, pairs(left, right, scale=scale))
        note(f"wrote {png}")
    if gif is not None:
        shown = np.concatenate(first)[: shown_in(gif, len(bound))]
        steps = scorer(shown, seed, batch=batch)
        assert steps.canvases is not None
        windows = steps.read_attention, steps.write_attention
        sizes = metadata.read_size, metadata.write_size
        write_score_gif(gif, shown, steps.canvases, *windows, *sizes, steps.bound.tolist(), scale, fps or 10)
        note(f"wrote {gif}")
    _print(files.names, bound, as_json, math.prod(metadata.image_shape))


def _print(names: list[str], bounds: NDArray[np.float32], as_json: bool, values: int) -> None:
    """Nats, also per value (C x H x W of them): bits per dimension would claim a likelihood of 8-bit pixels."""
    if as_json:
        rows = [
            {"picture": name, "bound": float(bound), "bound_per_value": float(bound) / values}
            for name, bound in zip(names, bounds, strict=True)
        ]
        print_json(rows)
        return
    names = [printable(name) for name in names]
    width = max(len("picture"), *map(len, names))
    print(f"{'picture':<{width}}  bound (nats)  nats per value")
    for name, bound in zip(names, bounds, strict=True):
        print(f"{name:<{width}}  {bound:>12.2f}  {bound / values:>14.4f}")


def main() -> None:
    run_app(app, "draw-score")
