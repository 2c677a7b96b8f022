"""What flushing subnormal numbers would save the packaged graphs: nothing, or they make some.

Each contender runs in a process of its own, in turns: the file as it is, and with ONNX Runtime's
session.set_denormal_as_zero, which the runtime never sets because it changes whole threads of the program around it.

    python bench/subnormals.py --seconds 5
"""

from __future__ import annotations

import argparse

from floors import file_call, open_session
from measure import best_of, common, instruction_set, work_or_compare, workers_in_turns


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=5.0)
    parser.add_argument("--models", nargs="+", default=["mnist", "mnist-two-digit", "cluttered-mnist"])
    parser.add_argument("--batch", type=int, default=32)
    work_or_compare(parser, worker, compare)


def compare(arguments: argparse.Namespace) -> None:
    print(
        f"{arguments.batch} pictures, one thread, {instruction_set()}; time as it is / with subnormals flushed"
    )
    for name in arguments.models:
        raw, failed = workers_in_turns(arguments, {way: [name, way] for way in ("as is", "flush")})
        for reason in failed.values():
            raise SystemExit(reason)
        print(f"{name:<18} {min(raw['as is']) / min(raw['flush']):.2f}", flush=True)


def worker(arguments: argparse.Namespace) -> float:
    """Seconds a call of a packaged model."""
    from draw_onnx.pretrained import find_packaged

    name, way = arguments.worker
    session = open_session(find_packaged(name, ".onnx", "model"), 1, flush=way == "flush")
    return best_of(file_call(session, arguments.batch), arguments.seconds)


if __name__ == "__main__":
    main()
