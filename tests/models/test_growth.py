"""Weights in a larger model compute what they did, and the new ones learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.models.checkpoint import build_model
from draw_onnx.models.classifier import GlimpseClassifier
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.models.draw import Draw
from draw_onnx.models.growth import grown, misfits

COLOUR = DrawConfig(2, 9, 11, time_steps=3, hidden_size=7, latent_size=3, read_size=2, write_size=3)
GLIMPSES = ClassifierConfig(2, 9, 11, time_steps=3, hidden_size=7, read_size=3)


def drawn(config: DrawConfig, seed: int = 0) -> Draw:
    """Weights all of which count: windows at random places and of random widths."""
    torch.manual_seed(seed)
    model = Draw(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@settings(max_examples=40)
@given(
    read=st.integers(2, 4),
    write=st.integers(2, 4),
    times=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    units=st.integers(7, 12),
    prior=st.sampled_from(["standard", "learned"]),
    seed=st.integers(0, 1000),
)
def test_a_larger_draw_paints_the_same(
    read: int, write: int, times: tuple[int, int], units: int, prior: str, seed: int
) -> None:
    config = dataclasses.replace(COLOUR, read_size=read, write_size=write)
    sizes = (times[0] * (read - 1) + 1, times[1] * (write - 1) + 1)
    larger = dataclasses.replace(
        config, read_size=sizes[0], write_size=sizes[1], hidden_size=units, prior=prior
    )
    model, other = drawn(config, seed), drawn(larger, seed + 1)
    other.load_state_dict(grown(model.state_dict(), config, larger, other.state_dict()))
    x, noise = torch.rand(4, 2, 9, 11).double(), torch.randn(4, 3, 3).double()
    a, b = model(x, noise, keep_steps=True), other(x, noise, keep_steps=True)
    assert torch.allclose(a.bound, b.bound, rtol=1e-10)
    assert torch.allclose(a.steps.canvases, b.steps.canvases, rtol=1e-9, atol=1e-10)
    assert torch.allclose(model.generate(noise).image, other.generate(noise).image, rtol=1e-9, atol=1e-10)


def test_a_larger_classifier_sees_the_same() -> None:
    torch.manual_seed(0)
    model = GlimpseClassifier(GLIMPSES).double()
    larger = dataclasses.replace(GLIMPSES, read_size=7, hidden_size=11)
    other = GlimpseClassifier(larger).double()
    other.load_state_dict(grown(model.state_dict(), GLIMPSES, larger, other.state_dict()))
    x = torch.rand(4, 2, 9, 11).double()
    assert torch.allclose(model(x).logits, other(x).logits, rtol=1e-10)


def test_new_filters_learn_from_the_first_update_on() -> None:
    larger = dataclasses.replace(COLOUR, read_size=3, write_size=5)
    model = Draw(larger).double()
    model.load_state_dict(grown(drawn(COLOUR).state_dict(), COLOUR, larger, model.state_dict()))
    model(torch.rand(4, 2, 9, 11).double(), torch.randn(4, 3, 3).double()).bound.sum().backward()
    for weight in (model.encoder.weight_ih, model.write_patch.weight):
        assert weight.grad is not None
        new = weight == 0
        assert new.any()
        assert (weight.grad[new] != 0).all()


def test_new_units_learn_from_the_second_update_on() -> None:
    """The first update moves what takes their states, by each unit differently: these weights begin at zero."""
    larger = dataclasses.replace(COLOUR, hidden_size=9)
    model = Draw(larger).double()
    model.load_state_dict(grown(drawn(COLOUR).state_dict(), COLOUR, larger, model.state_dict()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    gradients = []
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.rand(4, 2, 9, 11).double(), torch.randn(4, 3, 3).double()).bound.sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
    for cell, taker in (("encoder", "mu"), ("decoder", "write_patch")):
        columns = gradients[0][f"{taker}.weight"][:, -2:]
        assert (columns != 0).all()
        assert not torch.allclose(columns[:, 0], columns[:, 1])
        for gradient, learns in zip(gradients, (False, True), strict=True):
            assert (gradient[f"{cell}.weight_hh"].unflatten(0, (4, 9))[:, -2:] != 0).any() == learns


@pytest.mark.parametrize(
    ("changes", "misfit"),
    [
        ({}, []),
        ({"time_steps": 1}, []),
        ({"time_steps": 9, "prior": "learned", "read_size": 6, "write_size": 7}, []),
        ({"read_size": 1}, ["read_size"]),
        ({"write_size": 2}, ["write_size"]),  # smaller
        ({"write_size": 4}, ["write_size"]),  # not among these
        ({"hidden_size": 8}, []),
        ({"hidden_size": 6, "latent_size": 4}, ["hidden_size", "latent_size"]),
        ({"read_size": 0, "write_size": 0, "attention": False}, ["read_size", "write_size", "attention"]),
    ],
)
def test_what_weights_can_grow_to(changes: dict[str, Any], misfit: list[str]) -> None:
    config = dataclasses.replace(COLOUR, **changes)
    assert misfits(COLOUR, config) == misfit
    if not misfit:
        model, other = build_model(COLOUR), build_model(config)
        other.load_state_dict(grown(model.state_dict(), COLOUR, config, other.state_dict()))


def test_one_filter_and_a_learned_prior_stay() -> None:
    """One filter has no extent; what a prior has learned is in no standard one."""
    one, two = (dataclasses.replace(COLOUR, read_size=n) for n in (1, 2))
    assert misfits(one, two) == ["read_size"]
    assert misfits(dataclasses.replace(COLOUR, prior="learned"), COLOUR) == ["prior"]


def test_nothing_to_grow_is_the_weights_themselves() -> None:
    weights = build_model(COLOUR).state_dict()
    same = grown(weights, COLOUR, dataclasses.replace(COLOUR, time_steps=8), {})
    assert same.keys() == weights.keys()
    assert all(torch.equal(same[name], weights[name]) for name in weights)
