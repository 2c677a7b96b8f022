"""Float32 products through oneDNN, which AMD's wide CPUs take: the same numbers and gradients as PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from draw_onnx.models import products
from draw_onnx.models.products import StepProduct, matmul, product

pytestmark = pytest.mark.skipif(
    products._ONEDNN is None, reason="this PyTorch has no such product of oneDNN's"
)

ROWS, INPUTS, OUTPUTS = 100, 160, 256


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_USE_ONEDNN", True)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def layouts(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each operand as it is stored and as the transpose of one stored the other way round."""
    turned = (a.t().contiguous().t(), b.t().contiguous().t())
    return [(a, b), (turned[0], b), (a, turned[1]), turned]


@pytest.mark.usefixtures("onednn")
def test_a_product_is_the_same_however_its_operands_lie() -> None:
    a, b = random(ROWS, INPUTS), random(INPUTS, OUTPUTS)
    for left, right in layouts(a, b):
        assert products._goes_to_onednn(left, right)
        torch.testing.assert_close(
            matmul(left, right).double(), a.double() @ b.double(), atol=1e-4, rtol=1e-5
        )


@pytest.mark.usefixtures("onednn")
def test_others_stay_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_ONEDNN", None)  # would fail
    a, b = random(ROWS, INPUTS), random(INPUTS, OUTPUTS)
    for left, right in ((a.double(), b.double()), (a.bfloat16(), b.bfloat16()), (a[:1], b), (a, b[:, :35])):
        assert torch.equal(matmul(left, right), left @ right)


def loop(dtype: torch.dtype, rows: bool) -> list[Tensor]:
    """Three steps of y = tanh(x W + b), each fed to the next; the result and all gradients."""
    weight = (random(INPUTS, INPUTS) / INPUTS**0.5).to(dtype).requires_grad_()
    bias = random(*([ROWS] if rows else []), INPUTS).to(dtype).requires_grad_()
    x = first = random(ROWS, INPUTS).to(dtype).requires_grad_()
    layer = StepProduct(weight, bias, [1, 2], ROWS)
    for biases in layer.biases:
        inputs = []
        for step in biases.steps():
            inputs.append(x)
            x = product(x, layer.weight, step).tanh()
        layer.record(torch.stack(inputs))
    x.square().sum().backward()
    return [x.detach(), *(t.grad for t in (weight, bias, first) if t.grad is not None)]


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("rows", [False, True])
def test_a_loop_and_its_gradients_are_the_same(rows: bool) -> None:
    assert products._goes_to_onednn(random(ROWS, INPUTS), random(INPUTS, INPUTS))
    got, expected = loop(torch.float32, rows), loop(torch.float64, rows)
    assert len(got) == 4
    for value, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(value.double(), exact, atol=2e-3, rtol=1e-4)


def test_a_compiler_may_take_it_as_one_operation() -> None:
    operands = random(ROWS, INPUTS), random(INPUTS, OUTPUTS)
    for pair in layouts(*operands):
        torch.library.opcheck(products._onednn_compiled, pair, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "wide"),
    [
        ("AuthenticAMD", "26", "avx2 avx512f", True),
        ("AuthenticAMD", "27", "avx2 avx512f", True),
        ("AuthenticAMD", "25", "avx2 avx512f", False),
        ("AuthenticAMD", "26", "avx2", False),
        ("GenuineIntel", "26", "avx2 avx512f", False),
    ],
)
def test_which_cpus_take_it(
    monkeypatch: pytest.MonkeyPatch, vendor: str, family: str, flags: str, wide: bool
) -> None:
    monkeypatch.setattr(products, "cpu_facts", lambda: {"vendor_id": vendor, "cpu family": family})
    monkeypatch.setattr(products, "cpu_flags", lambda: set(flags.split()))
    assert products._has_wide_vectors() is wide


def test_a_system_that_says_nothing_of_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_facts", dict)
    monkeypatch.setattr(products, "cpu_flags", set)
    assert not products._has_wide_vectors()
