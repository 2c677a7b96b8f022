"""The parity check: what ONNX Runtime computes from a file beside what torch computes from the weights.

The reference is torch in float64. Every output is compared at every step, for batches of 1, 2 and 5 and
for noise drawn from the stream, zero, +4 and -4. Torch's own float32 error on the same inputs stands
beside ours, so that a miss can be told from a model that float32 cannot compute.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DrawError
from ..models.attention import window_from
from ..models.checkpoint import Checkpoint
from ..models.classifier import GlimpseClassifier
from ..models.config import ClassifierConfig, DrawConfig
from ..models.draw import Draw
from ..runtime.metadata import (
    BOUND,
    CANVASES,
    GLIMPSES,
    IMAGE,
    LOGITS,
    NOISE,
    PROBABILITIES,
    READ_ATTENTION,
    RECONSTRUCTION,
    WRITE_ATTENTION,
)
from ..runtime.noise import noise as noise_stream
from ..runtime.noise import raw, uniform
from ..runtime.providers import import_onnxruntime
from .builder import to_bytes
from .graphs import UNCHECKED, ExportOptions, build_model

if TYPE_CHECKING:
    import onnxruntime

Arrays = dict[str, NDArray[np.float64]]
Feeds = dict[str, NDArray[np.float32]]

BATCHES = (1, 2, 5)
PARITY_CASES = 4 * len(BATCHES)
SPEED_BATCHES = (1, 32)
ATOL = {
    "fp32": 1e-5,
    "fp16": 2e-2,
}  # of probabilities: the default of --atol; 2e-2 is five grey levels of 255
TORCH_FACTOR = 4.0  # or this many times torch float32's own error, where that is more
SEED = 20150516


@dataclass(frozen=True)
class Gate:
    """|error| <= atol + rtol |reference|."""

    atol: float
    rtol: float = 0.0

    def __str__(self) -> str:
        return _short(self.atol) + (f"+{_short(self.rtol)}·|ref|" if self.rtol else "")


def _short(value: float) -> str:
    """1e-5, 3.7e-5: two digits at most."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


# Outputs that are not probabilities. float16 carries 11 bits, which T steps of recurrence wear down.
_GATES = {
    "fp32": {
        "attention": Gate(1e-4, 1e-4),
        LOGITS: Gate(1e-4),
        BOUND: Gate(1e-3, 1e-5),
    },
    "fp16": {
        "attention": Gate(5e-2, 5e-2),
        LOGITS: Gate(5e-2),
        BOUND: Gate(1e-1, 1e-2),
    },
}
_GATE_OF = {
    READ_ATTENTION: "attention",
    WRITE_ATTENTION: "attention",
    GLIMPSES: "attention",  # gamma scales them: not confined to [0, 1]
    LOGITS: LOGITS,
    BOUND: BOUND,
}


@dataclass(frozen=True)
class Row:
    """One output's line of the report; errors are the largest over all inputs, steps and elements."""

    output: str
    error: float  # |onnx - torch float64|
    torch_error: float  # |torch float32 - torch float64|
    gate: Gate
    used: float  # largest |error| / (atol + rtol |reference|): 1 is the gate
    problem: str = ""  # why it fails, where not for the size of the error

    @property
    def passed(self) -> bool:
        return not self.problem and self.used <= 1.0


@dataclass(frozen=True)
class Exported:
    """An ONNX file that is not yet on disk."""

    data: bytes
    graph: str
    time_steps: int
    nodes: int
    load_seconds: float
    run_seconds: dict[int, float]  # pictures at once -> seconds, on one CPU thread
    rows: tuple[Row, ...]  # empty with check=False

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def require_parity(self) -> None:
        """Raise DrawError naming the first output that misses its gate."""
        for row in self.rows:
            if not row.passed:
                reason = row.problem or f"differs by {row.error:.2e}, and the gate is {row.gate}"
                if row.output not in _GATE_OF and not row.problem:
                    reason += " (--atol)"
                raise DrawError(f"parity failed, no file written: {row.output} {reason}")


def export(
    checkpoint: Checkpoint,
    options: ExportOptions | None = None,
    *,
    atol: float | None = None,
    check: bool = True,
    advance: Callable[[], object] | None = None,
) -> Exported:
    """Build a file and compare it with torch; the caller decides what a failed row means.

    Args:
        atol: gate of the probabilities; None: ``ATOL`` of the dtype.
        check: False leaves the comparison out; the file then says ``unchecked``.
        advance: called after each of the ``PARITY_CASES`` inputs compared (fewer for a static batch).

    Raises:
        DrawError: options that contradict one another or the model, or ONNX Runtime refuses the file.
    """
    options = options or ExportOptions()
    graph, steps = options.resolve(checkpoint)
    model, metadata = build_model(checkpoint, options)
    data = to_bytes(model, metadata.to_props())
    start = time.perf_counter()
    session = open_session(data)
    load_seconds = time.perf_counter() - start
    rows: tuple[Row, ...] = ()
    if check:
        gate = ATOL[options.dtype] if atol is None else atol
        rows = compare(runner(session), checkpoint, graph, steps, options.dtype, gate, options.batch, advance)
        metadata = replace(metadata, parity_atol=_passed_gate(rows, gate))
        data = to_bytes(model, metadata.to_props())
    sizes = SPEED_BATCHES if options.batch is None else (options.batch,)
    run_seconds = {size: _seconds(session, checkpoint, graph, steps, size) for size in sizes}
    return Exported(data, graph, steps, len(model.graph.node), load_seconds, run_seconds, rows)


def _seconds(
    session: onnxruntime.InferenceSession, checkpoint: Checkpoint, graph: str, time_steps: int, batch: int
) -> float:
    """The best of a few runs: an indication, and no benchmark (bench/ has that)."""
    _, feeds = next(cases(checkpoint, graph, time_steps, (batch,)))
    run = runner(session)
    run(feeds)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run(feeds)
        times.append(time.perf_counter() - start)
    return min(times)


def _passed_gate(rows: tuple[Row, ...], atol: float) -> str:
    """``atol`` where it was enough, else the gate that was, rounded up to one digit."""
    if not all(row.passed for row in rows):
        return UNCHECKED
    worst = max((row.error for row in rows if row.output not in _GATE_OF), default=0.0)
    if worst <= atol:
        return f"{atol:g}"
    unit = 10.0 ** math.floor(math.log10(worst))
    return f"{math.ceil(worst / unit) * unit:.0e}"


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """On one CPU thread: the check is about numbers, and the same on every machine."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        raise DrawError(f"ONNX Runtime refuses the exported file: {error}") from error


Run = Callable[[Feeds], Mapping[str, NDArray[np.float32]]]  # an engine with a file loaded: outputs by name


def runner(session: onnxruntime.InferenceSession) -> Run:
    """``session`` as :func:`compare` wants it."""
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Feeds) -> dict[str, NDArray[np.float32]]:
        return {
            name: np.asarray(values)
            for name, values in zip(names, session.run(names, dict(feeds)), strict=True)
        }

    return run


def compare(
    run: Run,
    checkpoint: Checkpoint,
    graph: str,
    time_steps: int,
    dtype: str = "fp32",
    atol: float = ATOL["fp32"],
    batch: int | None = None,
    advance: Callable[[], object] | None = None,
) -> tuple[Row, ...]:
    """The report, one row for each output that ``run`` gives; ``batch`` is the size of a static first axis."""
    exact, single = checkpoint.build(torch.float64), checkpoint.build(torch.float32)
    tallies: dict[str, _Tally] = {}
    with _one_torch_thread():
        for label, feeds in cases(checkpoint, graph, time_steps, BATCHES if batch is None else (batch,)):
            expected = reference(exact, graph, feeds, time_steps)
            rough = reference(single, graph, feeds, time_steps)
            for name, values in run(feeds).items():
                tally = tallies.setdefault(name, _Tally(name))
                tally.add(label, np.asarray(values, np.float64), expected[name], rough[name])
            if advance is not None:
                advance()
    rows = []
    for name, tally in tallies.items():
        if name in _GATE_OF:
            gate = _GATES[dtype][_GATE_OF[name]]
        else:
            gate = Gate(max(atol, TORCH_FACTOR * tally.torch_error if dtype == "fp32" else 0.0))
        rows.append(tally.row(gate))
    return tuple(rows)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Models this small gain nothing from a second thread, and on a busy machine it costs a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Tally:
    """Errors of one output over all inputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.torch_error = 0.0
        self._pairs: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = []
        self._problem = ""

    def add(
        self,
        label: str,
        got: NDArray[np.float64],
        expected: NDArray[np.float64],
        rough: NDArray[np.float64],
    ) -> None:
        if self._problem:
            return
        if got.shape != expected.shape:
            self._problem = f"has the shape {got.shape}, not {expected.shape} ({label})"
        elif not np.isfinite(expected).all():
            self._problem = f"is not finite in torch float64 either: the model itself is broken ({label})"
        elif not np.isfinite(got).all():
            self._problem = f"is not finite ({label})"
        elif self.name == LOGITS and not _same_answer(got, expected):
            self._problem = f"names another class ({label})"
        else:
            self.torch_error = max(self.torch_error, float(abs(rough - expected).max()))
            self._pairs.append((label, got, expected))

    def row(self, gate: Gate) -> Row:
        error = used = 0.0
        for _, got, expected in self._pairs:
            difference = abs(got - expected)
            error = max(error, float(difference.max()))
            used = max(used, float((difference / (gate.atol + gate.rtol * abs(expected))).max()))
        return Row(self.name, error, self.torch_error, gate, used, self._problem)


def _same_answer(got: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    """The same arg-max; a tie of the reference may fall either way."""
    chosen = np.take_along_axis(expected, got.argmax(1)[:, None], 1)[:, 0]
    return bool((chosen == expected.max(1)).all())


def cases(
    checkpoint: Checkpoint, graph: str, time_steps: int, batches: tuple[int, ...] = BATCHES
) -> Iterator[tuple[str, Feeds]]:
    """Inputs to compare on, with a name for each."""
    config = checkpoint.config
    image_shape = (config.image_channels, config.image_height, config.image_width)
    for batch in batches:
        if graph == "classifier":
            for label, image in _images(batch, image_shape).items():
                yield f"batch {batch}, {label} image", {IMAGE: image}
            continue
        assert isinstance(config, DrawConfig)
        drawn = noise_stream(SEED, 0, batch, time_steps, config.latent_size)
        noises = {
            "drawn": drawn,
            "zero": np.zeros_like(drawn),
            "+4": np.full_like(drawn, 4.0),
            "-4": np.full_like(drawn, -4.0),
        }
        images = _images(batch, image_shape)
        for (label, values), (picture, image) in zip(noises.items(), images.items(), strict=True):
            if graph == "decoder":
                yield f"batch {batch}, {label} noise", {NOISE: values}
            else:
                yield f"batch {batch}, {label} noise, {picture} image", {IMAGE: image, NOISE: values}


def _images(batch: int, shape: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    count = batch * math.prod(shape)
    grey = uniform(raw(SEED, np.arange(count, dtype=np.uint64))).astype(np.float32).reshape(batch, *shape)
    return {
        "binary": (grey < 0.2).astype(np.float32),
        "black": np.zeros_like(grey),
        "white": np.ones_like(grey),
        "grey": grey,
    }


def reference(model: Draw | GlimpseClassifier, graph: str, feeds: Feeds, time_steps: int) -> Arrays:
    """Every output that the file may have, from torch in the model's own precision."""
    dtype = next(model.parameters()).dtype
    inputs = {name: torch.from_numpy(values).to(dtype) for name, values in feeds.items()}
    with torch.no_grad():
        if isinstance(model, GlimpseClassifier):
            values = _classifier(model, inputs[IMAGE], time_steps)
        elif graph == "scorer":
            values = _scorer(model, inputs[IMAGE], inputs[NOISE])
        else:
            values = _decoder(model, inputs[NOISE])
    return {name: value.double().numpy() for name, value in values.items() if value is not None}


def _decoder(model: Draw, noise: Tensor) -> dict[str, Tensor | None]:
    samples = model.generate(noise)
    return {
        IMAGE: samples.image,
        CANVASES: torch.sigmoid(samples.canvases),
        WRITE_ATTENTION: _rows(samples.write_params, model.config.write_size, model.config),
    }


def _classifier(model: GlimpseClassifier, image: Tensor, time_steps: int) -> dict[str, Tensor | None]:
    output = model(image, time_steps)
    return {
        LOGITS: output.answer,
        PROBABILITIES: torch.softmax(output.answer, -1),
        GLIMPSES: output.glimpses,
        READ_ATTENTION: _rows(output.attention, model.config.read_size, model.config),
    }


def _scorer(model: Draw, image: Tensor, noise: Tensor) -> dict[str, Tensor | None]:
    output = model(image, noise, keep_steps=True)
    steps = output.steps
    return {
        BOUND: output.bound,
        RECONSTRUCTION: torch.sigmoid(output.canvas),
        CANVASES: torch.sigmoid(steps.canvases),
        READ_ATTENTION: _rows(steps.read_params, model.config.read_size, model.config),
        WRITE_ATTENTION: _rows(steps.write_params, model.config.write_size, model.config),
    }


def _rows(params: Tensor | None, n: int, config: DrawConfig | ClassifierConfig) -> Tensor | None:
    return None if params is None else window_from(params, n, config.image_width, config.image_height).stack()
