"""The wheel in a clean environment, and what README and --help promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS: dict[str, str] = PROJECT["project"]["scripts"]
ROOMS = ("models", "train", "export", "runtime", "pretrained")


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build/ folder is left in the tree or taken from it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "py.typed", *(p.name for p in ROOT.glob("*.py"))):
        shutil.copy(ROOT / name, copy)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    result = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy)
    assert result.returncode == 0, result.stderr
    return next(folder.glob("*.whl"))


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    """A package forgotten in pyproject.toml works from the checkout and is missing for everybody else."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    expected = {f"draw_onnx/{p.relative_to(ROOT)}" for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    expected |= {f"draw_onnx/{p.name}" for p in ROOT.glob("*.py")}
    left_out = PROJECT["tool"]["setuptools"]["exclude-package-data"]["draw_onnx.pretrained"]
    packaged = [p for p in (ROOT / "pretrained").glob("*.*") if p.suffix != ".py" and p.name not in left_out]
    expected |= {f"draw_onnx/pretrained/{p.name}" for p in packaged}
    assert expected - inside == set()
    assert "draw_onnx/py.typed" in inside
    assert wheel.stat().st_size <= 25_000_000
    # And nothing else: no tests, no tools, no data, no rooms at the top.
    version = PROJECT["project"]["version"]
    others = inside - expected - {"draw_onnx/py.typed"}
    assert {name.split("/")[0] for name in others} == {f"draw_onnx-{version}.dist-info"}


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an environment with the wheel and its [cpu] extra alone."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    constraints = ROOT / "constraints.txt"
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    result = run(binaries / "python", "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[cpu]")
    assert result.returncode == 0, result.stderr
    return binaries


def test_the_runtime_works_from_a_clean_installation(clean: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = run(clean / "python", "-c", "import torch", cwd=tmp_path, env=environment)
    assert "No module named 'torch'" in result.stderr
    decoder, classifier = (ROOT / "tests" / "fake" / f"{name}.onnx" for name in ("decoder", "classifier"))
    jobs = [
        ("draw-gen", "--onnx", decoder, "-n", 4, "--gif", "out.gif", "--png", "out.png", "--npz", "out.npz"),
        ("draw-classify", "--onnx", classifier, "out.png", "--json"),
        ("draw-onnx", "gen", "--check"),
        ("draw-doctor",),
    ]
    for command, *arguments in jobs:
        result = run(clean / command, *arguments, cwd=tmp_path, env=environment)
        assert result.returncode == 0, (command, result.stderr)
    for name in ("out.gif", "out.png", "out.npz"):
        assert (tmp_path / name).stat().st_size > 100


def test_training_commands_name_the_missing_extra(clean: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for command, arguments in (
        ("draw-train", ()),
        ("draw-onnx", ("train",)),
        ("draw-export", ("--ckpt", "x.ckpt", "-o", "x.onnx")),
    ):
        result = run(clean / command, *arguments, cwd=tmp_path, env=environment)
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1, result.stderr
        assert "pip install" in result.stderr
        assert "draw-onnx[" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_nothing_heavy(command: str) -> None:
    """--help answers without PyTorch, NumPy or ONNX Runtime: that is what keeps it under a second."""
    module, _, function = COMMANDS[command].partition(":")
    code = f"""
import sys
from {module} import {function}
sys.argv = ["{command}", "--help"]
try:
    {function}()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "numpy", "onnx", "onnx_ir", "onnxruntime", "lightning_fabric", "matplotlib", "sklearn", "PIL", "imageio"}}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    assert f"Usage: {command}" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_version(command: str) -> None:
    result = run(Path(sys.executable).parent / command, "--version")
    assert (result.returncode, result.stdout) == (0, f"draw-onnx {PROJECT['project']['version']}\n")


DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "pretrained").glob("*.md")),
]
DOCUMENTS += sorted((ROOT / "examples").glob("**/README.md"))
DOCUMENTS = [p for p in DOCUMENTS if "node_modules" not in p.parts]


@pytest.fixture(scope="module")
def known_options() -> dict[str, set[str]]:
    options = {}
    for command in COMMANDS:
        text = run(
            Path(sys.executable).parent / command, "--help", env={**os.environ, "COLUMNS": "200"}
        ).stdout
        options[command] = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
    return options


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_documents_use_options_that_exist(document: Path, known_options: dict[str, set[str]]) -> None:
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"(?:^|[\s`(])(draw-[a-z]+ [^\n`|#]*)", text):
        for part in re.split(r"&&|;", line):
            command, *words = part.split() or [""]
            if command == "draw-onnx":  # or the package of that name
                command = f"draw-{words[0]}" if words else ""
            if command in known_options:
                used = {w.split("=")[0] for w in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", w)}
                assert used <= known_options[command], part


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.split("#")[0]).exists(), target


def test_make_help_matches_the_makefile() -> None:
    """Targets that documents name exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, (document.name, named - targets)
