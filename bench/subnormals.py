"""What flushing subnormal numbers would save the packaged graphs: nothing, or they make some.

Each contender runs in a process of its own, in turns: the file as it is, and with ONNX Runtime's
session.set_denormal_as_zero, which the runtime never sets because it changes whole threads of the program around it.

    python bench/subnormals.py --seconds 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from measure import best_of, instruction_set


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mnist", "mnist-two-digit", "cluttered-mnist"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="time spent on each figure in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, flush = arguments.worker
        print(json.dumps(worker(name, flush == "flush", arguments.batch, arguments.seconds)))
        return
    print(
        f"{arguments.batch} pictures, one thread, {instruction_set()}; time as it is / with subnormals flushed"
    )
    for name in arguments.models:
        best = {"as is": float("inf"), "flush": float("inf")}
        for _ in range(arguments.rounds):
            for way in best:
                command = [sys.executable, str(Path(__file__).resolve()), "--worker", name, way]
                command += ["--batch", str(arguments.batch), "--seconds", str(arguments.seconds)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                best[way] = min(best[way], json.loads(done.stdout))
        print(f"{name:<18} {best['as is'] / best['flush']:.2f}", flush=True)


def worker(name: str | Path, flush: bool, batch: int, seconds: float, threads: int = 1) -> float:
    """Seconds a call of a packaged model or a file."""
    import numpy as np
    import onnxruntime as ort

    from draw_onnx.pretrained import find_packaged
    from draw_onnx.runtime.noise import noise

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    if flush:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = ort.InferenceSession(find_packaged(name, ".onnx", "model"), options)
    shape = session.get_inputs()[0].shape
    if session.get_inputs()[0].name == "noise":
        feed = {"noise": noise(0, 0, batch, shape[1], shape[2])}
    else:
        # Random pixels would keep every window in the middle; a bright square draws it somewhere.
        generator = np.random.default_rng(0)
        pictures = np.zeros((batch, *shape[1:]), np.float32)
        for k in range(batch):
            y, x = generator.integers(0, shape[2] - 20, 2)
            pictures[k, :, y : y + 20, x : x + 8] = 1
        feed = {"image": pictures}
    return best_of(lambda: session.run(None, feed), seconds)


if __name__ == "__main__":
    main()
