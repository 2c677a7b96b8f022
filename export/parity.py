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

from collections.abc import Callable, Iterator, Mapping
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
from .reference import BATCHES, Feeds, OtherKernels, cases, one_torch_thread, pictures_at_once, reference

if TYPE_CHECKING:
    import onnxruntime


ORDERS = 8  # of torch float32's sums, the weights' own among them
LOOKED_AT = 64  # pictures of a batch: torch's steps of thousands would take tens of gigabytes


@dataclass(frozen=True)
class Row:
    """One output's line of the report; errors are the largest over all inputs, steps and elements (torch's: and orders)."""

    output: str
    error: float  # |onnx - torch float64|
    torch_error: float  # |torch float32 - torch float64|
    gate: Gate
    need: float  # the least atol, from 0 up, with which the gate would pass it
    problem: str = ""  # why it fails, where not for the size of the error
    by_atol: bool = False  # whether --atol is its gate

    @property
    def used(self) -> float:
        """Share of the gate's atol that it needs: more than 1 is a miss."""
        return self.need / self.gate.atol

    @property
    def passed(self) -> bool:
        return not self.problem and self.used <= 1.0

    @property
    def reason(self) -> str:
        """Why it fails."""
        return self.problem or self.gate.missed(self.error, self.need) + (" (--atol)" if self.by_atol else "")


def open_session(data: bytes) -> onnxruntime.InferenceSession:
    """On one CPU thread: the check is about numbers, and the same on every machine."""
    try:
        return create_session(data, "cpu")
    except ProviderError:
        raise
    except DrawError as error:
        raise DrawError(f"ONNX Runtime refuses the exported file: {error.__cause__}") from error


_Array = NDArray[np.float64]
Run = Callable[[Feeds], Mapping[str, NDArray[np.float32]]]  # an engine with a file loaded: outputs by name


@dataclass
class _Compared:
    """What is kept of one output for one input; all of all inputs would be gigabytes."""

    problem: str  # what is wrong with it by more than its numbers
    error: float  # these two as in Row
    torch_error: float
    need: float = 0.0  # of its gate
    pictures: int = 0


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
    most = pictures_at_once(checkpoint.config, time_steps)
    batches = sorted({min(size, most) for size in BATCHES}) if batch is None else [batch]
    shown = min(most, LOOKED_AT)
    found: dict[str, list[_Compared]] = {}

    def inputs() -> Iterator[tuple[str, Feeds, Feeds]]:
        """What to call each, what to run the file on, and the pictures of it that are looked at."""
        for label, feeds in cases(checkpoint, graph, time_steps, tuple(batches)):
            yield label, feeds, {name: _some(values, shown) for name, values in feeds.items()}

    def judged() -> tuple[Row, ...]:
        return tuple(_row(name, compared, dtype, atol) for name, compared in found.items())

    with one_torch_thread():
        for label, feeds, some in inputs():
            expected = reference(exact, graph, some, time_steps)
            rough = reference(single, graph, some, time_steps)
            pictures = len(next(iter(feeds.values())))
            for name, values in run(feeds).items():
                shape = (pictures, *expected[name].shape[1:])
                found.setdefault(name, []).append(
                    _compared(label, name, dtype, np.asarray(values), shape, expected[name], rough[name])
                )
            advance()
        rows = judged()
        if dtype == "fp32" and any(not (row.passed or row.problem) for row in rows):
            for k, (_, _, some) in enumerate(inputs()):
                expected = reference(exact, graph, some, time_steps)
                for order in range(1, ORDERS):
                    single.load_state_dict(reordered(checkpoint.weights, order))
                    with OtherKernels():
                        rough = reference(single, graph, some, time_steps)
                    for name, compared in found.items():
                        rounding = _distance(rough[name], expected[name])
                        compared[k].torch_error = max(compared[k].torch_error, rounding)
            rows = judged()
    return rows


def _some(array: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most so many pictures, the first and the last among them."""
    if len(array) <= most:
        return array
    return array[np.linspace(0, len(array) - 1, most).round().astype(np.intp)]


def _distance(a: _Array, b: _Array) -> float:
    return float(abs(a - b).max())


def _compared(
    label: str,
    name: str,
    dtype: Precision,
    values: NDArray[np.float32],
    shape: tuple[int, ...],
    expected: _Array,
    rough: _Array,
) -> _Compared:
    """An output that should have ``shape``; ``expected`` and ``rough`` are of the pictures of it that are looked at."""
    problem, torch_error = "", _distance(rough, expected)
    if values.shape != shape:
        problem = f"has the shape {values.shape}, not {shape}"
    elif not np.isfinite(expected).all():
        problem = "is not finite in torch float64 either: the model itself is broken"
    elif not np.isfinite(values).all():
        problem = "is not finite"
    if problem:
        return _Compared(f"{problem} ({label})", 0.0, torch_error)
    got = np.asarray(_some(values, len(expected)), np.float64)
    if name == LOGITS and dtype != "int8" and not same_answers(got, expected).all():
        return _Compared(f"names another class ({label})", 0.0, torch_error)
    need = gate_of(name, dtype, 1.0, 0.0).need(got, expected)
    return _Compared("", _distance(got, expected), torch_error, need, len(got))


def _row(name: str, inputs: list[_Compared], dtype: Precision, atol: float) -> Row:
    """One output over all inputs, up to the first that is wrong by more than its numbers."""
    error, torch_error, problem = 0.0, 0.0, ""
    good: list[_Compared] = []
    for one in inputs:
        problem = one.problem
        if problem:
            break
        # Where torch's float32 overflows it says nothing of what is near enough.
        if np.isfinite(one.torch_error):
            torch_error = max(torch_error, one.torch_error)
        error = max(error, one.error)
        good.append(one)
    gate = gate_of(name, dtype, atol, torch_error)
    need = gate.of_all([one.need for one in good], [one.pictures for one in good])
    return Row(name, error, torch_error, gate, need, problem, asked_for(name, dtype))
