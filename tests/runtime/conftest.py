"""Commands of the runtime in this process, and pictures for the fake classifier."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Classifier
from draw_onnx.runtime.metadata import CLASSIFIER, DECODER, SCORER

from ..conftest import Command

TYPES = {"decoder": DECODER, "classifier": CLASSIFIER, "scorer": SCORER}
SCENES = np.random.default_rng(3).integers(0, 256, (11, 20, 24), dtype=np.uint8)  # for fake/classifier.onnx


@pytest.fixture
def run(command: Command) -> Command:
    """``run("gen", "--gif", path)``: draw-gen with these arguments, in this process."""
    folder = "draw_onnx.runtime.commands"
    return lambda name, *arguments: command(importlib.import_module(f"{folder}.{name}").main, *arguments)


@pytest.fixture(scope="session")
def classifier(fake: Path) -> Classifier:
    return Classifier(fake / "classifier.onnx", "cpu", threads=2)
