"""The attention glimpse classifier (paper, section 4.1): an LSTM that reads one small window a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .attention import read, window_from
from .config import ClassifierConfig
from .products import (
    Bias,
    Chunked,
    StepProduct,
    fused,
    lstm_cell,
    lstm_product,
    product,
    reset_lstm,
    stack_steps,
)


@dataclass
class ClassifierOutput:
    """K images, T glimpses, N x N filters, H units."""

    logits: Tensor  # [K, T, classes] after every glimpse; the answer is the last
    attention: Tensor  # [K, T, 5] attention vectors as the window uses them (bounded, if the config says so)
    glimpses: Tensor  # [K, T, C, N, N], gamma included
    h: Tensor  # [K, T, H]

    @property
    def answer(self) -> Tensor:
        """[K, classes] logits after the last glimpse"""
        return self.logits[:, -1]


class State(NamedTuple):
    """Between two glimpses."""

    h: Tensor  # [K, H]
    cell: Tensor  # [K, H]


class Glimpses(NamedTuple):
    """n glimpses, one after the other."""

    attention: Tensor  # [K, n, 5]
    seen: Tensor  # [K, n, C, N, N]
    h: Tensor  # [K, n, H] after each


class GlimpseClassifier(Chunked):
    """Each glimpse's window comes from the previous hidden state; the first from the learned initial one."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        h = config.hidden_size
        self.initial_hidden = nn.Parameter(torch.zeros(h))
        self.initial_cell = nn.Parameter(torch.zeros(h))
        self.read_attention = nn.Linear(h, 5)
        self.lstm = nn.LSTMCell(config.image_channels * config.read_size**2, h)
        self.output = nn.Linear(h, len(config.labels))
        self.bounds: Tensor
        self.register_buffer("bounds", torch.tensor(config.bounds), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the layers; the first window then covers the whole picture."""
        reset_lstm(self.lstm)
        self.output.reset_parameters()
        with torch.no_grad():
            # Zeros are the centre and delta-tilde 1: the grid runs from edge to edge. Sigma then matches the
            # stride, so that no digit hides between two filters.
            nn.init.normal_(self.read_attention.weight, std=0.01)
            self.read_attention.bias.zero_()
            _, height, width = self.config.image
            # A picture of one pixel has a stride of none, whose logarithm no network survives.
            stride = (max(width, height, 2) - 1) / max(self.config.read_size - 1, 1)
            self.read_attention.bias[2] = 2 * torch.tensor(stride / 2).log()
            # A line of one pixel fills 1/stride of such a filter: gamma brings what is seen back to order one.
            self.read_attention.bias[4] = torch.tensor(stride).log()

    def forward(self, x: Tensor, time_steps: int | None = None) -> ClassifierOutput:
        """x: [K, C, B, A] in [0, 1]; ``time_steps`` overrides the config's number of glimpses."""
        batch, spans = x.shape[0], self.spans(time_steps or self.config.time_steps)
        products = (
            StepProduct(*fused(self.read_attention), spans, batch),
            lstm_product(self.lstm, spans, batch, self.product_dtype),
        )
        weights = [layer.weight for layer in products]
        # Laid out as the states of all later steps, or the first step would be compiled apart.
        state = State(
            self.initial_hidden.expand(batch, -1).contiguous(),
            self.initial_cell.expand(batch, -1).contiguous(),
        )
        glimpses: list[Glimpses] = []
        run_chunk = self._compiled_chunk or self._chunk
        for k in range(len(spans)):
            state, new, entered = run_chunk(x, state, weights, [layer.biases[k] for layer in products])
            glimpses.append(new)
            for layer, values in zip(products, entered, strict=True):
                layer.record(values)
        attention, seen, h = (torch.cat(parts, 1) for parts in zip(*glimpses, strict=True))
        return ClassifierOutput(self.output(h), attention, seen, h)

    def _chunk(
        self, x: Tensor, state: State, weights: Sequence[Tensor], biases: Sequence[Bias]
    ) -> tuple[State, Glimpses, list[Tensor]]:
        """Some glimpses, what :meth:`compile_chunk` compiles.

        Returns:
            The state after them, the n glimpses, and what went into the products of the head and of the LSTM, each
            [n, K, inputs].
        """
        glimpses, entered = [], []
        for bias in zip(*(layer.steps() for layer in biases), strict=True):
            state, glimpse, inputs = self._step(x, state, weights, bias)
            glimpses.append(glimpse)
            entered.append(inputs)
        new = Glimpses(*(stack_steps(values, 1) for values in zip(*glimpses, strict=True)))
        return state, new, [stack_steps(values) for values in zip(*entered, strict=True)]

    def _step(
        self, x: Tensor, state: State, weights: Sequence[Tensor], biases: Sequence[Bias]
    ) -> tuple[State, tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """One glimpse; ``weights`` and ``biases`` of the head and of the LSTM.

        Returns:
            The state after it, the glimpse itself, and what went into the products.
        """
        config = self.config
        params = self.bound_attention(product(state.h, weights[0], biases[0]))
        window = window_from(params, config.read_size, config.image_width, config.image_height)
        seen = read([x], window, config.read_size, self.product_dtype)
        into_lstm = torch.cat([seen.flatten(1), state.h], 1)
        entered = state.h.detach(), into_lstm.detach().to(weights[1].dtype)
        state = State(*lstm_cell(product(into_lstm, weights[1], biases[1]), state.cell))
        return state, (params, seen, state.h), entered

    def bound_attention(self, params: Tensor) -> Tensor:
        """b tanh(p / b) for every element of the attention vector, or p itself where the config sets no bounds."""
        return self.bounds * torch.tanh(params / self.bounds) if self.config.position_bound else params
