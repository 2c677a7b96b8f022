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
from ..runtime.metadata import LOGITS
from ..runtime.providers import import_onnxruntime
from .gates import Gate, asked_for, default_atol, gate_of, same_answers
from .options import Graph, Precision
from .reference import BATCHES, Feeds, cases, one_torch_thread, reference

if TYPE_CHECKING:
    import onnxruntime


@dataclass(frozen=True)
class Row:
    """One output's line of the report; errors are the largest over all inputs, steps and elements."""

    output: str
    error: float  # |onnx - torch float64|
    torch_error: float  # |torch float32 - torch float64|
    gate: Gate
    used: float  # share of the gate that the worst input needs: 1 is the gate
    problem: str = ""  # why it fails, where not for the size of the error
    by_atol: bool = False  # whether --atol is its gate

    @property
    def passed(self) -> bool:
        return not self.problem and self.used <= 1.0

    @property
    def reason(self) -> str:
        """Why it fails."""
        return self.problem or self.gate.missed(self.error, self.used) + (" (--atol)" if self.by_atol else "")


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
    atol: float | None = None,
    batch: int | None = None,
    advance: Callable[[], object] | None = None,
) -> tuple[Row, ...]:
    """The report, one row for each output that ``run`` gives.

    Args:
        atol: None: the dtype's, see :func:`~.gates.default_atol`.
        batch: the size of a static first axis.
    """
    atol = default_atol(dtype, graph) if atol is None else atol
    exact, single = checkpoint.build(torch.float64), checkpoint.build(torch.float32)
    tallies: dict[str, _Tally] = {}
    with one_torch_thread():
        for label, feeds in cases(checkpoint, graph, time_steps, BATCHES if batch is None else (batch,)):
            expected = reference(exact, graph, feeds, time_steps)
            rough = reference(single, graph, feeds, time_steps)
            for name, values in run(feeds).items():
                tally = tallies.setdefault(name, _Tally(name, exact_answers=dtype != "int8"))
                tally.add(label, np.asarray(values, np.float64), expected[name], rough[name])
            if advance is not None:
                advance()
    return tuple(
        tally.row(gate_of(name, dtype, atol, tally.torch_error), asked_for(name, dtype))
        for name, tally in tallies.items()
    )


class _Tally:
    """Errors of one output over all inputs."""

    def __init__(self, name: str, exact_answers: bool) -> None:
        self.name = name
        self._exact_answers = exact_answers and name == LOGITS
        self.torch_error = 0.0
        self._pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
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
        elif self._exact_answers and not same_answers(got, expected).all():
            self._problem = f"names another class ({label})"
        else:
            self.torch_error = max(self.torch_error, float(abs(rough - expected).max()))
            self._pairs.append((got, expected))

    def row(self, gate: Gate, by_atol: bool) -> Row:
        error = max((float(abs(got - expected).max()) for got, expected in self._pairs), default=0.0)
        return Row(self.name, error, self.torch_error, gate, gate.used(self._pairs), self._problem, by_atol)
