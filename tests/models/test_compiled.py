"""A few steps compiled together compute what the loop does, once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch

from draw_onnx.models.classifier import GlimpseClassifier
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.models.draw import Draw

SIZES: dict[str, dict[str, Any]] = {
    "attention": {},
    "prior": {"prior": "learned"},
    "whole": {"attention": False, "read_size": 0, "write_size": 0},
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Graphs of one test do not count towards the limit of the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


KINDS = ("attention", "prior", "whole", "classifier")
# Of the two that take seconds one in each precision; the compiler proper, and all others, with the slow tests.
FAST = {
    ("attention", None),
    ("prior", torch.bfloat16),
    *product(("whole", "classifier"), (None, torch.bfloat16)),
}


@pytest.mark.parametrize(
    ("kind", "dtype", "backend"),
    [
        pytest.param(*case, marks=() if case[2] == "aot_eager" and case[:2] in FAST else pytest.mark.slow)
        for case in product(KINDS, (None, torch.bfloat16), ("aot_eager", "inductor"))
    ],
)
def test_compiled_chunks_train_alike(kind: str, dtype: torch.dtype | None, backend: str) -> None:
    """Two chunks, the second shorter: the loss and every gradient are the loop's."""
    torch.manual_seed(0)
    x = torch.rand(2, 1, 7, 9)
    if kind == "classifier":
        model = GlimpseClassifier(ClassifierConfig(1, 7, 9, time_steps=6, hidden_size=6, read_size=3))

        def loss() -> torch.Tensor:
            return model(x).logits.square().sum()
    else:
        sizes = SIZES[kind]
        model = Draw(DrawConfig(1, 7, 9, 6, 6, 3, **{"read_size": 2, "write_size": 3, **sizes}))
        noise = torch.randn(2, 6, 3)

        def loss() -> torch.Tensor:
            return model(x, noise).bound.mean()

    model.product_dtype = dtype
    results = []
    for _ in range(2):
        model.zero_grad()
        value = loss()
        value.backward()
        results.append([value.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
        model.compile_chunk(backend)
    for got, want in zip(*reversed(results), strict=True):
        # A fused kernel keeps in float32 what the loop rounds in between, to one part in 256.
        error = (got - want).norm() / want.norm().clamp_min(1e-3)
        assert error < (1e-5 if dtype is None else 1e-2), f"{error:.1e}"


@pytest.mark.parametrize("kind", KINDS)
def test_all_chunks_share_one_graph(kind: str) -> None:
    """The first chunk's states are laid out as the later ones': nothing is compiled twice."""
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    x = torch.rand(2, 1, 8, 9)
    if kind == "classifier":
        model = GlimpseClassifier(ClassifierConfig(1, 8, 9, time_steps=12, hidden_size=6, read_size=3))
        model.compile_chunk(count)
        loss = model(x).logits.sum()
    else:
        sizes = SIZES[kind]
        model = Draw(DrawConfig(1, 8, 9, 12, 6, 3, **{"read_size": 2, "write_size": 3, **sizes}))
        model.compile_chunk(count)
        loss = model(x, torch.randn(2, 12, 3)).bound.mean()
    loss.backward()
    assert len(graphs) == 1
