"""How fast pictures are drawn, beside torch and beside the floor.

Every contender runs in a process of its own: torch and onnxruntime together, or either one spinning on a
busy core, ruin each other's timings. The floor is the recurrence's matrix products alone, in torch: no
sampler can do less. Times depend on the machine, so what is printed are ratios to that floor, measured in
the same run: 100 % would be as fast as the bare products. (With one picture at a time torch's own cost of a
call is part of the floor, so that a graph can pass it.) On a machine that is doing something else the
figures for two threads mean nothing.

    python bench/sampling.py --threads 1 2
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The paper's MNIST decoder (table 3).
T, HIDDEN, LATENT, WRITE, SIDE = 64, 256, 100, 5, 28

ONNX_FILES: dict[str, dict[str, Any]] = {
    "image": {"outputs": "image"},
    "steps": {"outputs": "steps"},
    "lstm": {"outputs": "image", "recurrence": "lstm"},
    "lstm steps": {"outputs": "steps", "recurrence": "lstm"},
    "fp16": {"outputs": "image", "dtype": "fp16"},
}
CONTENDERS = ["floor", "torch eager", "torch.compile", "torch.onnx.export", *ONNX_FILES]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of each process")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256], help="pictures at a time")
    parser.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS, help="contenders")
    parser.add_argument(
        "--traced-steps",
        type=int,
        default=4,
        help="steps of the traced graph: tracing all 64 takes minutes, so its time is scaled up from these; 0 skips it",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each figure")
    parser.add_argument("--json", type=Path, help="also write the raw seconds here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder, arguments.threads[0], arguments.batch, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Run every contender and print the table."""
    subprocess.run([*_command(folder), "--worker", "prepare"], check=True)
    raw: dict[str, Any] = {}
    names = [n for n in CONTENDERS if n in arguments.only or n == "floor"]
    for threads in arguments.threads:
        for name in names:
            if name == "torch.onnx.export" and not arguments.traced_steps:
                raw[f"{name}, {threads}"] = {"skipped": "--traced-steps 0"}
                continue
            command = [*_command(folder), "--worker", name, "--threads", str(threads)]
            command += ["--batch", *map(str, arguments.batch), "--seconds", str(arguments.seconds)]
            command += ["--traced-steps", str(arguments.traced_steps)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
            print(f"{name}, {threads} threads …", file=sys.stderr, flush=True)
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["failed"])[-1]
                raw[f"{name}, {threads}"] = {"skipped": reason}
            else:
                raw[f"{name}, {threads}"] = json.loads(done.stdout.splitlines()[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(raw, indent=1))
    print(
        f"paper-size MNIST decoder, T {T}, h {HIDDEN}; per cent of the SGEMM floor's speed (100 % = the floor)"
    )
    print("contender            threads    load  " + "".join(f"{f'batch {n}':>11}" for n in arguments.batch))
    for threads in arguments.threads:
        floor = raw[f"floor, {threads}"]
        for name in names:
            result = raw[f"{name}, {threads}"]
            if "skipped" in result:
                print(f"{name:<20} {threads:>7}    skipped: {result['skipped']}")
                continue
            load = (
                f"{result['load'] / raw[f'image, {threads}']['load']:>7.1f}x"
                if "load" in result and f"image, {threads}" in raw
                else "       "
            )
            shares = "".join(
                f"{floor['batch'][str(n)] / result['batch'][str(n)]:>11.0%}" for n in arguments.batch
            )
            print(f"{name:<20} {threads:>7} {load}  {shares}")
    print("load: relative to the image file's")


def _command(folder: Path) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--folder", str(folder)]


def worker(name: str, folder: Path, threads: int, batches: list[int], arguments: argparse.Namespace) -> None:
    """Time one contender; prints one line of JSON."""
    if name == "prepare":
        prepare(folder)
        return
    result: dict[str, Any] = {"batch": {}}
    if name in ONNX_FILES:
        step, result["load"] = onnx_sampler(folder / f"{name}.onnx", threads)
        scale = 1.0
    elif name == "torch.onnx.export":
        step, result["load"] = traced_sampler(folder, threads, arguments.traced_steps)
        scale = T / arguments.traced_steps
        result["load"] *= scale
    else:
        make = {"floor": floor, "torch eager": eager, "torch.compile": compiled}[name]
        step, scale = make(folder, threads), 1.0
    for batch in batches:
        result["batch"][batch] = scale * best_of(step(batch), arguments.seconds)
    print(json.dumps(result))


def best_of(run: Callable[[], Any], seconds: float) -> float:
    """Seconds a call: the median of the faster half, so that somebody else's burst does not count."""
    run()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    times.sort()
    return statistics.median(times[: max(1, len(times) // 2)])


def instruction_set() -> str:
    """``AMD EPYC: AVX2`` or ``Intel(R) Xeon(R) …: AVX2, AVX-512, BF16, VNNI, AMX``: what timings hold for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    of = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = of.get("flags", "").split()
    names = {
        "avx2": "AVX2",
        "avx512f": "AVX-512",
        "avx512_bf16": "BF16",
        "avx512_vnni": "VNNI",
        "avx_vnni": "AVX-VNNI",
        "amx_tile": "AMX",
    }
    return (
        f"{of.get('model name', 'unknown CPU')}: {', '.join(n for flag, n in names.items() if flag in flags)}"
    )


Sampler = Callable[[int], Callable[[], Any]]  # batch -> a call that draws so many pictures


def prepare(folder: Path) -> None:
    """A paper-size checkpoint with random weights, and our files."""
    import torch

    from draw_onnx.export import ExportOptions, build
    from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint
    from draw_onnx.models.config import DrawConfig

    torch.manual_seed(0)
    config = DrawConfig(1, SIDE, SIDE, T, HIDDEN, LATENT, 2, WRITE)
    checkpoint = Checkpoint(config, "mnist", build_model(config).state_dict())
    save_checkpoint(folder / "draw.ckpt", checkpoint)
    for name, options in ONNX_FILES.items():
        (folder / f"{name}.onnx").write_bytes(build(checkpoint, ExportOptions(**options)))


def onnx_sampler(path: Path, threads: int) -> tuple[Sampler, float]:
    import numpy as np

    from draw_onnx.runtime.providers import import_onnxruntime

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    shape = session.get_inputs()[0].shape[1:]

    def step(batch: int) -> Callable[[], Any]:
        noise = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
        return lambda: session.run(None, {"noise": noise})

    return step, load


def _model(folder: Path, threads: int) -> Any:
    import torch

    from draw_onnx.models.checkpoint import load_checkpoint

    torch.set_num_threads(threads)
    return load_checkpoint(folder / "draw.ckpt").build()


def _torch_sampler(draw: Callable[[Any], Any]) -> Sampler:
    import torch

    def step(batch: int) -> Callable[[], Any]:
        noise = torch.randn(batch, T, LATENT)

        def run() -> Any:
            with torch.inference_mode():
                return draw(noise)

        return run

    return step


def eager(folder: Path, threads: int) -> Sampler:
    model = _model(folder, threads)
    return _torch_sampler(lambda noise: model.generate(noise).image)


def compiled(folder: Path, threads: int) -> Sampler:
    """A step compiled, the loop eager: compiling 64 unrolled steps takes minutes."""
    import torch

    model = _model(folder, threads)
    model._paint = torch.compile(model._paint, dynamic=True)
    return _torch_sampler(lambda noise: model.generate(noise).image)


def traced_sampler(folder: Path, threads: int, steps: int) -> tuple[Sampler, float]:
    """What torch.onnx.export makes of the plain loop, with ``steps`` steps."""
    import torch

    path = folder / f"traced-{steps}.onnx"
    if not path.exists():

        class Generate(torch.nn.Module):
            def __init__(self, model: Any) -> None:
                super().__init__()
                self.model = model

            def forward(self, noise: Any) -> Any:
                return self.model.generate(noise).image

        noise = torch.randn(2, steps, LATENT)
        module = Generate(_model(folder, threads)).eval()
        sizes = {"noise": {0: torch.export.Dim("batch_size")}}
        torch.onnx.export(
            module, (noise,), path, input_names=["noise"], dynamic_shapes=sizes, dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
    # Torch is in this process now; a fresh one times the file.
    if os.environ.get("DRAW_BENCH_TRACED") != "1":
        environment = {**os.environ, "DRAW_BENCH_TRACED": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    return onnx_sampler(path, threads)


def floor(folder: Path, threads: int) -> Sampler:
    """The LSTM's and the write head's products, nothing else."""
    import torch

    torch.set_num_threads(threads)
    w, r = torch.randn(LATENT, 4 * HIDDEN), torch.randn(HIDDEN, 4 * HIDDEN)
    head = torch.randn(HIDDEN, 5 + WRITE * WRITE)

    def step(batch: int) -> Callable[[], Any]:
        noise, h = torch.randn(T * batch, LATENT), torch.randn(batch, HIDDEN)
        states = torch.randn(T * batch, HIDDEN)
        projected, gates = torch.empty(T * batch, 4 * HIDDEN), torch.empty(batch, 4 * HIDDEN)
        rows, columns = torch.randn(batch, SIDE, T * WRITE), torch.randn(batch, T * WRITE, SIDE)

        def run() -> None:
            with torch.inference_mode():
                torch.mm(noise, w, out=projected)
                for _ in range(T):
                    torch.mm(h, r, out=gates)
                torch.mm(states, head)
                torch.bmm(rows, columns)

        return run

    return step


if __name__ == "__main__":
    main()
