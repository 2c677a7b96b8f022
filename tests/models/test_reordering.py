"""Hidden units in another order: the same model, other sums."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from draw_onnx.models.checkpoint import build_model
from draw_onnx.models.config import ClassifierConfig, DrawConfig, ModelConfig
from draw_onnx.models.draw import Draw
from draw_onnx.models.reordering import reordered

ATTENTION = DrawConfig(2, 7, 9, time_steps=4, hidden_size=6, latent_size=3, read_size=2, write_size=3)
MODELS = {
    "attention": ATTENTION,
    "learned prior": dataclasses.replace(ATTENTION, prior="learned"),
    "whole images": dataclasses.replace(ATTENTION, read_size=0, write_size=0, attention=False),
    "classifier": ClassifierConfig(2, 7, 9, time_steps=4, hidden_size=6, read_size=3),
}


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_it_is_the_same_model(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))  # initial states too, which are zero
    other = build_model(config).double()
    other.load_state_dict(reordered(model.state_dict(), seed=1))
    x, noise = torch.rand(3, 2, 7, 9).double(), torch.randn(3, 4, 3).double()
    if isinstance(model, Draw) and isinstance(other, Draw):
        a, b = model(x, noise).bound, other(x, noise).bound
        torch.testing.assert_close(
            model.generate(noise).image, other.generate(noise).image, rtol=1e-11, atol=0
        )
    else:
        a, b = model(x).answer, other(x).answer
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    hidden = [name for name in model.state_dict() if "hidden" in name or "weight_hh" in name]
    assert hidden
    for name in hidden:
        assert not torch.equal(model.state_dict()[name], other.state_dict()[name]), name


def test_the_seed_decides_the_order() -> None:
    weights = build_model(ATTENTION).state_dict()
    one, same, two = (reordered(weights, seed) for seed in (1, 1, 2))
    name = "decoder.weight_hh"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], two[name])
