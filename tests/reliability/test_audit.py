"""What `make audit` passes over: each finding is explained, and what it is about is not called."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Compiled programs in files (PT2, TorchScript, packages of code).
NEVER = re.compile(r"torch\.(jit\.|package\.|export\.load|_inductor\.\w*package)")


def test_each_finding_passed_over_is_explained() -> None:
    line = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("KNOWN")
    ).split()[2:]
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert line
    assert [name for name in line if name not in page] == []


def test_no_program_is_read_from_a_file() -> None:
    loads = []
    for file in ROOT.glob("*/**/*.py"):
        if file.is_relative_to(ROOT / "tests") or any(part.startswith(".") for part in file.parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert not NEVER.match(name), f"{file}:{node.lineno}"
                if name == "torch.load":
                    loads.append(file.name)
                    assert [ast.unparse(k.value) for k in node.keywords if k.arg == "weights_only"] == [
                        "True"
                    ]
    assert "checkpoint.py" in loads
