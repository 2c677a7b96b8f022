"""The matrix products of a recurrent loop, arranged so that the loop wastes nothing.

A layer that is used at every step gets its weights ready once, before the loop (fused, transposed, cast), and its
weight gradient as one product over all T K rows after it, in place of T small ones and their sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..processor import cpu_facts, cpu_flags


class Bias(NamedTuple):
    """b of some steps of a :class:`StepProduct`, and what brings the gradients of their y back to it."""

    # [n, K, outputs] or of one step [K, outputs], in the product's precision: b itself, or zeros where that is not b's
    expanded: Tensor
    value: Tensor | None  # b where the other is zeros, [outputs] or [K, outputs]

    def steps(self) -> list[Bias]:
        """One for each of the n steps."""
        # One alone is not cut out, which on the way back would be a copy.
        steps = [self.expanded.squeeze(0)] if len(self.expanded) == 1 else self.expanded.unbind()
        return [Bias(step, self.value) for step in steps]


Layer = tuple[Tensor, Bias]  # W [inputs, outputs] of a :class:`StepProduct` and one step's b


def stack_steps(steps: Sequence[Tensor], dim: int = 0) -> Tensor:
    """n tensors along a new dimension, without a copy where it is one."""
    return torch.stack(list(steps), dim) if len(steps) > 1 else steps[0].unsqueeze(dim)


# oneDNN's product, which PyTorch holds for its compiler. PyTorch's own are MKL's, which are no faster than 256 bits allow
# on the AMD CPUs that were tried (docs/training.md).
_ONEDNN = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)
_LARGE = 1 << 21  # multiplications; below that both take as long


def _has_wide_vectors() -> bool:
    """Whether this is an AMD CPU that computes 512 bits at once: family 26 (Zen 5) and later, Zen 4 takes two turns."""
    facts = cpu_facts()
    amd = facts.get("vendor_id") == "AuthenticAMD" and "avx512f" in cpu_flags()
    return amd and int(facts.get("cpu family", 0)) >= 26


# Decided by the CPU alone, so that a resumed run computes the same bits.
_USE_ONEDNN = _ONEDNN is not None and _has_wide_vectors()


def _goes_to_onednn(a: Tensor, b: Tensor) -> bool:
    # What is exported runs elsewhere, and for any number of pictures.
    if not _USE_ONEDNN or torch.compiler.is_exporting() or a.dtype != torch.float32 or a.device.type != "cpu":
        return False
    return a.shape[0] * b.numel() >= _LARGE


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a b of matrices, by what is fastest for float32 on this CPU. Not differentiable."""
    if not _goes_to_onednn(a, b):
        return a @ b
    return (_onednn_compiled if torch.compiler.is_compiling() else _onednn)(a, b)


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    assert _ONEDNN is not None
    return _ONEDNN(a, b.t(), None, "none", [], "")


# Inductor joins oneDNN's products with what follows, and fails where the weight is no constant: it may not look inside.
_onednn_compiled = torch.library.custom_op("draw_onnx::matmul", _onednn, mutates_args=())
_onednn_compiled.register_fake(lambda a, b: a.new_empty(a.shape[0], b.shape[1]))


class _Product(torch.autograd.Function):
    """x W for a detached W by :func:`matmul`, differentiable in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return matmul(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return matmul(gradients[0], weight.t()), None


def product(x: Tensor, weight: Tensor, bias: Bias) -> Tensor:
    """x W + b, the product in the precision of ``weight``, the sum in b's. [K, inputs], [inputs, outputs] -> [K, outputs]"""
    if bias.value is not None:
        return (x.to(weight.dtype) @ weight + bias.expanded).to(bias.value.dtype) + bias.value
    if _goes_to_onednn(x, weight):
        return _Product.apply(x, weight) + bias.expanded
    return torch.addmm(bias.expanded, x, weight)


class Chunked(nn.Module):
    """A recurrent network that runs a few steps, its ``_chunk``, at a time."""

    # Of the LSTMs' products and of the classifier's with the picture, finished filters by pixels; bfloat16 for mixed
    # precision. All else stays in the weights' own: bfloat16 has eight bits and would place a window at column 50 to a
    # quarter of a pixel, and the KL to a percent.
    product_dtype: torch.dtype | None = None
    _compiled_chunk: Callable[..., Any] | None = None

    def spans(self, steps: int) -> list[int]:
        """How many steps each call of the chunk takes: one, unless they are compiled together."""
        return [1] * steps if self._compiled_chunk is None else chunks(steps)

    def compile_chunk(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile a few steps together with torch.compile: the T-step loop as a whole takes minutes."""
        self._compiled_chunk = torch.compile(self._chunk, dynamic=False, backend=backend)  # type: ignore[arg-type]


class StepProduct:
    """y_t = W x_t + b at the steps t = 0..T-1 of a loop, differentiable in W, b and x_t.

    Each step takes ``weight`` and its own one of ``biases``, which has an entry for each of ``spans``, through
    :func:`product`, and what went in is handed to :meth:`record`. ``weight`` is detached: with y_t's gradients g_t, which
    arrive at the expanded biases, W's is sum_t g_t^T x_t, computed when they are all there.

    Args:
        weight: W [outputs, inputs].
        bias: b, [outputs] or one row for every picture [K, outputs].
        spans: how the T steps are split up. A few tensors of many steps are cheaper to hand over than many of one.
        batch: K.
        dtype: of the products' operands; None for the weight's own.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, spans: Sequence[int], batch: int, dtype: torch.dtype | None = None
    ) -> None:
        self._inputs: list[Tensor] | None = [] if torch.is_grad_enabled() else None
        # [inputs, outputs], laid out as the product reads it
        self.weight = weight.detach().to(dtype or weight.dtype).t()
        # In another precision than b's the gradients arrive as the products of the backward pass have them
        # already, half as large, and b's own are added up on the way.
        value = bias if self.weight.dtype != bias.dtype else None
        added = bias if value is None else self.weight.new_zeros(weight.shape[0])
        if self._inputs is None:
            expanded = [added.expand(span, batch, -1) for span in spans]
        else:
            expanded = _Steps.apply(weight, added, self._inputs, spans, batch)
        self.biases = [Bias(one, value) for one in expanded]

    def steps(self) -> Iterator[Layer]:
        """What each of the T steps hands to :func:`product`."""
        for biases in self.biases:
            for bias in biases.steps():
                yield self.weight, bias

    def record(self, x: Tensor) -> None:
        """``x`` [n, K, inputs] went through the product at the next steps."""
        if self._inputs is not None:
            self._inputs.append(x.detach().to(self.weight.dtype))


class _Steps(torch.autograd.Function):
    """b at every step, [n, K, outputs] of each span; backward gives W's gradient as well."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor, inputs: list[Tensor], spans: Sequence[int], batch: int
    ) -> tuple[Tensor, ...]:
        ctx.inputs, ctx.rows, ctx.dtype = inputs, bias.dim() == 2, weight.dtype
        return tuple(bias.expand(span, batch, -1) for span in spans)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, inputs = gradients[0], ctx.inputs
        rows = None
        large = _goes_to_onednn(first[0].t(), inputs[0][0])
        if first.device.type == "cpu" and first.dtype == ctx.dtype and not large:
            # Added up inside the products, which saves the copies that joining them would take.
            weight = first.flatten(0, 1).t() @ inputs[0].flatten(0, 1)
            for gradient, x in zip(gradients[1:], inputs[1:], strict=True):
                weight.addmm_(gradient.flatten(0, 1).t(), x.flatten(0, 1))
            if ctx.needs_input_grad[1]:
                rows = torch.zeros_like(first[0])
                for gradient in gradients:
                    for step in gradient:
                        rows += step
        else:
            joined = torch.cat(gradients)
            weight = matmul(joined.flatten(0, 1).t(), torch.cat(inputs).flatten(0, 1)).to(ctx.dtype)
            if ctx.needs_input_grad[1]:
                rows = joined.sum(0)
        if rows is not None and not ctx.rows:
            rows = rows.sum(0)
        return weight, rows, None, None, None


def lstm_product(
    cell: nn.LSTMCell, spans: Sequence[int], batch: int, dtype: torch.dtype | None
) -> StepProduct:
    """The gates' sums of an LSTM, i, f, g, o: one product of [x_t, h_t]."""
    weight = torch.cat([cell.weight_ih, cell.weight_hh], 1)
    return StepProduct(weight, cell.bias_ih + cell.bias_hh, spans, batch, dtype)


def reset_lstm(cell: nn.LSTMCell) -> None:
    """Fresh weights. Forget bias 1 keeps the early memory open (Jozefowicz et al. 2015); gates are i, f, g, o."""
    cell.reset_parameters()
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
        cell.bias_ih[cell.hidden_size : 2 * cell.hidden_size] = 1.0


def fused(*layers: nn.Linear) -> tuple[Tensor, Tensor]:
    """Linear layers of the same input as one: (W [sum of outputs, inputs], b)."""
    return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """(h', cell') from the gates' sums [K, 4H] in the order i, f, g, o, as in torch.nn.LSTMCell, and the cell [K, H].

    cell' = s(f) cell + s(i) tanh(g); h' = s(o) tanh(cell')
    """
    h = cell.shape[1]
    both, g, o = gates.split([2 * h, h, h], 1)
    i, f = both.sigmoid().chunk(2, 1)
    cell = f * cell + i * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def chunks(steps: int) -> list[int]:
    """How T steps are compiled together: 4 or 5 at a time where that divides T, else 4 and a short last chunk.

    Larger chunks save few launches more, and compiling takes longer than a minute.
    """
    if steps <= 5:
        return [steps]
    size = 5 if steps % 5 == 0 and steps % 4 else 4
    return [min(size, steps - first) for first in range(0, steps, size)]
