"""How much faster and smaller the int8 files of the packaged models are than the float ones.

Each contender runs in a process of its own, in turns; a figure is the median over the rounds. Goals: half as fast again in
bulk on CPUs with VNNI or AMX, and at most 30 % of the size. The decoder is compared with the faster of its float files.

    python bench/int8.py --seconds 3 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import instruction_set
from subnormals import worker

FLOATS = {"unrolled": {}, "lstm": {"recurrence": "lstm"}}  # a classifier has the first alone


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mnist", "mnist-no-attention", "cluttered-mnist"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each figure in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the raw seconds here")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare, arguments.models)
    elif arguments.worker:
        print(
            json.dumps(
                worker(arguments.worker, False, arguments.batch[0], arguments.seconds, arguments.threads)
            )
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(arguments, Path(folder))


def prepare(folder: Path, models: list[str]) -> None:
    """Lean files of every kind, ``MODEL.KIND.onnx``; not compared with PyTorch."""
    from draw_onnx.export import ExportOptions, build
    from draw_onnx.models.checkpoint import load_checkpoint
    from draw_onnx.models.config import DrawConfig
    from draw_onnx.pretrained import find_packaged

    for name in models:
        checkpoint = load_checkpoint(find_packaged(name, ".ckpt", "checkpoint"))
        kinds = {**FLOATS, "int8": {"dtype": "int8"}}
        if not isinstance(checkpoint.config, DrawConfig):
            del kinds["lstm"]
        for kind, options in kinds.items():
            data = build(checkpoint, ExportOptions(outputs="image", **options))
            (folder / f"{name}.{kind}.onnx").write_bytes(data)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Time all files in turns and print the table."""
    script = [sys.executable, str(Path(__file__).resolve())]
    subprocess.run([*script, "--prepare", str(folder), "--models", *arguments.models], check=True)
    files = sorted(folder.glob("*.onnx"))
    seconds: dict[str, dict[int, list[float]]] = {f.name: {n: [] for n in arguments.batch} for f in files}
    for _ in range(arguments.rounds):
        for batch in arguments.batch:
            for file in files:
                command = [*script, "--worker", str(file), "--batch", str(batch)]
                command += ["--seconds", str(arguments.seconds), "--threads", str(arguments.threads)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds[file.name][batch].append(json.loads(done.stdout))
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=1))
    print(f"int8 beside the faster float file, {arguments.threads} thread(s), {instruction_set()}")
    print(f"{'model':<20} {'size':>6}" + "".join(f"{f'batch {n}':>11}" for n in arguments.batch))
    for name in arguments.models:
        floats = [f"{name}.{kind}.onnx" for kind in FLOATS if (folder / f"{name}.{kind}.onnx").exists()]
        size = (folder / f"{name}.int8.onnx").stat().st_size
        share = size / min((folder / f).stat().st_size for f in floats)
        row = f"{name:<20} {share:>6.0%}"
        for batch in arguments.batch:
            best = min(statistics.median(seconds[f][batch]) for f in floats)
            row += f"{best / statistics.median(seconds[f'{name}.int8.onnx'][batch]):>10.2f}x"
        print(row)


if __name__ == "__main__":
    main()
