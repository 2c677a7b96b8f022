"""draw-doctor: what is installed, what works, and what to do about the rest; or what a file is."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import sys
from typing import Annotated, Any

import typer

from ...console import VersionOption, make_app, option, run_app
from ...errors import DrawError, first_line
from ...streams import printable

app = make_app()

_PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "pillow", "torch", "onnx", "onnx-ir")

# m = x w, y = LSTM(m, a, r) of one unit, opset 17, no weights inside: enough to see that a provider finds its
# libraries for both, which a GPU loads when they are first used.
_PROBE = (
    b'\x08\x08:\xd2\x01\n\x11\n\x01x\n\x01w\x12\x01m"\x06MatMul'
    b'\n(\n\x01m\n\x01a\n\x01r\x12\x00\x12\x01y"\x04LSTM*\x12\n\x0bhidden_size\x18\x01\xa0\x01\x02\x12\x01g'
    b"Z\x17\n\x01x\x12\x12\n\x10\x08\x01\x12\x0c\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x02"
    b"Z\x13\n\x01w\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x02\n\x02\x08\x02"
    b"Z\x17\n\x01a\x12\x12\n\x10\x08\x01\x12\x0c\n\x02\x08\x01\n\x02\x08\x04\n\x02\x08\x02"
    b"Z\x17\n\x01r\x12\x12\n\x10\x08\x01\x12\x0c\n\x02\x08\x01\n\x02\x08\x04\n\x02\x08\x01"
    b"b\x17\n\x01m\x12\x12\n\x10\x08\x01\x12\x0c\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x02"
    b"b\x17\n\x01y\x12\x12\n\x10\x08\x01\x12\x0c\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x01"
    b"B\x04\n\x00\x10\x11"
)


@app.command()
def command(
    onnx: Annotated[
        str | None,
        option(
            "Say instead what this file is, or each in a folder of draw-export --hub, and whether its graph still is the"
            " one that draw-export wrote.",
            metavar="FILE|FOLDER|NAME",
        ),
    ] = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Print versions, the providers that really run, conflicts, and the packaged models.

    Exits with 1 when something that draw-gen needs does not work. A missing GPU is no fault.

    With --onnx: what the file is, and 1 when somebody has changed its graph since draw-export wrote it.

        draw-doctor --onnx draw.onnx
    """
    if onnx is not None:
        from .file_report import report

        lines, problems = report(onnx)
        _finish(lines, problems)
        return

    from ... import __version__

    _line("draw-onnx", __version__)
    _line("Python", f"{platform.python_version()} on {platform.platform()}")
    for name in _PACKAGES:
        try:
            _line(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            _line(name, "not installed")
    _finish([], _check_runtime() or _check_models())


def _finish(lines: list[tuple[str, str]], problems: list[str]) -> None:
    for label, text in [*lines, *(("PROBLEM", problem) for problem in problems)]:
        _line(label, text)
    sys.stdout.flush()
    if problems:
        raise typer.Exit(1)


def _check_runtime() -> list[str]:
    from ..cpus import available_cpus
    from ..providers import cuda_problem, gpu_description, import_onnxruntime, wheel_conflict

    try:
        ort = import_onnxruntime()
    except DrawError as error:
        return [str(error)]
    _line("CPUs", str(available_cpus()))
    conflict = wheel_conflict()
    problems = [conflict] if conflict else []
    try:
        _try_provider("cpu")
        _line("CPU", "works")
    except DrawError as error:
        problems.append(f"the CPU provider does not work: {error}")
    gpu = gpu_description()
    if gpu is not None:
        _line("GPU", gpu)
    reason = cuda_problem(ort)
    if reason is None:
        try:
            _try_provider("cuda")
        except DrawError as error:
            reason = str(error)
    _line("CUDA", "works" if reason is None else f"not available: {reason}")
    return problems


def _try_provider(provider: str) -> None:
    import numpy as np

    from ..providers import create_session

    session: Any = create_session(_PROBE, provider)
    weights = np.tile(np.array([0.25, 0.375], np.float32), (1, 4, 1))  # every gate sees 2/4 + 3/8
    inputs = {
        "x": np.array([[[1, 2]]], np.float32),
        "w": np.array([[0, 1], [1, 0]], np.float32),
        "a": weights,
        "r": np.zeros((1, 4, 1), np.float32),
    }
    gate = 1 / (1 + math.exp(-0.875))
    expected = {"m": [2.0, 1.0], "y": [gate * math.tanh(gate * math.tanh(0.875))]}
    for name, operator in (("m", "MatMul"), ("y", "LSTM")):
        try:
            (result,) = session.run([name], inputs)
        except Exception as error:  # the binding raises half a dozen unrelated classes
            raise DrawError(f"{operator}: {first_line(error)}") from error
        if not np.allclose(result.ravel(), expected[name], rtol=0, atol=1e-4):
            raise DrawError(f"{operator} gave {result.ravel().tolist()}, not {expected[name]}")


def _check_models() -> list[str]:
    from ...pretrained import packaged_models
    from ..session import open_model, peek

    problems = []
    models = packaged_models(".onnx")
    if not models:
        _line("models", "none are packaged with this version")
    for name in models:
        try:
            metadata = peek(name)
            open_model(name, metadata.model_type, "cpu")
        except DrawError as error:
            problems.append(f"packaged model {error}")
            continue
        size = f"{metadata.image_channels} x {metadata.image_height} x {metadata.image_width}"
        _line(
            "model",
            f"{name}: {metadata.model_type}, {metadata.dataset}, {size} pixels, {metadata.time_steps} steps, works",
        )
    return problems


def _line(label: str, text: str) -> None:
    print(f"{label:<16}{printable(text)}")  # some of it comes from a file


def main() -> None:
    run_app(app, "draw-doctor")
