"""draw-gen: draw pictures with an exported decoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...console import VersionOption, check_outputs, make_app, note, run_app
from ...errors import DrawError
from .options import (
    APPEARANCE,
    OUTPUTS,
    BatchOption,
    ProviderChoice,
    ProviderOption,
    ScaleOption,
    ThreadsOption,
    model_file,
    output_file,
    summary,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..check_line import CheckLine
    from ..sampler import Sampler, Samples

app = make_app()
_SEED_MAX = 2**64 - 1
_WHAT = "Which pictures"


@app.command()
def command(
    context: typer.Context,
    onnx: Annotated[
        str,
        model_file("Decoder: an .onnx file that draw-export wrote, or the name of a packaged model."),
    ] = "mnist",
    gif: Annotated[
        Path | None,
        output_file("Write a GIF of the pictures being painted step by step."),
    ] = None,
    png: Annotated[
        Path | None,
        output_file("Write a sheet: one row per picture, one column per chosen step."),
    ] = None,
    grid: Annotated[
        Path | None,
        output_file("Write the finished pictures side by side as a PNG."),
    ] = None,
    npz: Annotated[
        Path | None,
        output_file(
            "Write the numbers: images, noise, canvases and write_attention where the file gives them, seed, start."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Print the line by which programs in other languages are compared with this one.",
            rich_help_panel=OUTPUTS,
        ),
    ] = False,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="Number of pictures.", rich_help_panel=_WHAT)
    ] = 64,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=_SEED_MAX, help="Seed, up to 2^64 - 1.", rich_help_panel=_WHAT, metavar="SEED"
        ),
    ] = 0,
    start: Annotated[
        int,
        typer.Option(
            min=0,
            max=_SEED_MAX,
            help="Number of the first picture; picture k of a seed is always the same.",
            rich_help_panel=_WHAT,
            metavar="K",
        ),
    ] = 0,
    interpolate: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="With --gif: go from the pictures of seed A to those of seed B and back.",
            rich_help_panel=_WHAT,
            metavar="A B",
        ),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(min=2, max=1000, help="Frames from A to B with --interpolate.", rich_help_panel=_WHAT),
    ] = 24,
    steps: Annotated[
        str | None,
        typer.Option(
            help="Columns of the sheet: step numbers from 1, as in 1,2,4,8. Unless given, ten spread over all.",
            rich_help_panel=APPEARANCE,
            metavar="LIST",
        ),
    ] = None,
    boxes: Annotated[
        bool,
        typer.Option(
            "--boxes/--no-boxes",
            help="Draw the write window: a red frame, thick where the filters are wide.",
            rich_help_panel=APPEARANCE,
        ),
    ] = True,
    fps: Annotated[
        float, typer.Option(help="Frames per second of GIFs, up to 50.", rich_help_panel=APPEARANCE)
    ] = 10.0,
    scale: ScaleOption = None,
    provider: ProviderOption = ProviderChoice.auto,
    threads: ThreadsOption = None,
    batch: BatchOption = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Draw pictures with an exported decoder: as a GIF, a sheet, a grid, or numbers.

    The same seed gives the same pictures on every machine and in every language.

        draw-gen --gif out.gif

        draw-gen --onnx draw.onnx -n 16 --seed 7 --png sheet.png --npz out.npz
    """
    outputs = {"--gif": gif, "--png": png, "--grid": grid, "--npz": npz}
    _check_outputs(outputs, interpolate is not None, check)
    if interpolate is not None:
        for name in ("seed", "steps"):
            if _given(context, name):
                raise typer.BadParameter(f"--interpolate goes from seed A to seed B: leave out --{name}.")
    elif _given(context, "frames"):
        raise typer.BadParameter("--frames is for --interpolate.")

    from ..check_line import CheckLine
    from ..pictures.gif import check_fps
    from ..sampler import Sampler

    check_fps(fps)
    sampler = Sampler(onnx, provider.value, threads)
    if interpolate is not None:
        assert gif is not None
        _interpolate(sampler, gif, count, interpolate, start, frames, fps, scale, batch)
        return
    columns = _parse_steps(steps, sampler.metadata.time_steps)
    if png is not None and not sampler.has_steps:
        raise DrawError(
            f"{onnx} holds finished pictures only, no steps for --png: use --grid, or export it with --outputs steps"
        )
    if gif is not None and not sampler.has_steps:
        note(
            "this file holds finished pictures only: the GIF shows one picture per frame;"
            " draw-export --outputs steps gives the steps"
        )
    _check_sizes(sampler, count, gif, png, grid, columns, scale)
    started = time.perf_counter()
    line = CheckLine() if check else None
    samples = _sample(
        sampler,
        count,
        seed,
        start,
        batch,
        npz,
        line,
        keep=any((gif, png, grid)),
        steps=bool(gif or png or npz),
    )
    note(summary(count, "picture", time.perf_counter() - started, sampler.provider, sampler.threads))
    if line is not None:
        print(line)
    if npz is not None:
        print(npz)
    if samples is None:
        return
    _draw(sampler, samples, gif, png, grid, columns, boxes, fps, scale)


def _given(context: typer.Context, name: str) -> bool:
    """Whether the user gave this option, be it with its default value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_outputs(outputs: dict[str, Path | None], interpolating: bool, check: bool) -> None:
    given = {option for option, path in outputs.items() if path is not None} | (
        {"--check"} if check else set()
    )
    if not given:
        raise typer.BadParameter(
            "nothing to write: give --gif FILE (painted step by step), --png FILE (a sheet of steps),"
            " --grid FILE (finished pictures), --npz FILE (numbers) or --check (one line)."
        )
    if interpolating and given != {"--gif"}:
        raise typer.BadParameter("--interpolate writes a GIF and nothing else: give --gif FILE alone.")
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


def _check_sizes(
    sampler: Sampler,
    count: int,
    gif: Path | None,
    png: Path | None,
    grid: Path | None,
    columns: list[int] | None,
    scale: int | None,
) -> None:
    """Refuse pictures beyond use before the work, not after it."""
    from ..pictures.drawing import chosen_steps, sheet_layout
    from ..pictures.gif import grid_layout

    _, height, width = sampler.metadata.image_shape
    if grid:
        grid_layout(count, width, height, scale)
    if gif and sampler.has_steps:
        grid_layout(count, width, height, scale, sampler.metadata.time_steps)
    elif gif:
        grid_layout(1, width, height, scale, count)
    if png:
        steps = len(columns or chosen_steps(sampler.metadata.time_steps))
        sheet_layout(count, steps, width, height, scale)


def _sample(
    sampler: Sampler,
    count: int,
    seed: int,
    start: int,
    batch: int | None,
    npz: Path | None,
    line: CheckLine | None,
    keep: bool,
    steps: bool,
) -> Samples | None:
    """All samples, or None when the numbers went straight into the npz and no picture needs them."""
    from contextlib import ExitStack

    import numpy as np

    from ...console import progress
    from ..sampler import join
    from .npz import NpzWriter

    parts = []
    with ExitStack() as stack:
        writer = stack.enter_context(NpzWriter(npz)) if npz is not None else None
        bar = stack.enter_context(progress("drawing", count))
        for part in sampler.stream(count, seed, start, batch, steps):
            if writer is not None:
                for name, rows in _arrays(part).items():
                    writer.append(name, rows)
            if line is not None:
                line.add(part)
            if keep:
                parts.append(part)
            bar.advance(len(part))
        if writer is not None:
            writer.put("seed", np.array(seed, np.uint64))
            writer.put("start", np.array(start, np.uint64))
    return join(parts) if parts else None


def _arrays(part: Samples) -> dict[str, NDArray[np.float32]]:
    arrays: dict[str, Any] = {
        "images": part.images,
        "noise": part.noise,
        "canvases": part.canvases,
        "write_attention": part.write_attention,
    }
    return {name: value for name, value in arrays.items() if value is not None}


def _draw(
    sampler: Sampler,
    samples: Samples,
    gif: Path | None,
    png: Path | None,
    grid_path: Path | None,
    columns: list[int] | None,
    boxes: bool,
    fps: float,
    scale: int | None,
) -> None:
    from ...console import progress
    from ..pictures.drawing import grid, sheet, write_png
    from ..pictures.gif import write_images_gif, write_steps_gif

    windows = samples.write_attention if boxes else None
    size = sampler.metadata.write_size
    if gif is not None:
        if samples.canvases is not None:
            with progress("writing the GIF", sampler.metadata.time_steps) as bar:
                write_steps_gif(gif, samples.canvases, windows, size, scale, fps, advance=bar.advance)
        else:
            write_images_gif(gif, list(samples.images[:, None]), scale, min(fps, 2.0))
        print(gif)
    if png is not None:
        assert samples.canvases is not None
        write_png(png, sheet(samples.canvases, windows, size, columns, scale))
        print(png)
    if grid_path is not None:
        write_png(grid_path, grid(samples.images, scale))
        print(grid_path)


def _interpolate(
    sampler: Sampler,
    gif: Path,
    count: int,
    seeds: tuple[int, int],
    start: int,
    frames: int,
    fps: float,
    scale: int | None,
    batch: int | None,
) -> None:
    from ...console import progress
    from ..noise import check_range, noise, slerp
    from ..pictures.gif import grid_layout, write_images_gif

    _, height, width = sampler.metadata.image_shape
    check_range(start, count)
    grid_layout(count, width, height, scale, 2 * frames)
    t, z = sampler.metadata.time_steps, sampler.metadata.latent_size
    a, b = (noise(seed, start, count, t, z) for seed in seeds)
    started = time.perf_counter()
    images = []
    with progress("drawing", frames) as bar:
        for index in range(frames):
            images.append(sampler.sample_noise(slerp(a, b, index / (frames - 1)), batch, steps=False).images)
            bar.advance()
    note(summary(count * frames, "picture", time.perf_counter() - started, sampler.provider, sampler.threads))
    # There and back: the ends are rests of half a second, and nothing jumps.
    rest = max(1, round(fps / 2))
    path = [0] * rest + list(range(1, frames - 1)) + [frames - 1] * rest + list(range(frames - 2, 0, -1))
    with progress("writing the GIF", len(path)) as bar:
        write_images_gif(gif, [images[index] for index in path], scale, fps, hold=0, advance=bar.advance)
    print(gif)


def main() -> None:
    run_app(app, "draw-gen")
