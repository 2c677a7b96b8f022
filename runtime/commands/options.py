"""Options and lines that the runtime's commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...console import note

if TYPE_CHECKING:
    from ..session import OpenedModel

# Groups of --help.
OUTPUTS, APPEARANCE, RUNNING = "Outputs", "Appearance", "Running"
SEED_MAX = 2**64 - 1

ProviderOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(
        help="Where to run. auto takes the GPU when it works; cuda fails with the reason when it does not.",
        rich_help_panel=RUNNING,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Batches run at the same time. The CPUs at hand unless given.",
        rich_help_panel=RUNNING,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65536,
        help="Pictures through the graph at once, 32 on a CPU and 256 on a GPU unless given. Speed only.",
        rich_help_panel=RUNNING,
    ),
]
ScaleOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Screen pixels per pixel. Fitting about 1000 pixels unless given.",
        rich_help_panel=APPEARANCE,
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option(
        help="Frames per second of the GIF, up to 50. Unless given: 10, and 2 for glimpses and finished pictures.",
        rich_help_panel=APPEARANCE,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON in place of the table.", rich_help_panel=OUTPUTS)
]
InvertOption = Annotated[
    bool, typer.Option("--invert", help="The pictures are dark on light; the model reads light on dark.")
]


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
