"""A Sampler, a Classifier and a Scorer used without a pause from several threads; memory must stay flat.

``python tests/reliability/soak.py --minutes 30`` (``make soak``) prints the memory of the process ten times, and ends with 1
where it grew or an answer changed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from draw_onnx import Classifier, Sampler, Scorer

FAKE = Path(__file__).resolve().parents[1] / "fake"
GROWTH = 1.05  # of the memory after the first tenth of the time: allocators keep some pages back


def resident() -> float:
    """MB of memory of this process (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's memory")


def jobs() -> list[Callable[[], bytes]]:
    """Each gives the same bytes at every call."""
    sampler, classifier = Sampler("mnist"), Classifier("cluttered-mnist")
    scorer = Scorer(FAKE / "scorer.onnx")
    pictures = np.random.default_rng(0).random((16, *classifier.metadata.image_shape), np.float32)
    binary = np.random.default_rng(1).integers(0, 2, (8, *scorer.metadata.image_shape)).astype(np.float32)
    return [
        lambda: sampler.sample(8, seed=7).images.tobytes(),
        lambda: sampler.sample(3, seed=8, steps=True).images.tobytes(),
        lambda: classifier(pictures).probabilities.tobytes(),
        lambda: scorer(binary).bound.tobytes(),
        lambda: Sampler(FAKE / "decoder.onnx").sample(2, seed=9).images.tobytes(),  # opened and closed
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    work = jobs()
    expected = [job() for job in work]
    wrong: list[int] = []
    calls = [0] * given.threads
    end = time.monotonic() + 60 * given.minutes

    def use(thread: int) -> None:
        k = thread
        while time.monotonic() < end and not wrong:
            if work[k % len(work)]() != expected[k % len(work)]:
                wrong.append(k % len(work))
            calls[thread] += 1
            k += 1

    threads = [threading.Thread(target=use, args=(k,)) for k in range(given.threads)]
    for thread in threads:
        thread.start()
    seen = []
    for tenth in range(10, 0, -1):
        time.sleep(max(0.0, end - time.monotonic()) / tenth)
        seen.append(resident())
        print(
            f"{len(seen) * given.minutes / 10:5.1f} min  {sum(calls):9,} calls  {seen[-1]:7.1f} MB",
            flush=True,
        )
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit(f"job {wrong[0]} gave another answer")
    if seen[-1] > GROWTH * seen[0]:
        sys.exit(f"memory grew from {seen[0]:.1f} to {seen[-1]:.1f} MB")


if __name__ == "__main__":
    main()
