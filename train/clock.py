"""The time that updates take, and nothing else: validations, sample sheets and checkpoints stand beside it."""

from __future__ import annotations

import time

import torch


class Clock:
    """Counts between :meth:`start` and :meth:`stop`; a GPU's queue is waited for, or its work would be counted later."""

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._device = device
        self._started: float | None = None

    def start(self) -> None:
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        if self._started is not None:
            self.seconds += self._now() - self._started
            self._started = None

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()
