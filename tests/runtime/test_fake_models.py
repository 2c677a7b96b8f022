"""The committed fake models are what their script writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def test_the_script_still_writes_these_files(fake: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="making the fake models needs onnx")
    spec = importlib.util.spec_from_file_location("make_fake_models", fake / "make_fake_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    models = module.all_models()
    assert set(models) == {path.name for path in fake.glob("*.onnx")}
    for name, model in models.items():
        committed = (fake / name).read_bytes()
        assert len(committed) < 8000
        # Message against message: another onnx or protobuf may order the bytes in its own way.
        assert onnx.load_from_string(committed) == model, name
