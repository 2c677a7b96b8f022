"""draw-train's options and the fields of settings and models that they set."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.train import cli
from draw_onnx.train.presets import PRESETS
from draw_onnx.train.settings import TrainSettings


def test_every_option_sets_a_field_or_is_used() -> None:
    """Options that set a field are called as it is: one with another name would be passed over."""
    fields = {
        f.name for kind in (TrainSettings, DrawConfig, ClassifierConfig) for f in dataclasses.fields(kind)
    }
    run = {"data_dir", "out", "resume", "from_stage", "image_size", "version"}
    machine = {"device", "devices", "compile_", "cuda_graph", "threads"}
    assert set(inspect.signature(cli.command).parameters) - fields == run | machine


def test_the_page_says_what_every_preset_is() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        models = [dataclasses.asdict(preset.model) | stage for stage in preset.stages or ({},)]
        shape = "×".join(str(models[0][f"image_{side}"]) for side in ("channels", "height", "width"))
        steps = " → ".join(dict.fromkeys(str(model["time_steps"]) for model in models))
        windows = " → ".join(
            dict.fromkeys(f"{model['read_size']}, {model.get('write_size', '–')}" for model in models)
        )
        if not models[0].get("attention", True):
            windows = "whole images"
        assert f"\n| `{name}` | {preset.description} | {shape} | {steps} | {windows} |\n" in page
