"""How long until something answers: `--help`, and the first picture from nothing, each in a fresh process.

The floor is an empty Python; beside it what importing the libraries costs that others start with.

    python bench/startup.py --rounds 7
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import CPU_TIME, common, instruction_set, save_json, table, work_or_compare, workers_in_turns

PEER = "the same picture, torch eager"
_DRAW = "from draw_onnx.runtime.commands.{0} import main; main()"
_EAGER = """
import torch
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.pretrained import find_packaged
model = load_checkpoint(find_packaged("mnist", ".ckpt", "checkpoint")).build()
config = model.config
with torch.inference_mode():
    model.generate(torch.randn(1, config.time_steps, config.latent_size))
"""


def contenders(folder: Path) -> dict[str, list[str]]:
    def python(code: str, *words: str) -> list[str]:
        return [sys.executable, "-c", code, *words]

    picture = str(folder / "picture.png")
    return {
        "floor: Python": python("pass"),
        "import onnxruntime": python("import onnxruntime"),
        "import torch": python("import torch"),
        "draw-gen --help": python(_DRAW.format("gen"), "--help"),
        "draw-classify --help": python(_DRAW.format("classify"), "--help"),
        "Sampler('mnist').sample(1)": python("from draw_onnx import Sampler; Sampler('mnist').sample(1)"),
        "draw-gen --grid FILE -n 1": python(_DRAW.format("gen"), "-n", "1", "--grid", picture),
        PEER: python(_EAGER),
    }


def main() -> None:
    work_or_compare(common(__doc__, rounds=5, seconds=0), worker, compare)


def compare(arguments: argparse.Namespace) -> None:
    raw, failed = workers_in_turns(arguments, {name: [name] for name in contenders(arguments.folder)})
    save_json(arguments.json, raw)
    print(f"start-up, median of {arguments.rounds}, {instruction_set()}\n")
    typical = {name: statistics.median(values) for name, values in raw.items()}
    rows = []
    for name, seconds in typical.items():
        peer = typical.get(PEER)
        rows.append([name, f"{seconds:.2f} s", f"{peer / seconds:.1f}×" if peer else "–"])
    print(table(["", "seconds", "beside torch's first picture"], rows, failed))


def worker(arguments: argparse.Namespace) -> float:
    (name,) = arguments.worker
    start = time.perf_counter()
    subprocess.run(contenders(arguments.folder)[name], check=True, stdout=subprocess.DEVNULL)
    wall, of = time.perf_counter() - start, os.times()
    return of.children_user + of.children_system if CPU_TIME else wall


if __name__ == "__main__":
    main()
