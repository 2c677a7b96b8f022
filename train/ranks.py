"""The processes of a run on several devices: who starts whom, and what becomes of the others when one ends.

``draw-train --devices N`` is the main process, rank 0; it starts the others itself, each with a mark that names its parent
and its rank. Only this mark makes a process a child: LOCAL_RANK, SLURM_NTASKS and the like may be left over
in an environment, or mean something else. On several machines torchrun starts all of them
(``torchrun --no-python --nnodes 2 --nproc-per-node 4 … draw-train …``), and then its own variables count.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import NoReturn

from ..errors import DrawError

_MARK = "DRAW_TRAIN_RANK"  # parent's process id, rank, number of processes, port
_GRACE = 10.0  # seconds that a process may take to end by itself when another one has


@dataclass(frozen=True)
class Rank:
    """This process among those of its run."""

    rank: int = 0
    count: int = 1
    port: int = 0  # of rank 0, on this machine; unused with torchrun
    parent: int = 0  # process id of rank 0, for those that it started
    local: int = 1  # processes on this machine
    torchrun: bool = False

    @property
    def main(self) -> bool:
        """Whether it is the one that writes, reports and decides."""
        return self.rank == 0


def this_rank(devices: int) -> Rank:
    """Who this process is, of a run on ``devices`` devices of a machine.

    Raises:
        DrawError: torchrun started another number of processes, or rank 0 is gone.
    """
    if _MARK in os.environ:
        try:
            parent, rank, count, port = map(int, os.environ[_MARK].split())
        except ValueError:
            raise DrawError(f"{_MARK} is not what draw-train gives its own processes: unset it") from None
        if parent != os.getppid():
            raise DrawError("the main process has ended")
        return Rank(rank, count, port, parent, count)
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "") not in ("", "1"):
        rank, local, world = _torchrun()
        if devices not in (1, local):
            raise DrawError(f"--devices {devices}: torchrun started {local} processes on this machine")
        return Rank(rank, world, local=local, torchrun=True)
    if devices > 1 and os.name == "nt":
        # The interpreter of a virtual environment is a child of a launcher there, not of the process that started it.
        raise DrawError("--devices: several processes of one run are not supported on Windows")
    return Rank(0, devices, _free_port() if devices > 1 else 0, local=devices)


def _torchrun() -> tuple[int, int, int]:
    """Rank, processes of this machine and of all, as torchrun says them; DrawError where they are left from elsewhere."""
    names = ("RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE")
    try:
        rank, local, world = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError):
        rank, local, world = 0, 0, 0
    if not (0 <= rank < world and 1 <= local <= world and world % local == 0):
        said = ", ".join(f"{name}={os.environ.get(name, '')}" for name in names)
        raise DrawError(f"TORCHELASTIC_RUN_ID is set, but torchrun sets no {said}: unset it to train without")
    return rank, local, world


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_about_others(error: RuntimeError) -> bool:
    """Whether an error is of talking to another process: gloo's are plain RuntimeErrors."""
    text = str(error)
    return type(error).__name__.startswith("Dist") or any(
        word in text for word in ("gloo", "Gloo", "NCCL", "Connection")
    )


class Crew:
    """The other processes of this machine, as the main process or one of them sees them. A context manager.

    A process that dies ends the run: the others are ended, and one line says which it was.
    """

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._children: list[subprocess.Popen[bytes]] = []
        self._over, self._leaving = threading.Event(), threading.Lock()

    def start(self) -> None:
        """Start the others, if they are ours to start, and watch: of the main process once all is ready to train."""
        rank = self._rank
        if rank.torchrun or rank.count == 1:
            return
        if rank.main:
            for k in range(1, rank.count):
                mark = {_MARK: f"{os.getpid()} {k} {rank.count} {rank.port}"}
                self._children.append(subprocess.Popen(_command(), env={**os.environ, **mark}))
        threading.Thread(target=self._watch, daemon=True, name="crew").start()

    def failure(self, error: Exception) -> DrawError:
        """What to say of an error in talking to the others: which of them ended, where that can be known."""
        deadline = time.monotonic() + _GRACE
        while (self._children or self._rank.parent) and time.monotonic() < deadline:
            if (line := self._ended()) is not None:
                return DrawError(line)
            if self._orphaned():
                self._leave()
            time.sleep(0.1)
        return DrawError(
            f"another process of this run ended ({str(error).splitlines()[0][:200]}): see its own last line"
        )

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._over.set()
        if not self._rank.main and isinstance(error, DrawError):
            time.sleep(_GRACE)  # rank 0 mostly has the same error: it says it, once, and ends this process
        deadline = time.monotonic() + (_GRACE if kind is None else 0.0)
        for child in self._children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _ended(self) -> str | None:
        """A line about the first child that has ended badly."""
        for k, child in enumerate(self._children, 1):
            code = child.poll()
            if code:
                how = (
                    f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
                )
                return (
                    f"process {k + 1} of {self._rank.count} {how}: the run ends;"
                    " if it had saved, --resume goes on from there"
                )
        return None

    def _orphaned(self) -> bool:
        """Whether the main process, which started this one, is gone."""
        return bool(self._rank.parent) and os.getppid() != self._rank.parent

    def _watch(self) -> None:
        """Ends this process where it would wait for ever for one that is gone."""
        while not self._over.wait(0.5):
            if self._rank.main:
                line = self._ended()
                if line is None:
                    continue
                if self._over.wait(_GRACE):  # it usually notices by itself, and says so
                    return
                for child in self._children:
                    child.kill()
                print(f"draw-train: error: {line}", file=sys.stderr, flush=True)
                os._exit(1)
            elif self._orphaned():
                self._leave()

    def _leave(self) -> NoReturn:
        """The end of a process whose main process is gone: that one has said why, or was killed."""
        with self._leaving:
            if self._rank.rank == 1:
                print(
                    "draw-train: the main process has ended, and so do the others",
                    file=sys.stderr,
                    flush=True,
                )
            os._exit(1)


def _command() -> list[str]:
    """How this process was started: a script, or ``python -m module``."""
    import __main__

    if __main__.__spec__ is None:
        return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    return [sys.executable, "-m", __main__.__spec__.name, *sys.argv[1:]]
