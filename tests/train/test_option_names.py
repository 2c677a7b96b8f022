"""draw-train's options and the fields of settings and models that they set."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import get_type_hints

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.train import cli, settings
from draw_onnx.train.options import option_names, replaced
from draw_onnx.train.presets import PRESETS, find_preset
from draw_onnx.train.settings import TrainSettings

from ..conftest import Command

FIELDS = {f.name for kind in (TrainSettings, DrawConfig, ClassifierConfig) for f in dataclasses.fields(kind)}
PRESETS_ALONE = {"dataset", "eval_images", "adam_beta2", "attention_lr_settle", "compile", "labels"}
PRESETS_ALONE |= {"attention_bound", "position_bound"}


def test_every_option_sets_a_field_or_is_used() -> None:
    """Options that set a field are called as it is: one with another name would be passed over."""
    run = {"data_dir", "out", "resume", "from_stage", "image_size", "version"}
    machine = {"device", "devices", "compile_", "cuda_graph", "threads"}
    assert set(inspect.signature(cli.command).parameters) - FIELDS == run | machine


def test_an_option_has_one_name() -> None:
    """What messages call a field's option is what the command calls it."""
    hints = get_type_hints(cli.command, include_extras=True)
    image = {"image_height": "image_size", "image_width": "image_size"}
    for field in FIELDS - PRESETS_ALONE:
        info = hints[image.get(field, field)].__metadata__[0]
        declared = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
        plain = "--" + image.get(field, field).replace("_", "-")
        no = f"{plain}/--no-attention" if field == "attention" else plain
        assert option_names([field]) == (declared[0] if declared else no), field


@pytest.mark.parametrize("field", [*settings._BOUNDS, *settings._CHOICES])
def test_a_value_out_of_range_names_its_option(field: str) -> None:
    wrong = -1 if field in settings._BOUNDS else "none"
    with pytest.raises(DrawError, match=rf"^{option_names([field])} must be .*, not '?{wrong}'?$"):
        replaced(find_preset("digits").settings, {field: wrong})
    with pytest.raises(DrawError, match=rf"^{field} must be "):  # who writes Python sets fields
        find_preset("digits").settings.replace(**{field: wrong})


@pytest.mark.parametrize(
    ("field", "good", "bad", "words"),
    [
        ("iterations", (1, 10**12), (0, 10**12 + 1), "between 1 and 1,000,000,000,000"),
        ("batch_size", (1, 10**6), (0, 10**6 + 1), "between 1 and 1,000,000"),
        ("learning_rate", (1e-9, 0.999), (0, 1, math.nan), "above 0 and below 1"),
        ("attention_lr_scale", (1e-9, 1), (0, 1.1, math.nan), "above 0 and at most 1"),
        ("ema_decay", (0, 0.999), (-0.1, 1, math.nan), "at least 0 and below 1"),
        ("clip_norm", (0, math.inf), (-1, math.nan), "at least 0"),
        ("write_window", (0, 9.5), (-1, math.inf, math.nan), "at least 0 and finite"),
        ("seed", (0, 2**63 - 1), (-1, 2**63), "between 0 and 9,223,372,036,854,775,807"),
    ],
)
def test_what_is_in_range(field: str, good: tuple[float, ...], bad: tuple[float, ...], words: str) -> None:
    own = find_preset("digits").settings
    for value in good:
        assert getattr(own.replace(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(DrawError, match=f"^{field} must be {words}, not "):
            own.replace(**{field: value})


def test_every_number_has_its_bounds() -> None:
    """But those that data and their folders say."""
    numbers = {
        f.name
        for f in dataclasses.fields(TrainSettings)
        if type(f.default) in (int, float) or f.name == "iterations"
    }
    assert numbers - set(settings._BOUNDS) == {"image_height", "image_width", "image_channels"}


def test_help_says_what_every_preset_is(command: Command) -> None:
    code, out, _ = command(cli.main, "--help")
    assert code == 0
    said = " ".join(out.split())
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.description} " in said + " "


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
