"""Write windows of one width: held exactly while all else learns, and forgotten by the next run."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from draw_onnx.models.attention import window_from
from draw_onnx.models.checkpoint import Checkpoint, build_model, load_checkpoint
from draw_onnx.models.draw import Draw
from draw_onnx.train.options import apply_initial, apply_options
from draw_onnx.train.presets import find_preset
from draw_onnx.train.trainer import Trainer

from .conftest import STAGED, Make


def windows(trainer: Trainer) -> tuple[torch.Tensor, ...]:
    """Centre, stride, width of the filters and intensity of every step of pictures from noise."""
    model = trainer.model
    assert isinstance(model, Draw)
    noise = torch.randn((4, 3, 2), generator=torch.Generator().manual_seed(0))
    params = model.generate(noise).write_params
    assert params is not None
    window = window_from(params.detach().flatten(0, 1), 3, 5, 6)
    return window.g_x, window.delta, window.sigma2.sqrt(), window.gamma


def test_the_width_is_held_and_the_place_is_learned(make_trainer: Make) -> None:
    held, free = make_trainer(folder="held", write_window=3.0), make_trainer(folder="free")
    place = windows(held)[0]
    for trainer in (held, free):
        while trainer.iteration < 20:
            trainer.step()
    moved, delta, sigma, gamma = windows(held)
    assert delta.numpy() == pytest.approx(1.5)  # 3 pixels from the first of 3 filters to the last
    assert sigma.numpy() == pytest.approx(0.75)
    assert not torch.equal(place, moved)
    assert gamma.std() > 0  # the intensity is free
    assert windows(free)[1].std() > 0


def test_a_preset_with_held_windows_may_lose_them() -> None:
    preset = find_preset("mnist-two-digit")
    assert apply_options(preset, {}, {})[0].write_window == 20
    assert apply_options(preset, {}, {"attention": False})[0].write_window == 0
    assert apply_options(preset, {"write_window": 0.0}, {})[0].write_window == 0
    config = preset.model
    weights = build_model(config).state_dict()
    start = Checkpoint(config, "mnist-two-digit", weights)
    assert apply_initial(preset, start, {}, {})[0].write_window == 0


def test_trained_windows_have_nothing_to_find(make_trainer: Make) -> None:
    """They are slow from the first update on, unless an option says otherwise."""
    preset = dataclasses.replace(STAGED, settings=STAGED.settings.replace(attention_lr_settle=2000))
    start = make_trainer().weights_only()
    for changes, settle in (({}, 0), ({"attention_lr_settle": 7}, 7)):
        assert apply_initial(preset, start, changes, {})[0].attention_lr_settle == settle


def test_free_again_in_a_run_from_its_weights(make_trainer: Make) -> None:
    first = make_trainer(folder="first", write_window=3.0)
    while first.iteration < 4:
        first.step()
    first.save()
    saved = load_checkpoint(first.folder.last)
    resumed = make_trainer(folder="first", write_window=3.0, resume=saved)
    second = make_trainer(folder="second", initial=saved)
    before = windows(second)[1]
    for trainer in (resumed, second):
        trainer.step()
    assert windows(resumed)[1].numpy() == pytest.approx(1.5)
    assert not torch.equal(windows(second)[1], before)
