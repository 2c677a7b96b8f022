"""The options that draw-train and draw-eval share; ``console.option`` says how one is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ..console import option

DATA, MACHINE = "Data", "Machine"  # groups of --help

Device = Literal["auto", "cpu", "cuda"]
DataDir = Annotated[
    Path | None,
    option(
        "Folder that holds mnist/, binarized_mnist/, ...; missing files are downloaded into it."
        " Default: a cache folder of the user's.",
        DATA,
        envvar="DRAW_DATA",
    ),
]
Threads = Annotated[
    int | None, option("CPU threads. Default: the library's choice.", MACHINE, min=1, max=1024)
]
