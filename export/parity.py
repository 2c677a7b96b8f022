"""The parity check: what ONNX Runtime computes from a file beside what torch computes from the weights.

The reference is torch in float64. Every output is compared at every step, for batches of 1, 2 and 5 and
for noise drawn from the stream, zero, +4 and -4. Torch's own float32 error on the same inputs stands
beside ours, so that a miss can be told from a model that float32 cannot compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DrawError
from ..models.checkpoint import Checkpoint
from ..runtime.metadata import BOUND, GLIMPSES, LOGITS, READ_ATTENTION, WRITE_ATTENTION
from ..runtime.providers import import_onnxruntime
from .options import Graph, Precision
from .reference import BATCHES, Feeds, cases, one_torch_thread, reference

if TYPE_CHECKING:
    import onnxruntime

# Of probabilities: the default of --atol. 2e-2 is five grey levels of 255.
ATOL: dict[Precision, float] = {"fp32": 1e-5, "fp16": 2e-2}
TORCH_FACTOR = 4.0  # or this many times torch float32's own error, where that is more


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
_GATES: dict[Precision, dict[str, Gate]] = {
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

    @property
    def is_probability(self) -> bool:
        """Whether ``--atol`` is its gate."""
        return self.output not in _GATE_OF


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
    graph: Graph,
    time_steps: int,
    dtype: Precision = "fp32",
    atol: float = ATOL["fp32"],
    batch: int | None = None,
    advance: Callable[[], object] | None = None,
) -> tuple[Row, ...]:
    """The report, one row for each output that ``run`` gives; ``batch`` is the size of a static first axis."""
    exact, single = checkpoint.build(torch.float64), checkpoint.build(torch.float32)
    tallies: dict[str, _Tally] = {}
    with one_torch_thread():
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
