"""``draw-export``: a checkpoint becomes one ONNX file, compared with torch before it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import VersionOption, check_outputs, command_line, make_app, note, option, progress, run_app
from ..errors import DrawError
from ..files import check_not_read
from ..runtime.onnx_file import OPSETS
from ..streams import printable
from .options import MAX_BATCH, MAX_STEPS, OPSET, ExportOptions, Graph, Outputs, Precision, Recurrence

if TYPE_CHECKING:
    from ..models.checkpoint import Checkpoint
    from .exported import Exported
    from .parity import Row

app = make_app()

_FILE, _CHECK, _ABOUT = "What to write", "Parity with torch", "About the model"


@app.command()
def command(
    ckpt: Annotated[
        str, option("Checkpoint of draw-train, or the name of a packaged model.", metavar="FILE|FOLDER|NAME")
    ],
    output: Annotated[
        Path | None,
        option("ONNX file to write. GRAPH.onnx unless given.", None, "--output", "-o", metavar="FILE"),
    ] = None,
    graph: Annotated[
        Graph | None,
        option(
            "decoder paints from noise, scorer rates a picture in nats, classifier names it. Unless given: classifier for a"
            " classifier's checkpoint, decoder for others.",
            _FILE,
        ),
    ] = None,
    outputs: Annotated[
        Outputs,
        option(
            "steps also gives every step's canvas, window and glimpse; image leaves them out and is faster.",
            _FILE,
        ),
    ] = "steps",
    time_steps: Annotated[
        int | None,
        option("Steps to unroll. As trained unless given.", _FILE, min=1, max=MAX_STEPS, metavar="T"),
    ] = None,
    recurrence: Annotated[
        Recurrence | None,
        option(
            "lstm is one operator for all steps of a decoder: faster on CPUs, known to fewer engines, not for a"
            " learned prior. Unless given: unrolled, and lstm for a decoder in int8.",
            _FILE,
        ),
    ] = None,
    dtype: Annotated[
        Precision,
        option(
            "fp16 halves the file; inputs, outputs and windows stay float32. int8 quarters it, for decoders"
            " (without a learned prior) and classifiers in ONNX Runtime on CPUs alone: a picture is a little another one.",
            _FILE,
        ),
    ] = "fp32",
    batch: Annotated[
        int | None,
        option(
            "Static first axis of N pictures, for engines that want one; a decoder for 32 and more draws faster in bulk."
            " Dynamic unless given.",
            _FILE,
            min=1,
            max=MAX_BATCH,
            metavar="N",
        ),
    ] = None,
    triton: Annotated[
        Path | None,
        option(
            "Also a Triton model repository: DIR/NAME/1/model.onnx and DIR/NAME/config.pbtxt, NAME being that of the"
            " -o file, which itself is left out unless -o is given.",
            _FILE,
            metavar="DIR",
        ),
    ] = None,
    hub: Annotated[
        Path | None,
        option(
            "A folder ready for a model hub: card, safetensors, config, all graphs, samples. The -o file is left out"
            " unless -o is given.",
            _FILE,
            metavar="DIR",
        ),
    ] = None,
    opset: Annotated[
        int,
        option(
            f"ONNX opset, {OPSETS[0]} to {OPSETS[-1]}.", _FILE, min=OPSETS[0], max=OPSETS[-1], metavar="N"
        ),
    ] = OPSET,
    atol: Annotated[
        float | None,
        option(
            "Largest error of a probability; four times torch float32's own passes too. With int8: the mean error of a"
            " picture, or the share of a classifier's answers that may change. Unless given: 1e-5; fp16 2e-2; int8 2e-2, and"
            " 1e-2 of answers.",
            _CHECK,
            metavar="X",
        ),
    ] = None,
    check: Annotated[bool, option("Compare with torch before writing.", _CHECK)] = True,
    model_license: Annotated[
        str | None,
        option(
            "Goes into the metadata. Unless given: not stated; a packaged model's own.",
            _ABOUT,
            metavar="TEXT",
        ),
    ] = None,
    model_author: Annotated[
        str | None,
        option(
            "Goes into the metadata. Unless given: not stated; a packaged model's own.",
            _ABOUT,
            metavar="TEXT",
        ),
    ] = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Turn a checkpoint into one plain ONNX file and check it against torch.

    Prints nodes, bytes, load time and the largest error of every output. A file that misses its gate is
    not written.
    """
    _check_gate(atol, check, dtype)
    options = ExportOptions(
        graph=graph,
        outputs=outputs,
        time_steps=time_steps,
        recurrence=recurrence,
        dtype=dtype,
        batch=batch,
        opset=opset,
        model_license=model_license,
        model_author=model_author,
    )
    job = _planned(ckpt, options, atol, check, output, triton, hub)
    if job.hub is not None:
        _write_hub(job, job.hub)
    if job.output is not None or job.triton is not None:
        _write_files(job)


@dataclass(frozen=True)
class _Job:
    """What is to be written, of what; nothing is left that could be refused before the work."""

    checkpoint: Checkpoint
    options: ExportOptions
    atol: float | None
    check: bool
    output: Path | None  # None: no single file
    triton: Path | None
    name: str  # of the model in the Triton repository
    hub: Path | None
    card: str | None  # a packaged model's, for the hub


def _check_gate(atol: float | None, check: bool, dtype: Precision) -> None:
    if atol is None:
        return
    if not 0.0 < atol < float("inf"):
        raise DrawError(f"--atol must be a positive number, not {atol:g}")
    if not check:
        raise typer.BadParameter("--atol is for the comparison that --no-check leaves out.")
    if atol > 1 and dtype == "int8":
        raise DrawError(
            f"--atol with --dtype int8 is a share or the mean error of a picture: at most 1, not {atol:g}"
        )


def _planned(
    ckpt: str,
    options: ExportOptions,
    atol: float | None,
    check: bool,
    output: Path | None,
    triton: Path | None,
    hub: Path | None,
) -> _Job:
    """The checkpoint read, and all that can be wrong with options and places said."""
    from ..models.checkpoint import load_checkpoint
    from ..pretrained import find_packaged, packaged_card
    from .hub import FILES, check_folder
    from .triton import check_repository

    if hub is not None:
        check_folder(hub)
    source = find_packaged(ckpt, ".ckpt", "checkpoint")
    checkpoint = load_checkpoint(source)
    target = output or Path(f"{options.resolve(checkpoint).graph}.onnx")
    single = output is not None or (triton is None and hub is None)
    if single:
        check_not_read([target], [source])
        check_outputs({"--output": target})
        if hub is not None and target.resolve() in [(hub / name).resolve() for name in FILES]:
            raise DrawError(f"--output {target}: --hub writes that file")
    if triton is not None:
        check_repository(triton, target.stem)
    # What the card of a packaged model says is of the files as they are made, and compared, by default.
    plain = replace(options, model_author=None) == ExportOptions() and check and atol is None
    card = packaged_card(ckpt) if plain else None
    return _Job(checkpoint, options, atol, check, target if single else None, triton, target.stem, hub, card)


def _write_files(job: _Job) -> None:
    """The graph compared, the files of it, then the report."""
    from ..files import write_bytes
    from .triton import write_repository

    exported = _exported(job, job.options, job.atol)
    # Files first: whatever becomes of stdout, they are there.
    written = []
    if exported.passed and job.output is not None:
        write_bytes(job.output, exported.data)
        written.append(f"wrote {job.output}; {_next_command(exported.graph, job.output)}")
    if exported.passed and job.triton is not None:
        folder = write_repository(job.triton, job.name, exported)
        server = command_line(["tritonserver", "--model-repository", str(job.triton)])
        written.append(f"wrote {folder}; next: {server}")
    print_report(exported)
    exported.require_parity()
    if not job.check:
        note("not compared with torch: the file says parity_atol unchecked")
    for line in written:
        note(line)


def _write_hub(job: _Job, folder: Path) -> None:
    """All graphs of the model compared, then the folder with all of them, then the reports."""
    from .hub import options_for, write_folder

    # A gate for eight bits says nothing of the float32 scorer beside.
    files = [
        _exported(job, own, job.atol if own.dtype == job.options.dtype else None)
        for own in options_for(job.checkpoint, job.options)
    ]
    if all(exported.passed for exported in files):
        write_folder(folder, job.checkpoint, files, job.card)
    for exported in files:
        print_report(exported)
    for exported in files:
        exported.require_parity()
    if not job.check:
        note("not compared with torch: the files say parity_atol unchecked")
    note(f"wrote {folder}; {_next_command(files[0].graph, folder)}")


def _exported(job: _Job, options: ExportOptions, atol: float | None) -> Exported:
    from .exported import export
    from .reference import CASES, PARITY_CASES

    cases = PARITY_CASES if options.batch is None else CASES
    what = "comparing with torch" if job.check else "building"
    with progress(what, cases if job.check else 1) as bar:
        return export(job.checkpoint, options, atol=atol, check=job.check, advance=bar.advance)


def print_report(exported: Exported) -> None:
    """The report on stdout; on a terminal failed rows are red.

    Errors are the largest of all inputs and steps; speed is one CPU thread's.
    """
    typer.echo(f"graph  {exported.graph}, {exported.time_steps} steps")
    typer.echo(f"nodes  {exported.nodes:,}")
    typer.echo(f"bytes  {len(exported.data):,}")
    typer.echo(f"load   {exported.load_seconds * 1000:.0f} ms")
    speeds = (f"{n} at once {seconds * 1000:.1f} ms" for n, seconds in exported.run_seconds.items())
    typer.echo(f"speed  {'; '.join(speeds)}")
    if not exported.rows:
        return
    typer.echo("parity with torch float64:")
    header = ("output", "error", "torch float32", "gate", "used", "")
    lines = [header, *(_cells(row) for row in exported.rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    for line in lines:
        text = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        typer.secho(f"  {text.rstrip()}", fg="red" if line[-1].startswith("FAILED") else None)


def _cells(row: Row) -> tuple[str, ...]:
    if row.problem:
        return row.output, "-", "-", str(row.gate), "-", f"FAILED: {row.problem}"
    used, verdict = (f"{row.used:.1%}", "ok") if row.gate.judges else ("-", "not judged")
    verdict = verdict if row.passed else "FAILED"
    return row.output, f"{row.error:.1e}", f"{row.torch_error:.1e}", str(row.gate), used, verdict


def _next_command(graph: str, target: Path) -> str:
    from ..pretrained import packaged_models

    # Of a folder with a packaged model's name the command would take the packaged model.
    text = f"./{target}" if str(target) in packaged_models(".onnx") else str(target)
    file = printable(command_line([text]))
    return {
        "decoder": f"next: draw-gen --onnx {file} --gif out.gif",
        "classifier": f"next: draw-classify --onnx {file} IMAGE",
        "scorer": f"next: draw-score --onnx {file} IMAGE",
    }[graph]


def main() -> None:
    run_app(app, "draw-export")
