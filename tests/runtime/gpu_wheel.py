"""The real onnxruntime-gpu on a machine without a GPU (`make test-gpu-wheel`; 255 MB, so outside CI).

onnxruntime-gpu lists the CUDA provider there and runs on the CPU without a word; ours has to say so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest


def run(command: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).parent / command
    return subprocess.run(
        [script, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.fixture(autouse=True)
def no_gpu() -> None:
    try:
        found = subprocess.run(["nvidia-smi"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        found = False
    if found:
        pytest.skip("this machine has a GPU")


def test_the_trap_is_there() -> None:
    assert "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_auto_falls_back_and_says_why(fake: Path, tmp_path: Path) -> None:
    result = run("draw-gen", "--onnx", fake / "decoder.onnx", "-n", 3, "--npz", "a.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "CPU" in result.stderr
    assert "CUDA" in result.stderr
    with np.load(tmp_path / "a.npz") as numbers:
        assert numbers["images"].shape[0] == 3


def test_cuda_fails_with_the_reason(fake: Path, tmp_path: Path) -> None:
    result = run(
        "draw-gen", "--onnx", fake / "decoder.onnx", "--npz", "a.npz", "--provider", "cuda", cwd=tmp_path
    )
    assert result.returncode == 1
    assert result.stderr.startswith("draw-gen: error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "CUDA" in result.stderr
    assert not (tmp_path / "a.npz").exists()


def test_doctor_says_that_cuda_does_not_load(tmp_path: Path) -> None:
    result = run("draw-doctor", cwd=tmp_path)
    assert "onnxruntime-gpu" in result.stdout
    assert "CUDA" in result.stdout
