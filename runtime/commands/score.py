"""draw-score: the bound and the reconstruction of pictures, by an exported scorer."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import VersionOption, check_outputs, make_app, note, option, progress, run_app
from ...errors import DrawError
from ...files import check_not_read
from ...streams import print_json, printable
from ..metadata import COVER, PAD
from . import options
from .columns import columns
from .options import OUTPUTS, SEED_MAX, check_used, shown_in, summary
from .picture_files import PictureFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..scorer import Scorer

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
    threads: options.PictureThreads = None,
    batch: options.Batch = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Score pictures: the bound in nats (lower is better) and how the network would paint them.

    A picture unlike those it was trained on tends to score higher, a plain one low all the same.

        draw-score --onnx scorer.onnx digit.png --gif reading.gif
    """
    check_used(context, {"fps": {"--gif": gif}, "scale": {"--gif": gif, "--png": png}})
    check_outputs({"--gif": gif, "--png": png, "--npz": npz})

    for path in images:
        if path.suffix.lower() == ".npz":
            raise DrawError(f"{path}: draw-score reads picture files; Scorer of the Python API takes arrays")

    from ...pretrained import files_read
    from ..pictures.gif import check_fps
    from ..scorer import Scorer

    check_fps(fps)
    scorer = Scorer(onnx, provider, threads)
    if gif is not None and not scorer.has_steps:
        raise DrawError(f"{onnx} gives results only, no steps for --gif: export it with --outputs steps")
    files = PictureFiles(images, threads=scorer.threads)
    check_not_read((gif, png, npz), (*files_read(onnx), *files.names))
    job = _Job(
        seed=seed,
        binarise=binarise,
        picture_fit=scorer.metadata.picture_fit if cover is None else COVER if cover else PAD,
        ink="dark" if invert else "light",
        batch=batch,
        gif=gif,
        png=png,
        npz=npz,
        fps=fps,
        scale=scale,
    )
    _check_sizes(scorer, job, len(files.names))
    scored = _score(scorer, files, job)
    _write(scorer, job, scored)
    _print(files.names, scored.bound, as_json, math.prod(scorer.metadata.image_shape))


@dataclass(frozen=True)
class _Job:
    """What was asked for."""

    seed: int
    binarise: bool | None
    picture_fit: str
    ink: str
    batch: int | None
    gif: Path | None
    png: Path | None
    npz: Path | None
    fps: float | None
    scale: int | None


@dataclass(frozen=True)
class _Scored:
    """What came of it; pictures and reconstructions as far as they will be drawn."""

    bound: NDArray[np.float32]  # [n]
    pictures: list[NDArray[np.float32]]  # [C, H, W] each
    reconstructions: list[NDArray[np.float32]]


def _check_sizes(scorer: Scorer, job: _Job, count: int) -> None:
    """Refuse pictures beyond use before the work, not after it."""
    from ..pictures.attention_gifs import MAX_PICTURES, looks_layout
    from ..pictures.drawing import pairs_layout

    _, height, width = scorer.metadata.image_shape
    if job.png is not None:
        pairs_layout(count, width, height, job.scale)
    if job.gif is not None:
        looks_layout(min(count, MAX_PICTURES), width, height, scorer.metadata.time_steps, job.scale)


def _score(scorer: Scorer, files: PictureFiles, job: _Job) -> _Scored:
    """The bounds; the numbers go into the npz as they come."""
    import numpy as np

    from ..pictures.attention_gifs import MAX_PICTURES
    from .npz import NpzWriter

    metadata = scorer.metadata
    # No figure is looked for: what is scored is the picture.
    rule = metadata.picture_rule._replace(figure_size=None, picture_fit=job.picture_fit)
    made_binary = metadata.binary if job.binarise is None else job.binarise
    grey = False  # whether a picture was made binary that was not
    waiting: deque[NDArray[np.float32]] = deque()  # pictures that are being scored

    def batches() -> Iterator[NDArray[np.float32]]:
        nonlocal grey
        for part in files.prepared(scorer.batch_size(job.batch), rule, job.ink):
            pictures = np.stack([prepared.image for prepared in part])
            if made_binary:
                grey |= bool(((pictures > 0) & (pictures < 1)).any())
                pictures = (pictures >= 0.5).astype(np.float32)
            waiting.append(pictures)
            yield pictures

    started, count = time.perf_counter(), len(files.names)
    bounds: list[NDArray[np.float32]] = []
    drawn = count if job.png is not None else MAX_PICTURES if job.gif is not None else 0
    first: list[NDArray[np.float32]] = []
    reconstructions: list[NDArray[np.float32]] = []
    with ExitStack() as stack:
        writer = stack.enter_context(NpzWriter(job.npz)) if job.npz is not None else None
        bar = stack.enter_context(progress("scoring", count))
        for scores in scorer.stream(batches(), job.seed, steps=False):
            pictures = waiting.popleft()
            bounds.append(scores.bound)
            if writer is not None:
                writer.append("images", pictures)
                writer.append("bound", scores.bound)
                writer.append("reconstruction", scores.reconstruction)
            left = drawn - len(first)
            first.extend(pictures[:left])
            reconstructions.extend(scores.reconstruction[:left])
            bar.advance(len(scores))
    bound = np.concatenate(bounds)
    if grey and job.binarise is None:
        note(f"pixels made 0 or 1 at one half, as in {metadata.dataset}; --no-binarise leaves them grey")
    note(summary(len(bound), time.perf_counter() - started, scorer))
    return _Scored(bound, first, reconstructions)


def _write(scorer: Scorer, job: _Job, scored: _Scored) -> None:
    import numpy as np

    from ..pictures.attention_gifs import write_score_gif
    from ..pictures.drawing import pairs, write_png

    if job.npz is not None:
        note(f"wrote {job.npz}")
    if job.png is not None:
        write_png(
            job.png, pairs(np.stack(scored.pictures), np.stack(scored.reconstructions), scale=job.scale)
        )
        note(f"wrote {job.png}")
    if job.gif is not None:
        shown = np.stack(scored.pictures[: shown_in(job.gif, len(scored.bound))])
        steps = scorer(shown, job.seed, batch=job.batch)
        assert steps.canvases is not None
        windows = steps.read_attention, steps.write_attention
        sizes = scorer.metadata.read_size, scorer.metadata.write_size
        bounds = steps.bound.tolist()
        write_score_gif(job.gif, shown, steps.canvases, *windows, *sizes, bounds, job.scale, job.fps or 10)
        note(f"wrote {job.gif}")


def _print(names: list[str], bounds: NDArray[np.float32], as_json: bool, values: int) -> None:
    """Nats, also per value (C x H x W of them): bits per dimension would claim a likelihood of 8-bit pixels."""
    if as_json:
        rows = [
            {"picture": name, "bound": float(bound), "bound_per_value": float(bound) / values}
            for name, bound in zip(names, bounds, strict=True)
        ]
        print_json(rows)
        return
    table = [["picture", "bound (nats)", "nats per value"]]
    for name, bound in zip(names, bounds, strict=True):
        table.append([printable(name), f"{bound:.2f}", f"{bound / values:.4f}"])
    print("\n".join(columns(table, right=(1, 2))))


def main() -> None:
    run_app(app, "draw-score")
