"""What all parts measure with: processes in turns, medians, shares of floors, and the table.

Torch and onnxruntime together, or either one spinning on a busy core, ruin each other's timings: every contender runs in
a process of its own, they take turns, and the median over the rounds counts. What is printed are ratios measured in the
same run; on a machine that is doing something else they mean little. There DRAW_BENCH_CLOCK=cpu counts CPU time instead of
time on the wall, the same thing for one thread but for what the neighbours do to caches and memory; tables say so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from draw_onnx.processor import cpu_facts, cpu_flags

CPU_TIME = os.environ.get("DRAW_BENCH_CLOCK") == "cpu"
ORT_FLOOR, TORCH_FLOOR, EAGER = "floor: ONNX Runtime", "floor: torch", "torch eager"


def common(description: str | None, *, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """The options that every part has."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"turns of every contender ({rounds})")
    parser.add_argument(
        "--seconds", type=float, default=seconds, help=f"time for a figure in a round ({seconds})"
    )
    parser.add_argument("--json", type=Path, help="also write the raw figures here")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # the files that the workers measure
    return parser


def best_of(run: Callable[[], Any], seconds: float) -> float:
    """Seconds a call: the median of the faster half, so that somebody else's burst does not count."""
    clock = time.process_time if CPU_TIME else time.perf_counter
    run()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = clock()
        run()
        times.append(clock() - start)
    times.sort()
    return statistics.median(times[: max(1, len(times) // 2)])


def instruction_set() -> str:
    """``AMD EPYC (family 26, model 2): AVX2, AVX-512, BF16, VNNI``: what timings hold for. Virtual machines often give
    a name that several generations share."""
    of, flags = cpu_facts(), cpu_flags()
    names = {
        "avx2": "AVX2",
        "avx512f": "AVX-512",
        "avx512_bf16": "BF16",
        "avx512_vnni": "VNNI",
        "avx_vnni": "AVX-VNNI",
        "amx_tile": "AMX",
    }
    found = ", ".join(name for flag, name in names.items() if flag in flags)
    generation = f" (family {of['cpu family']}, model {of.get('model')})" if "cpu family" in of else ""
    return f"{of.get('model name', 'unknown CPU')}{generation}: {found}{'; CPU time' if CPU_TIME else ''}"


def in_turns(
    commands: Mapping[str, Sequence[str]], rounds: int, threads: int = 1
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Each command ``rounds`` times, all once before any again.

    Returns:
        What each printed as JSON in its last line, once a round; and of those that failed, the last line of why.
    """
    results: dict[str, list[Any]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    for turn in range(rounds):
        for name, command in commands.items():
            if name in failed:
                continue
            _progress(f"round {turn + 1} of {rounds}: {name} …")
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                failed[name] = reason(done)
            else:
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
    _progress("")
    return {name: values for name, values in results.items() if values and name not in failed}, failed


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a process that failed said."""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def workers_in_turns(
    arguments: argparse.Namespace, workers: Mapping[str, Sequence[str]], threads: int | None = None
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """:func:`in_turns` of this script's own processes: what each is told with ``--worker``, beside the script's options."""
    command = [sys.executable, *sys.argv, "--folder", str(arguments.folder)]
    if threads is not None:
        command += ["--threads", str(threads)]
    commands = {name: [*command, "--worker", *words] for name, words in workers.items()}
    return in_turns(commands, arguments.rounds, threads or 1)


def work_or_compare(
    parser: argparse.ArgumentParser,
    worker: Callable[[argparse.Namespace], Any],
    compare: Callable[[argparse.Namespace], None],
) -> None:
    """What a script does: as one of its own processes it measures, else it starts them with a folder for their files."""
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        compare(arguments)


def compare_batches(arguments: argparse.Namespace, contenders: Sequence[str], title: str) -> None:
    """The workers of these names in turns, and for each number of threads a table with a column for each batch size."""
    raw: dict[int, Any] = {}
    columns = {str(n): f"{n} at a time" for n in arguments.batch}
    for threads in arguments.threads:
        raw[threads], failed = workers_in_turns(arguments, {name: [name] for name in contenders}, threads)
        print(f"{title} {threads} thread(s), {instruction_set()}\n")
        print(shares_table(medians(raw[threads]), columns, failed) + "\n", flush=True)
    save_json(arguments.json, raw)


def medians(results: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Of every key, over the rounds."""
    return {
        name: {key: statistics.median(value[key] for value in values) for key in values[0]}
        for name, values in results.items()
    }


def shares(seconds: Mapping[str, Mapping[str, float]], column: str, name: str, peer: str = EAGER) -> str:
    """``93 % · 85 % · 4.1×``: of ONNX Runtime's floor, of torch's, and times the peer's speed."""
    mine = seconds[name][column]
    of = [
        f"{seconds[floor][column] / mine:.0%}" if floor in seconds else "–"
        for floor in (ORT_FLOOR, TORCH_FLOOR)
    ]
    times = f"{seconds[peer][column] / mine:.2f}×" if peer in seconds else "–"
    return " · ".join([*of, times])


def shares_table(
    seconds: Mapping[str, Mapping[str, float]],
    columns: Mapping[str, str],
    failed: Mapping[str, str],
    peer: str = EAGER,
) -> str:
    """A row for each contender, a cell of :func:`shares` for each column (key in ``seconds`` -> heading)."""
    rows = [[name, *(shares(seconds, key, name, peer) for key in columns)] for name in seconds]
    return table(["", *columns.values()], rows, failed)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], failed: Mapping[str, str] | None = None
) -> str:
    """Markdown, its columns padded so that it reads in a terminal too; below, what failed and why."""
    lines = [headings, *rows]
    for name, reason in (failed or {}).items():
        lines.append([name, f"failed: {reason}", *[""] * (len(headings) - 2)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    texts = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    texts.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(texts)


def save_json(path: Path | None, raw: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
