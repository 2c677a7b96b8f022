"""SOAP: against its definition in float64, and which parameters it updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.draw import Draw
from draw_onnx.train.soap import SoapAdam, matrices_in
from draw_onnx.train.trainer import Trainer

from .conftest import run_stage

RATE, DECAY = 0.01, 0.1
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
GATES = 4


def by_definition(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """One gate's updates."""
    products = {"l": gradients[0] @ gradients[0].T, "r": gradients[0].T @ gradients[0]}
    basis = {k: np.linalg.eigh(p)[1][:, ::-1] for k, p in products.items()}
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for step, g in enumerate(gradients[1:], 1):
        u, v = basis["l"], basis["r"]
        mean = BETA1 * mean + (1 - BETA1) * g
        square = BETA2 * square + (1 - BETA2) * (u.T @ g @ v) ** 2
        m, s = mean / (1 - BETA1**step), square / (1 - BETA2**step)
        weight = weight * (1 - RATE * DECAY) - RATE * u @ ((u.T @ m @ v) / (np.sqrt(s) + EPSILON)) @ v.T
        products["l"] = BETA2 * products["l"] + (1 - BETA2) * g @ g.T
        products["r"] = BETA2 * products["r"] + (1 - BETA2) * g.T @ g
        if step <= 3 or step % 10 == 0:
            for side, axis in (("l", 0), ("r", 1)):
                order = np.argsort(-np.diag(basis[side].T @ products[side] @ basis[side]), kind="stable")
                square = np.take(square, order, axis)
                basis[side] = np.linalg.qr(products[side] @ basis[side][:, order])[0]
    return weight


def make_optimizer(weight: torch.Tensor) -> SoapAdam:
    group = {"params": [weight], "matrices": GATES, "weight_decay": DECAY}
    return SoapAdam([group], lr=RATE, decoupled_weight_decay=True)


# Gates are square here: of other shapes the first basis is arbitrary in the directions that one gradient lacks.
SIZE = 6


def test_every_gate_follows_the_definition() -> None:
    random = np.random.default_rng(3)
    start = random.normal(size=(GATES * SIZE, SIZE))
    gradients = [random.normal(size=start.shape) * np.linspace(0.1, 3, SIZE) for _ in range(24)]
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = make_optimizer(weight)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    for gate in range(GATES):
        rows = slice(SIZE * gate, SIZE * gate + SIZE)
        expected = by_definition(start[rows], [g[rows] for g in gradients])
        np.testing.assert_allclose(weight.detach().numpy()[rows], expected, rtol=1e-9, atol=1e-12)


def test_a_turned_problem_is_learned_the_same_way() -> None:
    """What makes it SOAP and not Adam: other axes for the inputs change nothing."""
    random = np.random.default_rng(5)
    start = torch.from_numpy(random.normal(size=(GATES * SIZE, SIZE)))
    turn = torch.from_numpy(np.linalg.qr(random.normal(size=(SIZE, SIZE)))[0])
    ends = []
    for axes in (torch.eye(SIZE, dtype=torch.float64), turn):
        noise = np.random.default_rng(7)
        weight = torch.nn.Parameter(start @ axes)
        optimizer = make_optimizer(weight)
        for _ in range(15):
            weight.grad = torch.from_numpy(noise.normal(size=start.shape)) @ axes
            optimizer.step()
        ends.append(weight.detach() @ axes.T)
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("model", ["draw", "draw-no-attention", "classifier"])
def test_it_updates_matrices_alone(make_trainer: Callable[..., Trainer], model: str) -> None:
    """Biases and learned states move as they do with Adam until the matrices differ."""
    adam, soap = (make_trainer(model, name, warmup=0, optimizer=name) for name in ("adam", "soap"))
    before = {n: p.detach().clone() for n, p in soap.model.named_parameters()}
    for trainer in (adam, soap):
        trainer.step()
    after = dict(soap.model.named_parameters())
    matrices = {n for n, p in before.items() if matrices_in(n, p)}
    assert matrices == {n for n in before if n.rpartition(".")[2].startswith("weight")}
    gates = {n for n in matrices if n.endswith(("weight_ih", "weight_hh"))}
    assert {n for n, p in before.items() if matrices_in(n, p) == GATES} == gates != set()
    for name, value in adam.model.named_parameters():
        # The first batch only makes the basis.
        assert torch.equal(after[name], before[name] if name in matrices else value), name
    soap.step()
    assert all(not torch.equal(after[name], before[name]) for name in matrices)


def test_held_windows_stay(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer("draw", optimizer="soap", write_window=3.0)
    head = cast(Draw, trainer.model).write_attention
    before = head.weight.detach().clone(), head.bias.detach().clone()
    for _ in range(15):
        trainer.step()
    assert torch.equal(head.weight[2:4], before[0][2:4])
    assert torch.equal(head.bias[2:4], before[1][2:4])
    assert not torch.equal(head.weight[:2], before[0][:2])


def test_unknown_ones_are_one_line(make_trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(DrawError, match="optimizer must be adam or soap, not 'sgd'"):
        make_trainer(optimizer="sgd")


def test_no_finite_gradient_is_told_by_the_loss(make_trainer: Callable[..., Trainer]) -> None:
    """A basis of infinities does not converge."""
    trainer = make_trainer("draw", optimizer="soap")
    with torch.no_grad():
        cast(Draw, trainer.model).mu.weight.fill_(torch.inf)
    with pytest.raises(DrawError, match="the loss is no longer a finite number"):
        run_stage(trainer)
