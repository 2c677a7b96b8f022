"""The attention glimpse classifier (paper, section 4.1): an LSTM that reads one small window a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import read, window_from
from .config import ClassifierConfig
from .heads import full_precision


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


class GlimpseClassifier(nn.Module):
    """Each glimpse's window comes from the previous hidden state; the first from the learned initial one."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        h = config.hidden_size
        self.initial_hidden = nn.Parameter(torch.empty(h))
        self.initial_cell = nn.Parameter(torch.empty(h))
        self.read_attention = nn.Linear(h, 5)
        self.lstm = nn.LSTMCell(config.image_channels * config.read_size**2, h)
        self.output = nn.Linear(h, len(config.labels))
        self.bounds: Tensor
        self.register_buffer("bounds", torch.tensor(config.bounds), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights; the first window then covers the whole picture."""
        h = self.config.hidden_size
        nn.init.zeros_(self.initial_hidden)
        nn.init.zeros_(self.initial_cell)
        self.lstm.reset_parameters()
        self.output.reset_parameters()
        with torch.no_grad():
            self.lstm.bias_ih.zero_()
            self.lstm.bias_hh.zero_()
            self.lstm.bias_ih[h : 2 * h] = 1.0  # forget bias 1, see Draw.reset_parameters
            # Zeros are the centre and delta-tilde 1: the grid runs from edge to edge. Sigma then matches the
            # stride, so that no digit hides between two filters.
            nn.init.normal_(self.read_attention.weight, std=0.01)
            self.read_attention.bias.zero_()
            stride = (max(self.config.image_width, self.config.image_height) - 1) / max(
                self.config.read_size - 1, 1
            )
            self.read_attention.bias[2] = 2 * torch.tensor(stride / 2).log()
            # A line of one pixel fills 1/stride of such a filter: gamma brings what is seen back to order one.
            self.read_attention.bias[4] = torch.tensor(stride).log()

    def forward(self, x: Tensor, time_steps: int | None = None) -> ClassifierOutput:
        """x: [K, C, B, A] in [0, 1]; ``time_steps`` overrides the config's number of glimpses."""
        config = self.config
        hidden = self.initial_hidden.expand(x.shape[0], -1)
        cell = self.initial_cell.expand(x.shape[0], -1)
        attention, glimpses, states = [], [], []
        for _ in range(time_steps or config.time_steps):
            hidden, cell, params, glimpse = self._step(x, hidden, cell)
            attention.append(params)
            glimpses.append(glimpse)
            states.append(hidden)
        h = torch.stack(states, 1)
        return ClassifierOutput(self.output(h), torch.stack(attention, 1), torch.stack(glimpses, 1), h)

    def _step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One glimpse: the new state, the attention vector [K, 5] and what it saw [K, C, N, N]."""
        config = self.config
        params = self.bound_attention(full_precision(self.read_attention, hidden))
        window = window_from(params, config.read_size, config.image_width, config.image_height)
        glimpse = read(x, window, config.read_size)
        hidden, cell = self.lstm(glimpse.flatten(1), (hidden, cell))
        return hidden, cell, params, glimpse

    def compile_step(self) -> None:
        """Compile one glimpse with torch.compile."""
        self._step = torch.compile(self._step)  # type: ignore[method-assign]

    def bound_attention(self, params: Tensor) -> Tensor:
        """b tanh(p / b) for every element of the attention vector, or p itself where the config sets no bounds."""
        return self.bounds * torch.tanh(params / self.bounds) if self.config.position_bound else params
