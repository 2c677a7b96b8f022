"""Ctrl-C and SIGTERM finish the step at hand; a second one does not wait."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupt:
    """A context in which SIGINT and SIGTERM only set ``signal``; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupt:
        # Windows has Ctrl-Break beside Ctrl-C, and no SIGTERM from outside.
        more = getattr(signal, "SIGBREAK", signal.SIGTERM)
        for number in {signal.SIGINT, signal.SIGTERM, more}:
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: its owner handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, as shells report them; 0 without."""
        return 128 + self.signal if self.signal is not None else 0
