"""The parity check: what ONNX Runtime computes from a file beside what torch computes from the weights.

The reference is torch in float64. Every output is compared at every step, for batches of 1, 2 and 5 and
for noise drawn from the stream, zero, +4 and -4. Torch's own float32 error on the same inputs stands
beside ours, so that a miss can be told from a model that float32 cannot compute.

That error depends on the order of torch's sums: with weights that make much of a rounding one order may be five times as
near to float64 as the next, and the kernels that an Intel CPU takes for its weights were nearly four times as near as
those for the same weights laid out by columns. Before a float32 file is refused for the size of an error, torch's is
therefore taken as the largest of several orders: by other kernels, with the hidden units of the same model reordered.
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
from ..models.reordering import reordered
from ..runtime.metadata import LOGITS
from ..runtime.providers import ProviderError, create_session
from .gates import Gate, asked_for, default_atol, gate_of, same_answers
from .options import Graph, Precision
from .reference import BATCHES, Feeds, OtherKernels, cases, one_torch_thread, reference

if TYPE_CHECKING:
    import onnxruntime


ORDERS = 8  # of torch float32's sums, the weights' own among them


@dataclass(frozen=True)
class Row:
    """One output's line of the report; errors are the largest over all inputs, steps and elements (torch's: and orders)."""

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
    try:
        return create_session(data, "cpu")
    except ProviderError:
        raise
    except DrawError as error:
        raise DrawError(f"ONNX Runtime refuses the exported file: {error.__cause__}") from error


_Array = NDArray[np.float64]
_Compared = tuple[str, _Array, _Array, float]  # label of the input; got, expected, torch float32's error
Run = Callable[[Feeds], Mapping[str, NDArray[np.float32]]]  # an engine with a file loaded: outputs by name


def runner(session: onnxruntime.InferenceSession) -> Run:
    """``session`` as :func:`compare` wants it."""
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))


def compare(
    run: Run,
    checkpoint: Checkpoint,
    graph: Graph,
    time_steps: int,
    dtype: Precision = "fp32",
    atol: float | None = None,
    batch: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> tuple[Row, ...]:
    """The report, one row for each output that ``run`` gives.

    Args:
        atol: None: the dtype's, see :func:`~.gates.default_atol`.
        batch: the size of a static first axis.
    """
    atol = default_atol(dtype, graph) if atol is None else atol
    exact, single = checkpoint.build(torch.float64), checkpoint.build(torch.float32)
    found: dict[str, list[_Compared]] = {}

    def judged() -> tuple[Row, ...]:
        return tuple(_row(name, inputs, dtype, atol) for name, inputs in found.items())

    with one_torch_thread():
        inputs = list(cases(checkpoint, graph, time_steps, BATCHES if batch is None else (batch,)))
        for label, feeds in inputs:
            expected = reference(exact, graph, feeds, time_steps)
            rough = reference(single, graph, feeds, time_steps)
            for name, values in run(feeds).items():
                compared = (
                    label,
                    np.asarray(values, np.float64),
                    expected[name],
                    _distance(rough[name], expected[name]),
                )
                found.setdefault(name, []).append(compared)
            advance()
        rows = judged()
        if dtype == "fp32" and any(not (row.passed or row.problem) for row in rows):
            for order in range(1, ORDERS):
                single.load_state_dict(reordered(checkpoint.weights, order))
                for k, (_, feeds) in enumerate(inputs):
                    with OtherKernels():
                        rough = reference(single, graph, feeds, time_steps)
                    for name, compared in found.items():
                        label, got, expected, error = compared[k]
                        compared[k] = label, got, expected, max(error, _distance(rough[name], expected))
            rows = judged()
    return rows


def _distance(a: _Array, b: _Array) -> float:
    return float(abs(a - b).max())


def _row(name: str, inputs: list[_Compared], dtype: Precision, atol: float) -> Row:
    """One output over all inputs, up to the first that is wrong by more than its numbers."""
    pairs, torch_error, problem = [], 0.0, ""
    for label, got, expected, rounding in inputs:
        if got.shape != expected.shape:
            problem = f"has the shape {got.shape}, not {expected.shape} ({label})"
        elif not np.isfinite(expected).all():
            problem = f"is not finite in torch float64 either: the model itself is broken ({label})"
        elif not np.isfinite(got).all():
            problem = f"is not finite ({label})"
        elif name == LOGITS and dtype != "int8" and not same_answers(got, expected).all():
            problem = f"names another class ({label})"
        if problem:
            break
        if np.isfinite(rounding):  # where torch's float32 overflows it says nothing of what is near enough
            torch_error = max(torch_error, rounding)
        pairs.append((got, expected))
    error = max((_distance(got, expected) for got, expected in pairs), default=0.0)
    gate = gate_of(name, dtype, atol, torch_error)
    return Row(name, error, torch_error, gate, gate.used(pairs), problem, asked_for(name, dtype))
