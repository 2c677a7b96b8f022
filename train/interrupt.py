"""Ctrl-C, SIGTERM and what batch systems send finish the step at hand; a second Ctrl-C does not wait."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

# SIGHUP: the terminal is gone. SIGUSR1: what Slurm's --signal and other schedulers send before they kill. Windows has
# neither, but Ctrl-Break beside Ctrl-C.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")


class Interrupted(Exception):
    """What :meth:`Interrupt.check` ends work with that is done anew anyway."""


class Interrupt:
    """A context in which these signals are only noted; who works in it asks :meth:`stop` or :meth:`check`.

    A SIGHUP that is ignored, as under nohup, stays ignored.

    Args:
        agree: makes one answer of those of all processes: the largest number.
    """

    def __init__(self, agree: Callable[[int], int] | None = None) -> None:
        self.signal: signal.Signals | None = None  # what the run was stopped by
        self.heard = 0  # a signal that has come, which the next question says
        self._agree = agree
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupt:
        for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
            if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: its owner handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        # Terminals and schedulers send several at once: only who types again means it.
        if self.heard and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.heard = self.heard or number

    def stop(self) -> bool:
        """Whether to stop between two steps. Every process asks, and all get the same answer."""
        number = self.heard if self._agree is None else self._agree(self.heard)
        if number:
            self.signal = signal.Signals(number)
        return bool(number)

    def check(self, _: int = 0) -> None:
        """Raises Interrupted where a signal has come to this process; as ``advance`` of what one process does alone."""
        if self.heard:
            self.signal = signal.Signals(self.heard)
            raise Interrupted

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, 138 after SIGUSR1, as shells report them; 0 without."""
        return 128 + self.signal if self.signal is not None else 0
