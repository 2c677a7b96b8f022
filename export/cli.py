"""``draw-export``: a checkpoint becomes one ONNX file, compared with torch before it is written."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import VersionOption, make_app, note, progress, run_app
from ..errors import DrawError

if TYPE_CHECKING:
    from .parity import Exported, Row

app = make_app()


class Graph(StrEnum):
    decoder = "decoder"
    classifier = "classifier"
    scorer = "scorer"


class Outputs(StrEnum):
    steps = "steps"
    image = "image"


class Recurrence(StrEnum):
    unrolled = "unrolled"
    lstm = "lstm"


class Precision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"


_FILE, _CHECK, _ABOUT = "What to write", "Parity with torch", "About the model"


@app.command()
def command(
    ckpt: str = typer.Option(
        ..., "--ckpt", metavar="FILE|NAME", help="Checkpoint of draw-train, or the name of a packaged model."
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", metavar="FILE", help="ONNX file to write.", show_default="GRAPH.onnx"
    ),
    graph: Graph | None = typer.Option(
        None,
        "--graph",
        help="decoder paints from noise, scorer rates a picture in nats, classifier names it.",
        show_default="decoder, or classifier for a classifier's checkpoint",
        rich_help_panel=_FILE,
    ),
    outputs: Outputs = typer.Option(
        Outputs.steps,
        "--outputs",
        help="steps also gives every step's canvas, window and glimpse; image leaves them out and is faster.",
        rich_help_panel=_FILE,
    ),
    time_steps: int | None = typer.Option(
        None,
        "--time-steps",
        min=1,
        max=4096,
        metavar="T",
        help="Steps to unroll.",
        show_default="as trained",
        rich_help_panel=_FILE,
    ),
    recurrence: Recurrence = typer.Option(
        Recurrence.unrolled,
        "--recurrence",
        help="lstm is one operator for all steps of a decoder: faster on CPUs, known to fewer engines.",
        rich_help_panel=_FILE,
    ),
    dtype: Precision = typer.Option(
        Precision.fp32,
        "--dtype",
        help="fp16 halves the file; inputs, outputs and windows stay float32.",
        rich_help_panel=_FILE,
    ),
    batch: int | None = typer.Option(
        None,
        "--batch",
        min=1,
        max=65536,
        metavar="N",
        help="Static first axis of N pictures, for engines that want one.",
        show_default="dynamic",
        rich_help_panel=_FILE,
    ),
    triton: Path | None = typer.Option(
        None,
        "--triton",
        metavar="DIR",
        help="Also a Triton model repository: DIR/NAME/1/model.onnx and DIR/NAME/config.pbtxt, NAME being "
        "that of the -o file, which itself is left out unless -o is given.",
        show_default="none",
        rich_help_panel=_FILE,
    ),
    opset: int = typer.Option(
        17, "--opset", min=13, max=18, metavar="N", help="ONNX opset, 13 to 18.", rich_help_panel=_FILE
    ),
    atol: float | None = typer.Option(
        None,
        "--atol",
        metavar="X",
        help="Largest error of a probability; four times torch float32's own passes too.",
        show_default="1e-5, fp16 2e-2",
        rich_help_panel=_CHECK,
    ),
    check: bool = typer.Option(
        True, "--check/--no-check", help="Compare with torch before writing.", rich_help_panel=_CHECK
    ),
    model_license: str = typer.Option(
        "MIT", "--model-license", metavar="TEXT", help="Goes into the metadata.", rich_help_panel=_ABOUT
    ),
    model_author: str = typer.Option(
        "draw-onnx authors",
        "--model-author",
        metavar="TEXT",
        help="Goes into the metadata.",
        rich_help_panel=_ABOUT,
    ),
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Turn a checkpoint into one plain ONNX file and check it against torch.

    Prints nodes, bytes, load time and the largest error of every output. A file that misses its gate is
    not written.
    """
    if atol is not None and not 0.0 < atol < float("inf"):
        raise DrawError(f"--atol must be a positive number, not {atol:g}")

    from ..files import atomic_write, check_writable
    from ..models.checkpoint import load_checkpoint
    from ..pretrained import find_packaged
    from .graphs import ExportOptions
    from .parity import PARITY_CASES, export
    from .triton import check_repository, write_repository

    source = find_packaged(ckpt, ".ckpt", "checkpoint")
    checkpoint = load_checkpoint(source)
    options = ExportOptions(
        graph and graph.value,
        outputs.value,
        time_steps,
        recurrence.value,
        dtype.value,
        batch,
        opset,
        model_license,
        model_author,
    )
    resolved, _ = options.resolve(checkpoint)
    target = output or Path(f"{resolved}.onnx")
    if triton is None or output is not None:
        check_writable(target)
        if target.exists() and target.samefile(source):
            raise DrawError(f"{target} is the checkpoint itself; choose another name for the ONNX file")
    if triton is not None:
        check_repository(triton, target.stem)

    with progress("comparing with torch", PARITY_CASES if check and batch is None else 1) as bar:
        exported = export(checkpoint, options, atol=atol, check=check, advance=bar.advance)
    # Files first: whatever becomes of stdout, they are there.
    written = []
    if exported.passed and (triton is None or output is not None):
        with atomic_write(target) as file:
            file.write(exported.data)
        written.append(f"wrote {target}; {_next_command(resolved, target)}")
    if exported.passed and triton is not None:
        folder = write_repository(triton, target.stem, exported.data)
        written.append(f"wrote {folder}; next: tritonserver --model-repository {triton}")
    print_report(exported, target)
    exported.require_parity()
    if not check:
        note("not compared with torch: the file says parity_atol unchecked")
    for line in written:
        note(line)


def print_report(exported: Exported, target: Path) -> None:
    """The report on stdout: a table on a terminal, aligned text otherwise.

    Errors are the largest of all inputs and steps; speed is one CPU thread's.
    """
    facts = [
        ("graph", f"{exported.graph}, {exported.time_steps} steps"),
        ("nodes", f"{exported.nodes:,}"),
        ("bytes", f"{len(exported.data):,}"),
        ("load", f"{exported.load_seconds * 1000:.0f} ms"),
        ("speed", "; ".join(f"{n} at once {s * 1000:.1f} ms" for n, s in exported.run_seconds.items())),
    ]
    header = ("output", "error", "torch float32", "gate", "used", "")
    lines = [_cells(row) for row in exported.rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        console = Console()
        for name, text in facts:
            console.print(f"[bold]{name:<6}[/bold] {text}", highlight=False)
        if lines:
            table = Table(title=f"{target.name} beside torch float64", title_justify="left")
            for k, name in enumerate(header):
                table.add_column(name, justify="left" if k in (0, 3, 5) else "right")
            for row, cells in zip(exported.rows, lines, strict=True):
                table.add_row(*cells, style=None if row.passed else "red")
            console.print(table)
        return
    for name, text in facts:
        print(f"{name:<6} {text}")
    if lines:
        print("parity with torch float64:")
        widths = [max(len(line[k]) for line in [header, *lines]) for k in range(len(header))]
        for line in [header, *lines]:
            print("  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip())


def _cells(row: Row) -> tuple[str, ...]:
    if row.problem:
        return row.output, "-", "-", str(row.gate), "-", f"FAILED: {row.problem}"
    verdict = "ok" if row.passed else "FAILED"
    return row.output, f"{row.error:.1e}", f"{row.torch_error:.1e}", str(row.gate), f"{row.used:.1%}", verdict


def _next_command(graph: str, target: Path) -> str:
    return {
        "decoder": f"next: draw-gen --onnx {target} --gif out.gif",
        "classifier": f"next: draw-classify --onnx {target} IMAGE",
        "scorer": f"next: draw-score --onnx {target} IMAGE",
    }[graph]


def main() -> None:
    run_app(app, "draw-export")
