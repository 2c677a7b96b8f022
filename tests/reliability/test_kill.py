"""Runs ended at random moments go on as if nothing had been: weights, optimiser state and rows of metrics, bit for bit.

``make test-kill`` ends each kind of run 25 times, CI three times (DRAW_KILLS).
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.models.checkpoint import load_checkpoint

KILLS = int(os.environ.get("DRAW_KILLS", "3"))
RUN = Path(__file__).with_name("short_run.py")
SIGNALS = ("SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="POSIX signals")]


def start(kind: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(RUN), kind, str(folder)],
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait(process: subprocess.Popen[str], ready: Any) -> None:
    """Until ``ready()`` or the process's end."""
    deadline = time.monotonic() + 120
    while process.poll() is None and not ready():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def changed(file: Path) -> int:
    """When it was written last; a run begins with its metrics."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def state(folder: Path) -> list[Any]:
    """All that a run leaves, but for what a clock says."""
    found: list[Any] = []
    for name in ("last.ckpt", "best.ckpt", "best.safetensors"):
        checkpoint = load_checkpoint(folder / name)
        training = dict(checkpoint.training or {})
        metrics = {k: v for k, v in checkpoint.metrics.items() if k not in ("seconds", "images_per_second")}
        training.pop("seconds", None)
        found.append((checkpoint.config, checkpoint.iteration, checkpoint.weights, metrics, training))
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found.append(
        [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]
    )
    found.append((folder / "test.txt").read_text())
    return found


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("kind", ["draw", "classifier"])
def test_killed_at_random_moments(kind: str, tmp_path: Path) -> None:
    whole = start(kind, tmp_path / "whole")
    assert whole.wait(timeout=300) == 0, whole.communicate()
    expected = state(tmp_path / "whole")
    choose = random.Random(f"{kind} {os.environ.get('DRAW_KILL_SEED', '0')}")
    counts = {"inside a save": 0, "between": 0}
    folder, number, killed = tmp_path / "0", 0, 0
    while killed < KILLS:
        begun = changed(folder / "metrics.csv")
        process = start(kind, folder)
        name = choose.choice(SIGNALS)
        wait(process, lambda folder=folder, begun=begun: changed(folder / "metrics.csv") > begun)
        if choose.random() < 0.4:
            wait(process, lambda folder=folder: any(folder.glob(".last.ckpt.*.part")))
            where = "inside a save"
        else:
            time.sleep(choose.uniform(0, 0.8))
            where = "between"
        process.send_signal(getattr(signal, name))
        _, error = process.communicate(timeout=120)
        if process.returncode:
            killed += 1
            counts[where] += 1
            assert abs(process.returncode) in (getattr(signal, name), 128 + getattr(signal, name)), error
            assert "Traceback" not in error
            if (folder / "last.ckpt").exists():
                load_checkpoint(folder / "last.ckpt")  # at any moment the old or the new one, whole
        # A run can be killed after its last file, before its process ends: nothing is left to go on with.
        finished = process.returncode == 0 or (folder / "test.txt").exists()
        if finished or choose.random() < 0.4 or killed == KILLS:
            if not finished:
                last = start(kind, folder)
                assert last.wait(timeout=300) == 0, last.communicate()
            assert same(state(folder), expected), f"after {killed} ends, the last by {name} {where}"
            assert not list(folder.rglob(".*.part"))
            number += 1
            folder = tmp_path / str(number)
    print(f"{kind}: ended {killed} times ({counts}), {number} runs compared")
