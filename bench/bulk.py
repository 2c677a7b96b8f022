"""Many pictures streamed: is memory flat, and is the last as fast as the first?

One process streams the packaged decoder's finished pictures and looks at its own resident memory.

    python bench/bulk.py --pictures 100000
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from measure import common, instruction_set, save_json, table, work_or_compare, workers_in_turns

LARGEST_GROWTH = 16.0  # MiB between the first tenth and the last: allocators settle, a leak goes on


def main() -> None:
    parser = common(__doc__, rounds=1, seconds=0)
    parser.add_argument("--model", default="mnist", help="a packaged decoder, or a file")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    work_or_compare(parser, stream, compare)


def compare(arguments: argparse.Namespace) -> None:
    raw, failed = workers_in_turns(arguments, {"stream": ["stream"]}, arguments.threads)
    if failed:
        sys.exit(failed["stream"])
    save_json(arguments.json, raw)
    tenths = raw["stream"][-1]
    print(
        f"{arguments.pictures} pictures of {arguments.model}, {arguments.threads} thread(s), {instruction_set()}\n"
    )
    counts = [0, *(tenth["pictures"] for tenth in tenths)]
    rates = [(b - a) / tenth["seconds"] for a, b, tenth in zip(counts, counts[1:], tenths, strict=False)]
    rows = [
        [str(tenth["pictures"]), f"{tenth['rss']:.0f} MiB", f"{rate / rates[0]:.2f}×"]
        for tenth, rate in zip(tenths, rates, strict=True)
    ]
    print(table(["pictures", "resident memory", "speed beside the first tenth's"], rows))
    growth = tenths[-1]["rss"] - tenths[0]["rss"]
    flat = growth <= LARGEST_GROWTH
    print(f"\nmemory {'is flat' if flat else 'grows'}: {growth:+.1f} MiB from the first tenth to the last")
    sys.exit(0 if flat else 1)


def stream(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """After each tenth: pictures so far, seconds for it, and resident memory in MiB."""
    from draw_onnx import Sampler

    pictures = arguments.pictures
    sampler = Sampler(arguments.model, "cpu", arguments.threads)
    sampler.sample(1)
    tenths: list[dict[str, float]] = []
    done, start = 0, time.perf_counter()
    for part in sampler.stream(pictures, seed=0, steps=False):
        done += len(part)
        if done >= pictures * (len(tenths) + 1) / 10:
            now = time.perf_counter()
            tenths.append({"pictures": done, "seconds": now - start, "rss": resident()})
            start = now
    return tenths


def resident() -> float:
    """MiB of this process that are in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    import resource  # what there is elsewhere is the peak, which shows growth as well

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
