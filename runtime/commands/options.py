"""The options and lines that the runtime's commands share; ``console.option`` says how one is declared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...console import note, option

if TYPE_CHECKING:
    from ..session import OpenedModel

# Groups of --help.
WHICH, OUTPUTS, APPEARANCE, RUNNING = "Which pictures", "Outputs", "Appearance", "Running"
SEED_MAX = 2**64 - 1

Provider = Annotated[
    Literal["auto", "cpu", "cuda"],
    option(
        "Where to run. auto takes the GPU when it works; cuda fails with the reason when it does not.",
        RUNNING,
    ),
]


def _threads(what: str) -> Any:
    return option(f"{what} at the same time. The CPUs at hand unless given.", RUNNING, min=1, max=1024)


Threads = Annotated[int | None, _threads("Batches run")]
PictureThreads = Annotated[int | None, _threads("Batches run, and picture files prepared,")]
Batch = Annotated[
    int | None,
    option(
        "Pictures through the graph at once, 32 on a CPU and 256 on a GPU unless given. Speed only, but for int8 files.",
        RUNNING,
        min=1,
        max=65536,
    ),
]
Scale = Annotated[
    int | None,
    option(
        "Screen pixels per pixel. Unless given what fits a screen, 800 to 1200 pixels.",
        APPEARANCE,
        min=1,
        max=64,
    ),
]
Fps = Annotated[
    float | None,
    option(
        "Frames per second of the GIF, up to 50. Unless given: 10 for steps and --interpolate, 2 for"
        " glimpses and pictures without steps.",
        APPEARANCE,
    ),
]
Json = Annotated[bool, option("Print JSON in place of the table.", OUTPUTS, "--json")]
Ink = Annotated[
    Literal["auto", "light", "dark"] | None,
    option(
        "What the ink is: light (on dark), dark (on light), or auto, which finds out. For models of figures of a known"
        " size.",
        show_default="auto",
    ),
]
Invert = Annotated[
    bool, option("The pictures are dark on light; the model reads light on dark.", None, "--invert")
]


def given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, be it with its default value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def check_used(context: typer.Context, uses: dict[str, dict[str, Path | None]]) -> None:
    """Refuse an option that does nothing without one of some outputs.

    Args:
        uses: for each option's name the outputs, by their options, of which one at least must be asked for.
    """
    for name, outputs in uses.items():
        if given(context, name) and not any(outputs.values()):
            raise typer.BadParameter(f"--{name} is for {' and '.join(outputs)}.")


def summary(count: int, seconds: float, model: OpenedModel) -> str:
    """One line for stderr: how many pictures, how fast and where."""
    threads = f"{model.threads} CPU thread{'s' if model.threads > 1 else ''}"
    rate = count / seconds if seconds > 0 else float("inf")
    where = threads if model.provider == "cpu" else "CUDA"
    return (
        f"{count} picture{'s' if count != 1 else ''} in {seconds:.2f} s ({rate:,.0f} pictures/s) on {where}"
    )


def shown_in(gif: Path, count: int) -> int:
    """How many of ``count`` pictures a GIF of looks shows; one line where it is not all."""
    from ..pictures.attention_gifs import MAX_PICTURES

    if count > MAX_PICTURES:
        note(f"{gif} shows the first {MAX_PICTURES} of {count} pictures")
    return min(count, MAX_PICTURES)
