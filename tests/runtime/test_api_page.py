"""Every example of docs/api.md runs, on the fake models."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in (("draw", "decoder"), ("classifier", "classifier"), ("scorer", "scorer")):
        shutil.copy(fake / f"{source}.onnx", tmp_path / f"{name}.onnx")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"docs/api.md example {number}", "exec"), {})
