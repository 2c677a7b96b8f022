"""The numbers of a run: ``metrics.csv`` for people and scripts, TensorBoard events beside it."""

from __future__ import annotations

import csv
import functools
import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..console import note
from ..errors import DrawError
from ..files import reading, write_text, writing
from .settings import RunFolder


class Logbook:
    """Appends one row at a time. On resume, rows after the checkpoint's iteration are dropped."""

    def __init__(self, folder: RunFolder, columns: tuple[str, ...], iteration: int) -> None:
        # TensorBoard is imported late: it takes a second, and other ranks never need it.
        from torch.utils.tensorboard import SummaryWriter

        _hush_tensorboard()
        self._path = folder.metrics
        self._columns = (*RunFolder.FIRST_COLUMNS, "learning_rate", "images_per_second", *columns)
        rows = [row for row in _read(folder.metrics) if int(row["iteration"]) <= iteration]
        write_text(folder.metrics, self._text(rows, header=True))
        self._file = folder.metrics.open("a", encoding="utf-8", newline="")
        self._events: SummaryWriter | None = None
        try:
            str(folder.path).encode()
        except UnicodeEncodeError:
            note(
                "no TensorBoard events: it takes no folder whose name is not UTF-8; metrics.csv has the figures"
            )
        else:
            self._events = SummaryWriter(str(folder.path), purge_step=iteration + 1)

    def write(self, row: dict[str, Any]) -> None:
        """``row`` maps column names to numbers; missing ones stay empty."""
        with writing(self._path):
            self._file.write(self._text([row], header=False))
            self._file.flush()
        with self._events_go_on():
            for name, value in row.items():
                if self._events is not None and name not in ("iteration", "stage", "seconds"):
                    part, _, rest = name.partition("_")
                    tag = f"{part}/{rest}" if part in ("train", "valid") else name
                    self._events.add_scalar(tag, value, row["iteration"])

    def close(self) -> None:
        with suppress(OSError):  # what a full disk did not take: the run ends anyway
            self._file.close()
        with self._events_go_on():
            if self._events is not None:
                self._events.close()

    @contextmanager
    def _events_go_on(self) -> Iterator[None]:
        """Events that cannot be written end, and not the run: metrics.csv has the same figures."""
        try:
            yield
        except OSError as error:
            self._events = None
            note(f"no more TensorBoard events: {error.strerror or error}; metrics.csv has the figures")

    def _text(self, rows: list[dict[str, Any]], header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
        return text.getvalue()


@functools.cache
def _hush_tensorboard() -> None:
    """TensorBoard writes in a thread, whose errors come again in the next call: their traceback says nothing more."""
    said = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not type(args.thread).__module__.startswith("tensorboard"):
            said(args)

    threading.excepthook = hook


def _read(path: Path) -> list[dict[str, str]]:
    """The rows, less those that a crash has cut short or filled with anything else.

    Raises:
        DrawError: not a table of draw-train's, which writing it anew would lose.
    """
    if not os.path.lexists(path):
        return []
    with reading(path):
        header, *lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() or ["iteration"]
    columns = header.split(",")  # numbers and names alone: nothing is quoted
    if "iteration" not in columns:
        raise DrawError(
            f"{path} is not the table that draw-train wrote: move it away, to go on without its rows"
        )
    cells = [line.split(",") for line in lines]
    rows = [dict(zip(columns, row, strict=True)) for row in cells if len(row) == len(columns)]
    return [row for row in rows if re.fullmatch("[0-9]{1,18}", row["iteration"])]
