"""The runtime runs without torch and onnx, and its --help without numpy and ONNX Runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMANDS = ("gen", "classify", "score", "doctor")

BLOCKER = """
import importlib, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        top, *rest = name.split(".")
        if top in BLOCKED or (top == "draw_onnx" and rest[:1] in (["models"], ["train"], ["export"])):
            raise ImportError(f"{name} is blocked")

BLOCKED = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Block())
command = sys.argv.pop(1)
sys.argv[0] = f"draw-{command}"
importlib.import_module(f"draw_onnx.runtime.commands.{command}").main()
"""


def run_blocked(blocked: str, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKER, blocked, command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_command_without_torch_and_onnx(fake: Path, tmp_path: Path) -> None:
    Image.fromarray(np.arange(42, dtype=np.uint8).reshape(7, 6)).save(tmp_path / "x.png")
    jobs = {
        "gen": [
            "--onnx",
            fake / "decoder.onnx",
            "-n",
            4,
            "--gif",
            "a.gif",
            "--png",
            "b.png",
            "--npz",
            "c.npz",
        ],
        "classify": ["--onnx", fake / "classifier.onnx", tmp_path / "x.png", "--gif", "d.gif"],
        "score": ["--onnx", fake / "scorer.onnx", tmp_path / "x.png", "--gif", "e.gif", "--png", "f.png"],
        "doctor": [],
    }
    for command, arguments in jobs.items():
        inside = [
            tmp_path / a if str(a).endswith((".gif", ".npz", "b.png", "f.png")) else a for a in arguments
        ]
        got = run_blocked("torch,onnx,onnx_ir,lightning,tensorboard,scipy,sklearn,h5py", command, *inside)
        assert got.returncode == 0, got.stderr
    assert {p.name for p in tmp_path.iterdir()} == {
        "x.png",
        "a.gif",
        "b.png",
        "c.npz",
        "d.gif",
        "e.gif",
        "f.png",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_nothing_heavy(command: str) -> None:
    """Blocked rather than timed: what cannot be imported cannot be slow."""
    got = run_blocked("torch,onnx,onnxruntime,numpy,PIL,imageio", command, "--help")
    assert got.returncode == 0, got.stderr
    assert "Usage" in got.stdout
    got = run_blocked("torch,onnx,onnxruntime,numpy,PIL,imageio", command, "--version")
    assert got.stdout.startswith("draw-onnx ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    import importlib

    import typer

    module = importlib.import_module(f"draw_onnx.runtime.commands.{command}")
    for parameter in typer.main.get_command(module.app).params:
        if parameter.param_type_name == "option":  # older versions of Typer keep an argument's elsewhere
            assert getattr(parameter, "help", None), f"draw-{command} {parameter.name}"


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys, draw_onnx; print({'numpy', 'torch', 'onnxruntime', 'typer'} & set(sys.modules))"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert got.stdout.strip() == "set()"


def test_nothing_is_left_in_the_home_folder(fake: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry is off: no device id, no cache of events."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    drop = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {k: v for k, v in os.environ.items() if k not in drop} | {"HOME": str(home)}
    script = Path(sys.executable).parent / "draw-gen"
    command = [script, "--onnx", fake / "decoder.onnx", "-n", "2", "--npz", "a.npz"]
    subprocess.run(command, cwd=work, env=environment, check=True, capture_output=True)
    assert list(home.rglob("*")) == []
