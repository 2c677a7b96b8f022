"""stdin, stdout and stderr as commands may find them: closed, of any encoding, on a terminal that went away."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from typing import Any


def prepare_streams() -> None:
    """Make the three streams fit to be used without thought, once, at the start of a command.

    A missing one leads to nothing (``2>&-``, services): its number would otherwise go to the next file that is opened, and
    a C library's complaint into that file. What an encoding does not know is escaped, and so is what is not UTF-8 in a
    name. stderr never fails: neither a reader that went away nor a terminal that hung up may end the work.
    """
    _open_missing()
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if os.name == "posix" and sys.stderr is sys.__stderr__:
        # Windows' console takes Unicode through a class of its own.
        with suppress(OSError, ValueError):
            sys.stderr.flush()
            sys.stderr = io.TextIOWrapper(
                io.BufferedWriter(_Lossy(sys.stderr.fileno(), "w", closefd=False)),
                encoding=sys.stderr.encoding,
                errors="backslashreplace",
                line_buffering=True,
                write_through=True,
            )


def printable(text: str) -> str:
    """``text`` with what no terminal should be sent escaped: control characters, bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_data(text: str) -> str:
    """``text`` as stdout takes data: exactly as it is in a file or a pipe, :func:`printable` on a terminal."""
    return printable(text) if sys.stdout.isatty() else text


def print_json(value: Any) -> None:
    """One JSON text on stdout; letters are escaped as JSON escapes them where stdout's encoding has not all of them, and
    on a terminal what it should not be sent."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").replace("_", "")
    text = json.dumps(value, indent=1, ensure_ascii=not encoding.startswith("utf"))
    if sys.stdout.isatty():
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    print(text)


def drain_stdout() -> None:
    """Write what is left to stdout.

    Where that fails the rest is thrown away, so that the interpreter does not complain again at its end.

    Raises:
        OSError: as the write did: BrokenPipeError where the reader has gone away.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = error.filename or "stdout"
        give_up_stdout()
        raise


def give_up_stdout() -> None:
    """What is still to be written goes nowhere: Python would try, and may wait, at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_missing() -> None:
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) != number:  # the lowest number that is free
                continue
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
            setattr(sys, name, stream)


class _Lossy(io.FileIO):
    """A descriptor whose failures are not heard of."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            if (written := super().write(data)) is not None:  # None: it would have to wait
                return written
        return len(data)
