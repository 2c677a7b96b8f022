"""How much faster and smaller the int8 files of the packaged models are than the float ones.

Cells as in sampling.py; the floors are the float products, which eight bits can pass, and the peer is the faster float
file. Goals: half as fast again in bulk on CPUs with VNNI or AMX, and at most 30 % of the size.

    python bench/int8.py --seconds 3 --rounds 5
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from classifying import packaged
from floors import step_of, write_files
from measure import (
    ORT_FLOOR,
    TORCH_FLOOR,
    best_of,
    common,
    instruction_set,
    medians,
    save_json,
    shares,
    table,
    work_or_compare,
    workers_in_turns,
)

from draw_onnx.models.config import DrawConfig

FILES: dict[str, dict[str, Any]] = {
    "unrolled": {"outputs": "image"},
    "lstm": {"outputs": "image", "recurrence": "lstm"},  # not of a classifier
    "int8": {"outputs": "image", "dtype": "int8"},
}


def main() -> None:
    parser = common(__doc__, rounds=5, seconds=3.0)
    parser.add_argument("--models", nargs="+", default=["mnist", "mnist-no-attention", "cluttered-mnist"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    work_or_compare(parser, worker, compare)


def prepare(folder: Path, models: list[str]) -> dict[str, list[str]]:
    """Lean files of every kind, ``MODEL/KIND.onnx``; the kinds of each model."""
    found = {}
    for name in models:
        checkpoint = packaged(name)
        draws = isinstance(checkpoint.config, DrawConfig)
        files = {kind: options for kind, options in FILES.items() if draws or kind != "lstm"}
        write_files(checkpoint, folder / name, files)
        found[name] = list(files)
    return found


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a call of one contender, by batch size."""
    model, kind = arguments.worker
    step = step_of(kind, arguments.folder / model, arguments.threads, lambda: packaged(model).config)
    return {str(n): best_of(step(n), arguments.seconds) for n in arguments.batch}


def compare(arguments: argparse.Namespace) -> None:
    """Time all files in turns and print the table."""
    kinds = prepare(arguments.folder, arguments.models)
    workers = {
        f"{model}: {kind}": [model, kind]
        for model in arguments.models
        for kind in (ORT_FLOOR, TORCH_FLOOR, *kinds[model])
    }
    raw, failed = workers_in_turns(arguments, workers, arguments.threads)
    save_json(arguments.json, raw)
    seconds = medians(raw)
    print(f"int8 beside the faster float file, {arguments.threads} thread(s), {instruction_set()}\n")
    rows = []
    for model, has in kinds.items():
        if missing := [kind for kind in (ORT_FLOOR, TORCH_FLOOR, *has) if f"{model}: {kind}" not in seconds]:
            failed[model] = f"without {', '.join(missing)} there is nothing to compare"
            continue
        floats = [kind for kind in has if kind != "int8"]
        of = {kind: seconds[f"{model}: {kind}"] for kind in (ORT_FLOOR, TORCH_FLOOR, *has)}
        of["float"] = {n: min(of[kind][n] for kind in floats) for n in map(str, arguments.batch)}
        sizes = {kind: (arguments.folder / model / f"{kind}.onnx").stat().st_size for kind in has}
        share = sizes["int8"] / min(sizes[kind] for kind in floats)
        rows.append([model, f"{share:.0%}", *(shares(of, str(n), "int8", "float") for n in arguments.batch)])
    print(table(["", "size", *(f"{n} at a time" for n in arguments.batch)], rows, failed))


if __name__ == "__main__":
    main()
