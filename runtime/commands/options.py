"""Options and the closing line that the runtime's commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

OUTPUTS, APPEARANCE, _RUN = "Outputs", "Appearance", "Running"


class ProviderChoice(StrEnum):
    """--provider"""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ProviderOption = Annotated[
    ProviderChoice,
    typer.Option(
        help="Where to run. auto takes the GPU when it works; cuda fails with the reason when it does not.",
        rich_help_panel=_RUN,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Batches run at the same time. The CPUs at hand unless given.",
        rich_help_panel=_RUN,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65536,
        help="Pictures through the graph at once, 32 on a CPU and 256 on a GPU unless given. Speed only.",
        rich_help_panel=_RUN,
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
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON in place of the table.", rich_help_panel=OUTPUTS)
]
InvertOption = Annotated[
    bool, typer.Option("--invert", help="The pictures are dark on light; the model reads light on dark.")
]


def output_file(text: str) -> Any:
    """An option that names a file to write."""
    return typer.Option(help=text, rich_help_panel=OUTPUTS, metavar="FILE")


def model_file(text: str) -> Any:
    """The option --onnx."""
    return typer.Option(help=text, metavar="FILE|NAME")


def summary(count: int, noun: str, seconds: float, provider: str, threads: int) -> str:
    """One line for stderr: what was done, how fast and where."""
    where = f"{threads} CPU thread{'s' if threads > 1 else ''}" if provider == "cpu" else "CUDA"
    rate = count / seconds if seconds > 0 else float("inf")
    return f"{count} {noun}{'s' if count != 1 else ''} in {seconds:.2f} s ({rate:,.0f} {noun}s/s) on {where}"
