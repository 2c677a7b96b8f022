"""What a machine with a GPU runs first: is training right there, is drawing right there, and how fast is either?

CUDA tests; milliseconds an update, eager, captured as a CUDA graph, compiled, and both; whether a run that is interrupted
and resumed ends at the same bits; where ONNX Runtime has CUDA, how far its pictures are from the CPU's and how many it draws
a second. Each part is a process of its own with a time limit, all together end within nine minutes. Without a GPU it is a
dry run of the same parts on the CPU with smaller sizes. Exits with 1 where a part failed.

    make gpu-check          # or: python bench/gpu_check.py --json gpu-check.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import best_of, instruction_set, reason

BUDGET = 540.0  # seconds for everything

# name -> (compiled, captured)
WAYS = {
    "eager": (False, False),
    "captured": (False, True),
    "compiled": (True, False),
    "compiled, captured": (True, True),
}
PRESETS = {"cuda": ("mnist-paper", "mnist-no-attention", "cluttered-mnist"), "cpu": ("digits",)}
THREADS = (1, 4, 8)

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--seconds", type=float, default=5.0, help="time spent on each figure")
    parser.add_argument("--json", type=Path, default=Path("gpu-check.json"), help="where the figures go")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, *rest = arguments.part
        print(json.dumps(_PARTS[name](arguments.device, arguments.seconds, *rest)))
        return
    about = run("machine", arguments, 120)
    device = about.get("device", "cpu")
    arguments.device = device
    print(f"{about.get('name', about.get('failed'))}; PyTorch {about.get('torch', '?')}", flush=True)
    if device == "cpu":
        print("no CUDA device: a dry run on the CPU")
    parts: list[tuple[str, list[str]]] = [("tests", []), *(("resume", [way]) for way in WAYS)]
    parts += [("parity", []), *(("drawing", [kind]) for kind in ("unrolled", "lstm"))]
    parts += [("update", [preset, way]) for preset in PRESETS[device] for way in WAYS]
    results: dict[str, Result] = {"machine": about}
    end = time.monotonic() + BUDGET
    for name, rest in parts:
        label = ", ".join((name, *rest))
        left = end - time.monotonic()
        late = {"skipped": "no time was left"}
        result = run(name, arguments, min(240.0, left), *rest) if left > 5 else late
        results[label] = result
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{label:<45} {shown(result)}", flush=True)
    failed = [label for label, result in results.items() if "failed" in result]
    print(f"wrote {arguments.json}; " + (f"failed: {'; '.join(failed)}" if failed else "nothing failed"))
    sys.exit(1 if failed else 0)


def run(part: str, arguments: argparse.Namespace, limit: float, *rest: str) -> Result:
    """One part in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--device", arguments.device]
    command += ["--seconds", str(arguments.seconds), "--part", part, *rest]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            out, error = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            # What it started goes too: it would use the GPU beside the parts that are timed next.
            (os.killpg if hasattr(os, "killpg") else os.kill)(process.pid, signal.SIGTERM)
            return {"failed": f"not done after {limit:.0f} s"}
    done = subprocess.CompletedProcess(command, process.returncode, out, error)
    if done.returncode:
        return {"failed": reason(done)}
    return json.loads(done.stdout.splitlines()[-1])


def shown(result: Result) -> str:
    for key in ("failed", "skipped"):
        if key in result:
            return f"{key}: {result[key]}"
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in result.items()
    )


def machine(device: str, seconds: float) -> Result:
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else instruction_set()
    return {"device": device, "name": name, "torch": torch.__version__, "cuda": torch.version.cuda}


def tests(device: str, seconds: float) -> Result:
    """The tests marked ``cuda``; without a GPU all of them skip."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode:
        return {"failed": "; ".join([lines[-1], *failures])}
    return {"result": lines[-1]}


def update(device: str, seconds: float, preset: str, way: str) -> Result:
    """Milliseconds an update on a random batch of the preset's size."""
    import torch
    from training import update as make_update

    compiled, captured = WAYS[way]
    if captured and device == "cpu":
        return {"skipped": "CUDA graphs need a GPU"}
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    once = make_update(preset, "32-true", compiled, device, captured)
    once()
    ready = time.perf_counter() - begin
    return {"ms an update": 1e3 * best_of(once, seconds), "s until the first": ready}


def resume(device: str, seconds: float, way: str) -> Result:
    """Whether a run that is stopped in its course, and goes on, ends at the bits of one that is not."""
    import torch

    compiled, captured = WAYS[way]
    if captured and device == "cpu":
        return {"skipped": "CUDA graphs need a GPU"}
    options = ["--device", device, "--no-compile" if not compiled else "--compile"]
    options += ["--cuda-graph"] if captured else []
    fresh = ["--preset", "digits", "--iterations", "500", "--save-every", "20", "--eval-every", "500"]
    with tempfile.TemporaryDirectory() as folder:
        whole, parted = Path(folder, "whole"), Path(folder, "parted")
        draw_train(*fresh, *options, "--out", str(whole))
        draw_train(*fresh, *options, "--out", str(parted), stop_at=parted / "last.ckpt")
        stopped = torch.load(parted / "last.ckpt", weights_only=True)["iteration"]
        draw_train("--resume", *options, "--out", str(parted))
        a, b = (torch.load(run / "last.ckpt", weights_only=True) for run in (whole, parted))
    differing = [name for name, value in a["weights"].items() if not torch.equal(value, b["weights"][name])]
    if differing:
        return {"failed": f"{len(differing)} of {len(a['weights'])} weights differ, {differing[0]} first"}
    return {"result": f"the same bits, stopped after {stopped} of 500 updates"}


def draw_train(*options: str, stop_at: Path | None = None) -> None:
    """The command in a process of its own; ``stop_at`` has it interrupted once it has written that file."""
    command = [sys.executable, "-m", "draw_onnx", "train", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        while stop_at is not None and process.poll() is None:
            if stop_at.exists():
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.002)
        out, error = process.communicate()
    done = subprocess.CompletedProcess(command, process.returncode, out, error)
    if done.returncode != (0 if stop_at is None else 130):
        raise SystemExit(reason(done))


def parity(device: str, seconds: float) -> Result:
    """The largest difference between pictures of the packaged decoder on CUDA and on the CPU."""
    import numpy as np

    from draw_onnx import Sampler
    from draw_onnx.runtime.providers import cuda_problem, import_onnxruntime

    problem = cuda_problem(import_onnxruntime()) if device == "cuda" else "no CUDA device"
    if problem is not None:
        return {"skipped": problem}
    a, b = (Sampler("mnist", provider).sample(256, seed=1).images for provider in ("cpu", "cuda"))
    difference = float(np.abs(a - b).max())
    return {"largest difference": difference} if difference < 1e-5 else {"failed": f"differ by {difference}"}


def drawing(device: str, seconds: float, recurrence: str) -> Result:
    """Pictures a second of a random decoder at the paper's sizes: one at a time, and in bulk by threads."""
    import numpy as np
    import torch

    from draw_onnx import Sampler
    from draw_onnx.export import ExportOptions, build
    from draw_onnx.models.checkpoint import Checkpoint
    from draw_onnx.models.config import DrawConfig
    from draw_onnx.models.draw import Draw
    from draw_onnx.runtime.providers import cuda_problem, import_onnxruntime

    problem = cuda_problem(import_onnxruntime()) if device == "cuda" else None
    if problem is not None:
        return {"skipped": problem}
    torch.manual_seed(0)
    config = DrawConfig() if device == "cuda" else DrawConfig(time_steps=8)
    checkpoint = Checkpoint(config, "mnist", Draw(config).state_dict())
    bulk = 4096 if device == "cuda" else 64
    result: Result = {}
    options = ExportOptions(outputs="image", recurrence="lstm" if recurrence == "lstm" else "unrolled")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "decoder.onnx")
        path.write_bytes(build(checkpoint, options))
        one = Sampler(path, device)
        noise = np.zeros((1, config.time_steps, config.latent_size), np.float32)
        result["one, ms"] = 1e3 * best_of(lambda: one.sample_noise(noise), seconds / 2)
        for threads in THREADS:
            if threads > (os.cpu_count() or 1):
                continue
            many = Sampler(path, device, threads=threads)
            took = best_of(lambda many=many: many.sample(bulk, seed=0), seconds / 2)
            result[f"a second with {threads} threads"] = bulk / took
    return result


_PARTS = {
    "machine": machine,
    "tests": tests,
    "update": update,
    "resume": resume,
    "parity": parity,
    "drawing": drawing,
}

if __name__ == "__main__":
    main()
