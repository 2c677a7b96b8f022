"""draw-gen: draw pictures with an exported decoder."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import VersionOption, check_outputs, make_app, note, option, progress, run_app
from ...errors import DrawError
from ...files import check_not_read
from ...streams import as_data
from . import options
from .options import APPEARANCE, OUTPUTS, SEED_MAX, WHICH, check_used, given, summary

if TYPE_CHECKING:
    from ..check_line import CheckLine
    from ..sampler import Sampler, Samples

app = make_app()


@dataclass(frozen=True)
class _Job:
    """What was asked for."""

    count: int
    seed: int
    start: int
    temperature: float
    batch: int | None
    gif: Path | None
    png: Path | None
    grid: Path | None
    npz: Path | None
    columns: list[int] | None  # steps of the sheet
    boxes: bool
    fps: float | None
    scale: int | None


@app.command()
def command(
    context: typer.Context,
    onnx: Annotated[
        str,
        option(
            "Decoder: an .onnx file that draw-export wrote, a folder of draw-export --hub, or a packaged model's name.",
            metavar="FILE|FOLDER|NAME",
        ),
    ] = "mnist",
    gif: Annotated[
        Path | None, option("Write a GIF of the pictures being painted step by step.", OUTPUTS)
    ] = None,
    png: Annotated[
        Path | None, option("Write a sheet: one row per picture, one column per chosen step.", OUTPUTS)
    ] = None,
    grid: Annotated[
        Path | None, option("Write the finished pictures side by side as a PNG.", OUTPUTS)
    ] = None,
    npz: Annotated[
        Path | None,
        option(
            "Write the numbers: images, noise, seed, start, temperature and, where the file gives them, the steps.",
            OUTPUTS,
        ),
    ] = None,
    check: Annotated[
        bool,
        option(
            "Print the line by which programs in other languages are compared with this one.",
            OUTPUTS,
            "--check",
        ),
    ] = False,
    count: Annotated[int, option("Number of pictures.", WHICH, "-n", "--count", min=1)] = 64,
    seed: Annotated[int, option("Seed, up to 2^64 - 1.", WHICH, min=0, max=SEED_MAX, metavar="SEED")] = 0,
    start: Annotated[
        int,
        option(
            "Number of the first picture; picture k of a seed is always the same.",
            WHICH,
            min=0,
            max=SEED_MAX,
            metavar="K",
        ),
    ] = 0,
    temperature: Annotated[
        float,
        option(
            "Multiply the noise by this: below 1 pictures are more regular and vary less, at 1 they are as the model"
            " learned them.",
            WHICH,
            min=0,
            max=10,
            metavar="FACTOR",
        ),
    ] = 1.0,
    interpolate: Annotated[
        tuple[int, int] | None,
        option(
            "With --gif: go from the pictures of seed A to those of seed B and back.", WHICH, metavar="A B"
        ),
    ] = None,
    frames: Annotated[int, option("Frames from A to B with --interpolate.", WHICH, min=2, max=1000)] = 24,
    steps: Annotated[
        str | None,
        option(
            "Columns of the sheet: step numbers from 1, as in 1,2,4,8. Ten unless given.",
            APPEARANCE,
            metavar="LIST",
        ),
    ] = None,
    boxes: Annotated[
        bool, option("Draw the write window: a red frame, thick where the filters are wide.", APPEARANCE)
    ] = True,
    fps: options.Fps = None,
    scale: options.Scale = None,
    provider: options.Provider = "auto",
    threads: options.Threads = None,
    batch: options.Batch = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Draw pictures with an exported decoder: as a GIF, a sheet, a grid, or numbers.

    The same seed gives the same pictures on every machine and in every language.

        draw-gen --gif out.gif

        draw-gen --onnx draw.onnx -n 16 --seed 7 --png sheet.png --npz out.npz
    """
    if math.isnan(temperature):  # older releases of Typer let it pass as within the range
        raise typer.BadParameter("--temperature must be a number from 0 to 10.")
    _check_usage(context, {"--gif": gif, "--png": png, "--grid": grid, "--npz": npz}, check)

    from ...pretrained import files_read
    from ..check_line import CheckLine
    from ..noise import check_range
    from ..pictures.gif import check_fps
    from ..sampler import Sampler

    check_fps(fps)
    check_not_read((gif, png, grid, npz), files_read(onnx))
    check_range(start, count)  # before sizes are computed of it
    sampler = Sampler(onnx, provider, threads)
    job = _Job(
        count=count,
        seed=seed,
        start=start,
        temperature=temperature,
        batch=batch,
        gif=gif,
        png=png,
        grid=grid,
        npz=npz,
        columns=_parse_steps(steps, sampler.metadata.time_steps),
        boxes=boxes,
        fps=fps,
        scale=scale,
    )
    if interpolate is not None:
        _interpolate(sampler, job, interpolate, frames)
        return
    if png is not None and not sampler.has_steps:
        raise DrawError(
            f"{onnx} holds finished pictures only, no steps for --png: use --grid, or export it with --outputs steps"
        )
    if boxes and given(context, "boxes") and not (sampler.has_steps and sampler.metadata.attention):
        raise DrawError(f"{onnx} gives no windows to draw: leave out --boxes")
    if gif is not None and not sampler.has_steps:
        note(
            "this file holds finished pictures only: the GIF shows one picture per frame;"
            " draw-export --outputs steps gives the steps"
        )
    _check_sizes(sampler, job)
    line = CheckLine() if check else None
    samples = _sample(sampler, job, line)
    if samples is not None:
        _draw(sampler, job, samples)
    # Said when all is written: whatever becomes of stdout, the files are there.
    if line is not None:
        print(line)
    for path in (npz, gif, png, grid):
        if path is not None:
            print(as_data(str(path)))


def _check_usage(context: typer.Context, outputs: dict[str, Path | None], check: bool) -> None:
    wanted = [option for option, path in outputs.items() if path is not None] + ["--check"] * check
    if not wanted:
        raise typer.BadParameter(
            "nothing to write: give --gif FILE (painted step by step), --png FILE (a sheet of steps),"
            " --grid FILE (finished pictures), --npz FILE (numbers) or --check (one line)."
        )
    if given(context, "interpolate"):
        if wanted != ["--gif"]:
            raise typer.BadParameter("--interpolate writes a GIF and nothing else: give --gif FILE alone.")
        if not all(0 <= seed <= SEED_MAX for seed in context.params["interpolate"]):
            raise typer.BadParameter("--interpolate: seeds are whole numbers from 0 to 2^64 - 1.")
        for name in ("seed", "steps", "boxes"):
            if given(context, name):
                raise typer.BadParameter(
                    f"--interpolate shows finished pictures from seed A to seed B: leave out --{name}."
                )
    elif given(context, "frames"):
        raise typer.BadParameter("--frames is for --interpolate.")
    gif, png, grid = ({name: outputs[name]} for name in ("--gif", "--png", "--grid"))
    check_used(context, {"steps": png, "boxes": gif | png, "fps": gif, "scale": gif | png | grid})
    check_outputs(outputs)


def _parse_steps(text: str | None, total: int) -> list[int] | None:
    if text is None:
        return None
    try:
        steps = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--steps takes step numbers with commas between them, not {text!r}."
        ) from None
    if not all(1 <= step <= total for step in steps):
        raise DrawError(f"--steps {text}: this model has steps 1 to {total}")
    return steps


def _check_sizes(sampler: Sampler, job: _Job) -> None:
    """Refuse pictures beyond use before the work, not after it."""
    from ..pictures.drawing import chosen_steps, grid_layout, sheet_layout
    from ..pictures.gif import frames_layout

    total, (_, height, width) = sampler.metadata.time_steps, sampler.metadata.image_shape
    if job.grid:
        grid_layout(job.count, width, height, job.scale)
    if job.gif:
        # With windows the finished picture comes once more, without its own.
        painted = total + (job.boxes and sampler.metadata.attention)
        tiles, frames = (job.count, painted) if sampler.has_steps else (1, job.count)
        frames_layout(tiles, width, height, job.scale, frames)
    if job.png:
        sheet_layout(job.count, len(job.columns or chosen_steps(total)), width, height, job.scale)


def _sample(sampler: Sampler, job: _Job, line: CheckLine | None) -> Samples | None:
    """All samples but their noise, or None when the numbers went straight into the npz and no picture needs them."""
    import numpy as np

    from ..batches import join
    from .npz import NpzWriter

    parts, started = [], time.perf_counter()
    steps = bool(job.gif or job.png or job.npz)
    with ExitStack() as stack:
        writer = stack.enter_context(NpzWriter(job.npz)) if job.npz is not None else None
        bar = stack.enter_context(progress("drawing", job.count))
        for part in sampler.stream(job.count, job.seed, job.start, job.batch, steps, job.temperature):
            if writer is not None:
                for name in ("images", "noise", "canvases", "write_attention"):
                    if (rows := getattr(part, name)) is not None:
                        writer.append(name, rows)
            if line is not None:
                line.add(part)
            if job.gif or job.png or job.grid:
                # What wants the noise has had it; without steps it would be most of what is kept.
                part = replace(part, noise=np.empty((0, *part.noise.shape[1:]), np.float32))
                parts.append(
                    part if job.gif or job.png else replace(part, canvases=None, write_attention=None)
                )
            bar.advance(len(part))
        if writer is not None:
            writer.put("seed", np.array(job.seed, np.uint64))
            writer.put("start", np.array(job.start, np.uint64))
            writer.put("temperature", np.array(job.temperature))
    note(summary(job.count, time.perf_counter() - started, sampler))
    return join(parts) if parts else None


def _draw(sampler: Sampler, job: _Job, samples: Samples) -> None:
    from ..pictures.drawing import grid, sheet, write_png
    from ..pictures.gif import write_images_gif, write_steps_gif

    windows = samples.write_attention if job.boxes else None
    size, canvases = sampler.metadata.write_size, samples.canvases
    if job.gif is not None:
        frames = job.count if canvases is None else canvases.shape[1] + (windows is not None)
        with progress("writing the GIF", frames) as bar:
            if canvases is None:
                write_images_gif(
                    job.gif, samples.images[:, None], job.scale, job.fps or 2, advance=bar.advance
                )
            else:
                write_steps_gif(
                    job.gif, canvases, windows, size, job.scale, job.fps or 10, advance=bar.advance
                )
    if job.png is not None:
        assert canvases is not None
        write_png(job.png, sheet(canvases, windows, size, job.columns, job.scale))
    if job.grid is not None:
        write_png(job.grid, grid(samples.images, job.scale))


def _interpolate(sampler: Sampler, job: _Job, seeds: tuple[int, int], frames: int) -> None:
    from ..noise import check_temperature, noise, slerp
    from ..pictures.gif import frames_layout, write_images_gif

    assert job.gif is not None
    _, height, width = sampler.metadata.image_shape
    scale = check_temperature(job.temperature)
    # There and back: the ends are rests of half a second, and nothing jumps.
    fps = job.fps or 10
    rest = max(1, round(fps / 2))
    path = [0] * rest + list(range(1, frames - 1)) + [frames - 1] * rest + list(range(frames - 2, 0, -1))
    frames_layout(job.count, width, height, job.scale, len(path))
    t, z = sampler.metadata.time_steps, sampler.metadata.latent_size
    a, b = (noise(seed, job.start, job.count, t, z) for seed in seeds)
    started, images = time.perf_counter(), []
    with progress("drawing", frames) as bar:
        for index in range(frames):
            between = scale * slerp(a, b, index / (frames - 1))
            images.append(sampler.sample_noise(between, job.batch, steps=False).images)
            bar.advance()
    note(summary(job.count * frames, time.perf_counter() - started, sampler))
    with progress("writing the GIF", len(path)) as bar:
        write_images_gif(job.gif, [images[index] for index in path], job.scale, fps, 0, bar.advance)
    print(as_data(str(job.gif)))


def main() -> None:
    run_app(app, "draw-gen")
