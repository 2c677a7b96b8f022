"""What every command shares: one-line errors, exit codes, progress on stderr, ``--version``.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import errno
import inspect
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from . import __version__
from .errors import DrawError, first_line
from .files import check_writable
from .streams import drain_stdout, give_up_stdout, prepare_streams, printable

# click's base of all errors in usage, of which Typer carries a copy of its own and exports this class alone.
_CLICK_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
# Of what options write; the others write PNG.
_SUFFIXES = {"--gif": ".gif", "--npz": ".npz", "--output": ".onnx"}
# What the extras [train] and [export] bring.
_EXTRA_PACKAGES = (
    "torch",
    "safetensors",
    "lightning_fabric",
    "tensorboard",
    "sklearn",
    "scipy",
    "h5py",
    "pooch",
    "matplotlib",
    "onnx",
    "onnx_ir",
)
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
# How libraries say that memory, or the number of threads, is at its end: PyTorch on a CPU (two ways) and a GPU, Python.
_NO_ROOM = ("can't allocate memory", "not enough memory", "out of memory", "can't start new thread")


def is_about_room(error: BaseException) -> bool:
    """Whether a library means by its RuntimeError that memory, or the number of threads, is at its end."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_ROOM)


def command_line(words: Sequence[str]) -> str:
    """Words as one types them into this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def make_app(**more: Any) -> typer.Typer:
    """A Typer app with the project's settings; ``more`` are others of ``typer.Typer``."""
    settings: dict[str, Any] = {"add_completion": False, "rich_markup_mode": "rich"}
    return typer.Typer(pretty_exceptions_enable=False, **(settings | more))


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"draw-onnx {__version__}")
        raise typer.Exit


def option(text: str, panel: str | None = None, *names: str, **more: Any) -> Any:
    """``typer.Option``, its help first; ``names`` where the parameter's own will not do.

    An option is ``name: Annotated[type, option("help", PANEL)] = default``, a choice ``Literal["a", "b"]``.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


VersionOption: Any = typer.Option(
    "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
)


def run_app(app: typer.Typer, name: str, arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 for errors (one line), 2 for wrong usage, 128 + n after signal n (130 for Ctrl-C).

    ``arguments`` are those of ``sys.argv`` unless given.

    With ``DRAW_DEBUG=1`` in the environment errors keep their traceback.
    """
    prepare_streams()
    for known in app.registered_commands:
        known.help = _flowing(known.help or inspect.getdoc(known.callback) or "")
    _check_surroundings(name, sys.argv[1:] if arguments is None else arguments)
    debug = os.environ.get("DRAW_DEBUG", "") not in ("", "0")
    try:
        with _stopped_by_signals():
            code = app(arguments, prog_name=name, standalone_mode=False)
            drain_stdout()
    except _CLICK_ERROR as error:
        # click's, before whole sentences of ours
        message = error.format_message().removeprefix("Invalid value: ")
        message = message.replace(": Value error, ", ": ")  # Typer's, before what a Literal may be
        stop = "" if message.endswith("?") else "."  # after "Did you mean 'gen'?"
        _fail(name, f"{message.rstrip('.')}{stop} Try '{name} --help'.", error.exit_code)
    except BrokenPipeError:
        with suppress(OSError):
            drain_stdout()
        sys.exit(1)  # the reader of our output went away (`draw-gen … | head`): not an error worth a word
    except KeyboardInterrupt:
        _fail(name, "interrupted", 130)
    except _Stopped as stop:
        give_up_stdout()  # whose reader may be in no hurry
        _fail(name, str(stop), 128 + stop.number)
    except SystemExit:  # of a command that has said why
        with suppress(OSError):
            drain_stdout()
        raise
    except Exception as error:
        message, code = (None, 1) if debug else _in_one_line(error, name)
        if message is None:
            raise
        _fail(name, message, code)
    else:
        if code == 130:  # what Typer makes of Ctrl-C
            _fail(name, "interrupted", 130)
        sys.exit(code if isinstance(code, int) else 0)


def _flowing(text: str) -> str:
    """A docstring whose sentences break where the terminal ends. What is indented, or has click's mark, keeps its lines."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith((" ", "\b")) else p.replace("\n", " ") for p in paragraphs)


def _in_one_line(error: Exception, name: str) -> tuple[str | None, int]:
    """What is said of an error, and the exit code; None for one that nobody can mend: it keeps its traceback."""
    message = None
    if isinstance(error, DrawError):
        message = str(error)
    elif isinstance(error, ModuleNotFoundError):
        # Only what an extra brings: a module of ours that is missing is a bug.
        package = (error.name or "").split(".")[0]
        if package in _EXTRA_PACKAGES:
            extra = "export" if name.endswith("export") else "train"
            message = f"{package} is not installed: pip install 'draw-onnx[cpu,{extra}]' (or [gpu,{extra}])"
    elif isinstance(error, ImportError) and (stop := _what_interrupted(error)) is not None:
        # NumPy and others make an ImportError of whatever happens in theirs.
        return (str(stop), 128 + stop.number) if isinstance(stop, _Stopped) else ("interrupted", 130)
    elif isinstance(error, MemoryError):
        message = f"out of memory: {error}" if str(error) else "out of memory"
    elif is_about_room(error):
        message = f"no room for it on this machine: {first_line(error)}"
    elif isinstance(error, OSError):
        where = error.filename
        try:
            drain_stdout()
        except OSError:  # what could not be written is still to be written
            where = where or "stdout"
        if where is None and error.errno in _FULL:  # unbuffered; files that are written are named (files.py)
            where = "stdout"
        message = f"{f'{where}: ' if where else ''}{error.strerror or error}"
    return message, 1


def _what_interrupted(error: BaseException | None) -> BaseException | None:
    while error is not None and not isinstance(error, KeyboardInterrupt | _Stopped):
        error = error.__cause__ or error.__context__
    return error


class _Stopped(SystemExit):
    """What a signal that ends a command is here, so that files which are half written are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}"


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Within it, signals that would end the process at once raise :class:`_Stopped` instead.

    What is ignored, as SIGHUP under nohup, stays ignored, and what has a handler keeps it; draw-train has its own
    while it trains.
    """
    quiet_until = 0.0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal quiet_until
        if time.monotonic() >= quiet_until:  # terminals and schedulers send several at once
            quiet_until = time.monotonic() + 1
            raise _Stopped(number)

    ours = []
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # the last is Windows' Ctrl-Break
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            with suppress(ValueError):  # not the main thread: its owner handles signals
                signal.signal(number, stop)
                ours.append(number)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _check_surroundings(name: str, arguments: list[str]) -> None:
    """Refuse what only mistakes bring about and Python or a library would take for something else."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument or (equals and not value and option.startswith("--")):
            # As a path it would be the current folder: what `--out "$OUT"` says where OUT is not set.
            which = option or (before if before.startswith("-") else "")
            _fail(name, f"{which or 'an argument'} is empty: is a variable not set?", 2)
    try:
        os.getcwd()
    except OSError as error:
        # Of relative names the system would say no more than this, and PyTorch's libraries end the process.
        _fail(name, f"the current folder cannot be used, it may have been removed ({error.strerror})", 1)


def _fail(name: str, message: str, code: int) -> None:
    with suppress(OSError):
        drain_stdout()
    _say(f"{name}: error: {' '.join(message.split())}")
    sys.exit(code)


def check_outputs(outputs: Mapping[str, Path | None]) -> None:
    """Refuse, before the work, outputs that cannot be written, are named like another kind, or have one name."""
    paths = [path for path in outputs.values() if path is not None]
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise typer.BadParameter("two outputs have the same name.")
    for path in paths:
        check_writable(path)
    for option, path in outputs.items():
        suffix = _SUFFIXES.get(option, ".png")
        if path is not None and path.suffix.lower() != suffix:
            raise typer.BadParameter(f"{option} writes {suffix} files: {path.name} should end in {suffix}.")


_quiet = False


def be_quiet() -> None:
    """No notes and no bars from here on: of several processes of one run one talks. Errors are still said."""
    global _quiet
    _quiet = True


def note(message: str) -> None:
    """One line on stderr."""
    if not _quiet:
        _say(message)


def _say(message: str) -> None:
    if sys.stderr is not None:  # under pythonw, for users of the Python API
        print(printable(message), file=sys.stderr, flush=True)


class Progress:
    """Handed out by :func:`progress`; call ``advance(n)`` and ``describe(text)``."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: float = 1) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, amount)

    def describe(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=text)

    def log(self, text: str) -> None:
        """A line above the bar, or a plain one."""
        if self._bar is not None:
            self._bar.console.print(printable(text), highlight=False, markup=False)
        else:
            note(text)


@contextmanager
def progress(text: str, total: float) -> Iterator[Progress]:
    """A progress bar on stderr when it is a terminal; otherwise one plain line if it took over a second."""
    if _quiet or sys.stderr is None or not sys.stderr.isatty():
        start = time.monotonic()
        yield Progress()
        taken = time.monotonic() - start
        if taken > 1:
            note(f"{text}: {taken:.1f} s")
        return
    from rich import progress as parts
    from rich.console import Console

    columns = (
        parts.TextColumn("{task.description}"),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TimeElapsedColumn(),
        parts.TimeRemainingColumn(),
    )
    with parts.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Progress(bar, bar.add_task(text, total=total))


def format_duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
