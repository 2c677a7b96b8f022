"""How many CPUs this process may use: of those that are there, those it may run on, and what a container is granted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """At least 1. A quota of one and a half CPUs (``docker run --cpus 1.5``) counts as two."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """CPUs granted by the control groups that this process is in, each a part of the one before (Linux)."""
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = _MINE.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree, version 1 one for each set of controllers. In a container the path may be the host's.
        trees = [_CGROUPS / name for name in (controllers, "cpu")] if controllers else [_CGROUPS]
        inner = Path(path.lstrip("/"))
        for tree in trees:
            for group in {tree / part for part in (inner, *inner.parents)}:
                with suppress(OSError, ValueError):
                    yield _quota(group, version=1 if controllers else 2)


def _quota(group: Path, version: int) -> float:
    """Raises OSError or ValueError where the group sets none."""
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    text = " ".join((group / name).read_text(encoding="ascii") for name in names)
    quota, period = map(int, text.split())
    if quota <= 0 or period <= 0:
        raise ValueError("no limit")
    return quota / period
