"""draw-train's options and the fields of settings and models that they set."""

from __future__ import annotations

import dataclasses
import inspect

from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.train import cli
from draw_onnx.train.settings import TrainSettings


def test_every_option_sets_a_field_or_is_used() -> None:
    """Options that set a field are called as it is: one with another name would be passed over."""
    fields = {
        f.name for kind in (TrainSettings, DrawConfig, ClassifierConfig) for f in dataclasses.fields(kind)
    }
    run = {"data_dir", "out", "resume", "from_stage", "image_size", "version"}
    machine = {"device", "devices", "compile_", "cuda_graph", "threads"}
    assert set(inspect.signature(cli.command).parameters) - fields == run | machine
