"""The learned prior against its formula, and what it must not change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig, config_from_dict, config_to_dict
from draw_onnx.models.draw import Draw

STANDARD = DrawConfig(1, 7, 9, time_steps=5, hidden_size=8, latent_size=3, read_size=2, write_size=3)
WHOLE = dataclasses.replace(STANDARD, read_size=0, write_size=0, attention=False)
BOTH = pytest.mark.parametrize("standard", [STANDARD, WHOLE], ids=["attention", "whole"])


def learned(standard: DrawConfig, seed: int = 0, scale: float = 0.4) -> Draw:
    """Random weights, the prior's too."""
    torch.manual_seed(seed)
    model = Draw(dataclasses.replace(standard, prior="learned")).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


@BOTH
def test_it_begins_as_the_standard_one(standard: DrawConfig) -> None:
    torch.manual_seed(0)
    model, other = Draw(dataclasses.replace(standard, prior="learned")), Draw(standard)
    other.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("prior.")})
    x, noise = torch.rand(2, 1, 7, 9), torch.randn(2, 5, 3)
    assert torch.equal(model(x, noise).bound, other(x, noise).bound)
    assert torch.equal(model.generate(noise).image, other.generate(noise).image)


@BOTH
def test_its_states_are_the_formulas(standard: DrawConfig) -> None:
    """z_t = m + s u_t, (m, log s) = (a, tanh(b)) with (a, b) = W h_{t-1} + c, in NumPy and step by step."""
    model = learned(standard)
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    u = np.random.default_rng(0).standard_normal((4, 5, 3))
    h = np.tile(weights["initial_decoder_hidden"], (4, 1))
    cell = np.tile(weights["initial_decoder_cell"], (4, 1))
    states = []
    for t in range(5):
        m, bounded = np.split(h @ weights["prior.weight"].T + weights["prior.bias"], 2, axis=1)
        z = m + np.exp(np.tanh(bounded)) * u[:, t]
        sums = z @ weights["decoder.weight_ih"].T + weights["decoder.bias_ih"]
        sums = sums + h @ weights["decoder.weight_hh"].T + weights["decoder.bias_hh"]
        i, f, g, o = np.split(sums, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(cell)
        states.append(h)
    got = model.generate(torch.from_numpy(u)).h_dec.detach().numpy()
    np.testing.assert_allclose(got, np.stack(states, 1), rtol=1e-12, atol=1e-12)


@BOTH
def test_the_loss_pass_paints_what_its_latents_generate(standard: DrawConfig) -> None:
    """And the KL is that of u to N(0, I), whatever the prior."""
    model = learned(standard)
    x, noise = torch.rand(3, 1, 7, 9).double(), torch.randn(3, 5, 3).double()
    output = model(x, noise, keep_steps=True)
    steps = output.steps
    assert steps is not None
    torch.testing.assert_close(model.generate(steps.z).canvases, steps.canvases, rtol=1e-12, atol=1e-12)
    variance = (2 * steps.log_sigma).exp()
    kl = 0.5 * (steps.mu.square() + variance - 2 * steps.log_sigma - 1).sum(2)
    torch.testing.assert_close(output.kl, kl)
    assert torch.equal(model(x, noise).bound, output.bound)


@BOTH
def test_its_gradients_are_those_of_differences(standard: DrawConfig) -> None:
    model = learned(standard)
    x, noise = torch.rand(2, 1, 7, 9).double(), torch.randn(2, 5, 3).double()
    model(x, noise).bound.sum().backward()
    for parameter in model.prior.parameters():
        assert parameter.grad is not None
        direction = torch.randn_like(parameter)
        bounds = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(step * direction)
                bounds.append(model(x, noise).bound.sum().item())
                parameter.sub_(step * direction)
        wanted = (bounds[0] - bounds[1]) / 2e-5
        assert (parameter.grad * direction).sum().item() == pytest.approx(wanted, rel=1e-5)


def test_a_scale_stays_between_1_over_e_and_e() -> None:
    """Unbounded, one large step of the rates that DRAW wants made it nothing or thousands."""
    model = learned(STANDARD)
    u = torch.full((1, 5, 3), 2.0).double()
    for bias, scale in ((1e3, torch.e), (-1e3, 1 / torch.e)):
        with torch.no_grad():
            model.prior.weight.zero_()
            model.prior.bias.copy_(torch.tensor([0.0] * 3 + [bias] * 3))
        other = Draw(STANDARD).double()
        other.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("prior.")})
        torch.testing.assert_close(model.generate(u).image, other.generate(scale * u).image)


def test_configs_from_before_it_keep_their_identity(tmp_path: Path) -> None:
    values = config_to_dict(STANDARD)
    assert "prior" not in values
    assert (
        config_from_dict("draw", values)
        == config_from_dict("draw", values | {"prior": "standard"})
        == STANDARD
    )
    model = learned(STANDARD).float()
    assert config_to_dict(model.config)["prior"] == "learned"
    saved = Checkpoint(model.config, "digits", dict(model.state_dict()))
    save_checkpoint(tmp_path / "a.ckpt", saved)
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.config == model.config
    assert weights_sha256(loaded.weights, loaded.config) != weights_sha256(loaded.weights, STANDARD)
    for wrong, message in (("gaussian", "prior must be standard or learned"), (1, "prior must be a word")):
        with pytest.raises(ValueError, match=message):
            config_from_dict("draw", values | {"prior": wrong})
