"""The options and lines that the runtime's commands share; ``console.option`` says how one is declared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ...console import note, option

if TYPE_CHECKING:
    from ..session import OpenedModel

# Groups of --help.
WHICH, OUTPUTS, APPEARANCE, RUNNING = "Which pictures", "Outputs", "Appearance", "Running"
SEED_MAX = 2**64 - 1

_PROVIDER = "Where to run. auto takes the GPU when it works; cuda fails with the reason when it does not."
_THREADS = "Batches run at the same time. The CPUs at hand unless given."
_BATCH = "Pictures through the graph at once, 32 on a CPU and 256 on a GPU unless given. Speed only."
_SCALE = "Screen pixels per pixel. Fitting about 1000 pixels unless given."
_FPS = "Frames per second of the GIF, up to 50. Unless given: 10, and 2 for glimpses and finished pictures."
_INVERT = "The pictures are dark on light; the model reads light on dark."
_INK = "What the ink is: light (on dark), dark (on light), or auto, which finds out. For models of figures of a known size."

Provider = Annotated[Literal["auto", "cpu", "cuda"], option(_PROVIDER, RUNNING)]
Threads = Annotated[int | None, option(_THREADS, RUNNING, min=1, max=1024)]
Batch = Annotated[int | None, option(_BATCH, RUNNING, min=1, max=65536)]
Scale = Annotated[int | None, option(_SCALE, APPEARANCE, min=1, max=64)]
Fps = Annotated[float | None, option(_FPS, APPEARANCE)]
Json = Annotated[bool, option("Print JSON in place of the table.", OUTPUTS, "--json")]
Ink = Annotated[Literal["auto", "light", "dark"] | None, option(_INK, None, show_default="auto")]
Invert = Annotated[bool, option(_INVERT, None, "--invert")]


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
