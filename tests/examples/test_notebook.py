"""The notebook runs from top to bottom on the packaged models, and says what it says in the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from draw_onnx import Sampler
from draw_onnx.runtime.check_line import CheckLine

pytestmark = pytest.mark.examples

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "draw.ipynb"


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)


def test_it_runs(tmp_path: Path) -> None:
    try:
        import nbformat  # pyright: ignore[reportMissingImports]
        from nbclient import NotebookClient  # pyright: ignore[reportMissingImports]
    except ImportError:
        if "notebook" in os.environ.get("DRAW_REQUIRE", "").split(","):
            pytest.fail("nbclient is not installed")
        pytest.skip("nbclient is not installed")
    kept = nbformat.read(NOTEBOOK, 4)
    notebook = nbformat.read(NOTEBOOK, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert pictures(notebook) == pictures(kept) == 6
    line = CheckLine()
    line.add(Sampler("mnist", "cpu").sample(6, 7, 2))
    assert printed(notebook).splitlines()[-1] == str(line)
    for before, now in zip(printed(kept).split(), printed(notebook).split(), strict=True):
        if (
            any(c.isdigit() for c in before) and "." in before
        ):  # a figure: another processor may round it otherwise
            continue
        assert "#" in before or before == now
