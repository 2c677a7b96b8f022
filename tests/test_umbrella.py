"""``draw-onnx``: the seven commands under one name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from draw_onnx import __main__ as umbrella
from draw_onnx.__main__ import COMMANDS
from draw_onnx.console import make_app

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
PROGRAM = str(Path(sys.executable).parent / "draw-onnx")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def complete(words: str) -> list[str]:
    """What bash is offered for the last of the words."""
    place = str(words.count(" "))
    return run(_DRAW_ONNX_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place).stdout.split()


def test_it_has_every_command() -> None:
    """The same module behind ``draw-NAME`` and ``draw-onnx NAME``."""
    behind = {name.removeprefix("draw-"): entry.partition(":")[0] for name, entry in SCRIPTS.items()}
    behind.pop("onnx")
    assert {name: f"draw_onnx.{module}" for name, (module, _) in COMMANDS.items()} == behind


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_them(arguments: tuple[str, ...]) -> None:
    got = run(*arguments)
    assert (got.returncode, got.stderr) == (0, "")
    for name, (_, text) in COMMANDS.items():
        assert any(name in line and text[:40] in line for line in got.stdout.splitlines()), name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_answers_as_under_its_own_name(name: str) -> None:
    got = run(name, "--help")
    own = subprocess.run(
        [str(Path(PROGRAM).with_name(f"draw-{name}")), "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert got.returncode == 0
    assert f"Usage: draw-onnx {name} " in got.stdout
    assert got.stdout.splitlines()[3:] == own.stdout.splitlines()[3:]


def test_it_runs_and_fails_like_the_command(fake: Path, tmp_path: Path) -> None:
    got = run("gen", "--onnx", fake / "decoder.onnx", "--check", "--seed", 7, "--start", 2, "-n", 6)
    assert got.returncode == 0
    assert got.stdout.startswith("check 8c3c93831bc510bf ")
    got = run("gen", "--onnx", tmp_path / "absent.onnx", "--check")
    assert (got.returncode, got.stderr.count("\n")) == (1, 1)
    assert got.stderr.startswith("draw-onnx gen: error: ")
    got = run("gen", "--nope")
    assert got.returncode == 2
    assert "Try 'draw-onnx gen --help'." in got.stderr
    got = run("paint")
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr.startswith("draw-onnx: error: No such command 'paint'")
    assert run("ggen").stderr.endswith("Did you mean 'gen'? Try 'draw-onnx --help'.\n")


def test_the_command_line_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on several devices starts its other processes with ``sys.argv``."""
    seen: list[list[str]] = []
    given = ["draw-onnx", "train", "--devices", "2"]
    app = make_app()

    @app.command()
    def command(devices: int = typer.Option()) -> None:
        seen.append([*sys.argv, str(devices)])

    monkeypatch.setattr(umbrella, "load", lambda name: app)
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as exit_:
        umbrella.main()
    assert exit_.value.code == 0
    assert seen == [[*given, "2"]]


def test_a_module_runs_too() -> None:
    got = subprocess.run(
        [sys.executable, "-m", "draw_onnx", "gen", "--version"], capture_output=True, text=True
    )
    assert (got.returncode, got.stdout) == (0, run("--version").stdout)


def test_completion() -> None:
    assert complete("draw-onnx ") == list(COMMANDS)
    assert complete("draw-onnx cl") == ["classify"]
    assert complete("draw-onnx gen --se") == ["--seed"]
    assert complete("draw-onnx export --graph de") == ["decoder"]


def test_completion_in_bash() -> None:
    """The script that ``--show-completion`` prints, in a real shell."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = (
        'eval "$(draw-onnx --show-completion bash)"; COMP_WORDS=(draw-onnx sc); COMP_CWORD=1;'
        ' _draw_onnx_completion draw-onnx; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}"}
    got = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert (got.stdout, got.stderr) == ("score\n", "")
