"""From a checkpoint to a file that is compared with torch, and how large and how fast it is."""

from __future__ import annotations

import math
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import DrawError
from ..models.checkpoint import Checkpoint
from ..runtime.metadata import UNCHECKED, Metadata
from ..runtime.providers import import_onnxruntime
from .builder import to_bytes
from .gates import default_atol
from .graphs import build_model
from .options import ExportOptions, Graph
from .parity import Row, Run, compare, open_session, runner
from .reference import cases, pictures_at_once

SPEED_BATCHES = (1, 32)


@dataclass(frozen=True)
class Exported:
    """An ONNX file that is not yet on disk."""

    data: bytes
    graph: Graph
    metadata: Metadata
    batch: int | None  # None: dynamic
    nodes: int
    load_seconds: float  # of the file, ONNX Runtime being there
    run_seconds: dict[int, float]  # pictures at once -> seconds, on one CPU thread
    rows: tuple[Row, ...]  # empty with check=False

    @property
    def time_steps(self) -> int:
        return self.metadata.time_steps

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def require_parity(self) -> None:
        """Raise DrawError naming the first output that misses its gate."""
        for row in self.rows:
            if not row.passed:
                raise DrawError(f"parity failed, no file written: {row.output} {row.reason}")


def export(
    checkpoint: Checkpoint,
    options: ExportOptions | None = None,
    *,
    atol: float | None = None,
    check: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> Exported:
    """Build a file and compare it with torch; the caller decides what a failed row means.

    Args:
        atol: gate of the probabilities, or for int8 of pictures and answers; None: the dtype's.
        check: False leaves the comparison out; the file then says ``unchecked``.
        advance: called after each of the ``PARITY_CASES`` inputs compared (fewer for a static batch or large pictures).

    Raises:
        DrawError: options that contradict one another or the model, or ONNX Runtime refuses the file.
    """
    options = options or ExportOptions()
    graph, steps, _ = options.resolve(checkpoint)
    model, metadata = build_model(checkpoint, options)
    data = to_bytes(model, metadata.to_props())
    import_onnxruntime()  # most of the first file's loading time otherwise
    start = time.perf_counter()
    run = runner(open_session(data))
    load_seconds = time.perf_counter() - start
    rows: tuple[Row, ...] = ()
    if check:
        gate = default_atol(options.dtype, graph) if atol is None else atol
        rows = compare(run, checkpoint, graph, steps, options.dtype, gate, options.batch, advance)
        metadata = replace(metadata, parity_atol=_passed_gate(rows, gate, options.dtype == "int8"))
        data = to_bytes(model, metadata.to_props())
    most = pictures_at_once(checkpoint.config, steps)
    # A file of a fixed batch can be run with nothing else.
    sizes = sorted({min(size, most) for size in SPEED_BATCHES}) if options.batch is None else [options.batch]
    run_seconds = {size: _seconds(run, checkpoint, graph, steps, size) for size in sizes}
    nodes = len(model.graph.node)
    return Exported(data, graph, metadata, options.batch, nodes, load_seconds, run_seconds, rows)


def _seconds(run: Run, checkpoint: Checkpoint, graph: Graph, time_steps: int, batch: int) -> float:
    """The best of a few runs: an indication, and no benchmark (bench/ has that)."""
    _, feeds = next(cases(checkpoint, graph, time_steps, (batch,)))
    run(feeds)
    return min(timeit.repeat(lambda: run(feeds), number=1, repeat=3))


def _passed_gate(rows: tuple[Row, ...], atol: float, int8: bool) -> str:
    """``atol`` where it was enough, else the gate that was, rounded up to one digit."""
    if not all(row.passed for row in rows):
        return UNCHECKED
    worst = max((row.error for row in rows if row.by_atol), default=0.0)
    if worst <= atol or int8:
        return f"{atol:g}"
    unit = 10.0 ** math.floor(math.log10(worst))
    return f"{math.ceil(worst / unit) * unit:.0e}"
