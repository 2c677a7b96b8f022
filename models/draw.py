"""DRAW: the recurrent variational auto-encoder that paints on a canvas (Gregor et al. 2015, sections 2 and 3).

Equation numbers are the paper's. K images, T steps, Z latents, H units, C x B x A pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import read, window_from, write
from .config import LEARNED, DrawConfig
from .products import (
    Bias,
    Chunked,
    Layer,
    StepProduct,
    fused,
    lstm_cell,
    lstm_product,
    product,
    reset_lstm,
    stack_steps,
)


@dataclass
class DrawOutput:
    """What a loss pass gives. Losses are in nats per image."""

    canvas: Tensor  # [K, C, B, A] c_T, before the logistic function
    reconstruction_loss: Tensor  # [K] L_x, equation (9)
    kl: Tensor  # [K, T] KL of each step's posterior to the prior, equation (10)
    steps: DrawSteps | None = None

    @property
    def latent_loss(self) -> Tensor:
        """[K] L_z, the KL summed over steps"""
        return self.kl.sum(1)

    @property
    def bound(self) -> Tensor:
        """[K] L_x + L_z, equation (12): an upper bound on -log p(x)"""
        return self.reconstruction_loss + self.latent_loss


@dataclass
class DrawSteps:
    """Every intermediate value of a loss pass, stacked over steps. Attention fields are None without attention."""

    canvases: Tensor  # [K, T, C, B, A] c_1..c_T
    r: Tensor  # [K, T, 2, C, N, N] or [K, T, 2, C, B, A]
    h_enc: Tensor  # [K, T, H]
    h_dec: Tensor  # [K, T, H]
    mu: Tensor  # [K, T, Z]
    log_sigma: Tensor  # [K, T, Z]
    z: Tensor  # [K, T, Z] what generate() takes; with a learned prior u
    read_params: Tensor | None  # [K, T, 5] raw attention vectors
    write_params: Tensor | None  # [K, T, 5]


@dataclass
class DrawSamples:
    """Generated pictures."""

    canvases: Tensor  # [K, T, C, B, A] c_1..c_T, before the logistic function
    h_dec: Tensor  # [K, T, H]
    write_params: Tensor | None  # [K, T, 5]; None without attention

    @property
    def image(self) -> Tensor:
        """[K, C, B, A] Bernoulli means sigmoid(c_T)"""
        return torch.sigmoid(self.canvases[:, -1])


class Painted(NamedTuple):
    """The generating half between two steps."""

    canvas: Tensor  # [K, C, B, A] c_t, before the logistic function
    h: Tensor  # [K, H] decoder
    cell: Tensor  # [K, H]
    read: Tensor | None  # [K, 5] the next read's attention vector, from h; None without attention
    write: Tensor | None  # [K, 5] the attention vector of the write that made this canvas
    # [K, 2 Z] the next step's prior, from h: m, and log s before its bound; None: N(0, I).
    prior: Tensor | None


class State(NamedTuple):
    """The whole network between two steps."""

    painted: Painted
    h: Tensor  # [K, H] encoder
    cell: Tensor  # [K, H]


Item = TypeVar("Item")


class Layers(NamedTuple, Generic[Item]):
    """One for each of the products of a step: their weights, one step's biases, or what went into them."""

    encoder: Item
    posterior: Item  # mu and log sigma
    decoder: Item
    heads: Item  # read, write and patch, or the whole canvas; and a learned prior


class Draw(Chunked):
    """A DRAW network; ``config`` gives its sizes, torch's global generator the first weights."""

    def __init__(self, config: DrawConfig) -> None:
        super().__init__()
        self.config = config
        h, z, image = config.hidden_size, config.latent_size, config.image
        # Most pixels of the digits are dark: start from p = 0.12 and not from one half.
        self.initial_canvas = nn.Parameter(torch.full(image, -2.0))
        self.initial_encoder_hidden = nn.Parameter(torch.zeros(h))
        self.initial_encoder_cell = nn.Parameter(torch.zeros(h))
        self.initial_decoder_hidden = nn.Parameter(torch.zeros(h))
        self.initial_decoder_cell = nn.Parameter(torch.zeros(h))
        self.encoder = nn.LSTMCell(config.read_length + h, h)
        self.decoder = nn.LSTMCell(z, h)
        self.mu = nn.Linear(h, z)
        self.log_sigma = nn.Linear(h, z)
        if config.attention:
            self.read_attention = nn.Linear(h, 5)
            self.write_attention = nn.Linear(h, 5)
            self.write_patch = nn.Linear(h, image.channels * config.write_size**2)
        else:
            self.write_canvas = nn.Linear(h, image.channels * image.height * image.width)
        if config.prior == LEARNED:
            self.prior = nn.Linear(h, 2 * z)
            nn.init.zeros_(self.prior.weight)
            nn.init.zeros_(self.prior.bias)
        for cell in (self.encoder, self.decoder):
            reset_lstm(cell)

    def forward(self, x: Tensor, noise: Tensor, keep_steps: bool = False) -> DrawOutput:
        """The loss pass.

        Args:
            x: [K, C, B, A] Bernoulli targets in [0, 1].
            noise: [K, T, Z] standard normal; fresh for every step. T may differ from the config's.
            keep_steps: also return every intermediate value.
        """
        batch, steps = noise.shape[:2]
        spans = [1] * steps if keep_steps else self.spans(steps)
        products = self._products(x, spans)
        weights = Layers(*(p.weight for p in products))
        run_chunk = self._compiled_chunk or self._chunk
        state = State(
            self._initial_painting(batch, weights.heads),
            self.initial_encoder_hidden.expand(batch, -1).contiguous(),
            self.initial_encoder_cell.expand(batch, -1).contiguous(),
        )
        kls: list[Tensor] = []
        kept: list[tuple[Tensor | None, ...]] = []
        for k, epsilon in enumerate(noise.split(spans, 1)):
            biases = Layers(*(p.biases[k] for p in products))
            if keep_steps:
                read_params = state.painted.read
                one = Layers(*(bias.steps()[0] for bias in biases))
                state, kl, inputs, r, posterior = self._step(x, epsilon[:, 0], state, weights, one)
                painted = state.painted
                kept.append((painted.canvas, r, state.h, painted.h, *posterior, read_params, painted.write))
                kl, entered = kl.unsqueeze(1), Layers(*(value.unsqueeze(0) for value in inputs))
            else:
                state, kl, entered = run_chunk(x, epsilon, state, weights, biases)
            kls.append(kl)
            for layer, values in zip(products, entered, strict=True):
                layer.record(values)
        canvas = state.painted.canvas
        # (9) -log p(x | c_T), from the logits
        reconstruction = F.binary_cross_entropy_with_logits(canvas, x, reduction="none").flatten(1).sum(1)
        output = DrawOutput(canvas, reconstruction, torch.cat(kls, 1))
        if keep_steps:
            stacked: list[Any] = [_stack(column) for column in zip(*kept, strict=True)]
            output.steps = DrawSteps(*stacked)
        return output

    def _chunk(
        self, x: Tensor, noise: Tensor, state: State, weights: Layers[Tensor], biases: Layers[Bias]
    ) -> tuple[State, Tensor, Layers[Tensor]]:
        """Some steps of the loss pass, what :meth:`compile_chunk` compiles.

        Args:
            noise: [K, n, Z] of n steps.

        Returns:
            The new state, the steps' KL [K, n], and what went into their products, each [n, K, inputs].
        """
        kls, entered = [], []
        steps = zip(*(bias.steps() for bias in biases), strict=True)
        for epsilon, bias in zip(noise.unbind(1), steps, strict=True):
            state, kl, inputs, _, _ = self._step(x, epsilon, state, weights, Layers(*bias))
            kls.append(kl)
            # In the products' precision, which the compiler makes once for both uses.
            entered.append([x.detach().to(w.dtype) for x, w in zip(inputs, weights, strict=True)])
        return state, stack_steps(kls, 1), Layers(*(stack_steps(each) for each in zip(*entered, strict=True)))

    def _step(
        self, x: Tensor, noise: Tensor, state: State, weights: Layers[Tensor], biases: Layers[Bias]
    ) -> tuple[State, Tensor, Layers[Tensor], Tensor, tuple[Tensor, ...]]:
        """One time step of the loss pass.

        Returns:
            The new state, its KL [K], the products' inputs, r, and mu, log sigma and z, each [K, Z].
        """
        painted = state.painted
        mean = torch.sigmoid(painted.canvas)
        r = self._read(x, x - mean, painted.read)  # (3, 4)
        # Without attention r is the pictures themselves: see _products.
        seen = r if painted.read is not None else mean
        into_encoder = torch.cat([seen.flatten(1), painted.h, state.h], 1)
        h, cell = lstm_cell(product(into_encoder, weights.encoder, biases.encoder), state.cell)  # (5)
        mu, log_sigma = product(h, weights.posterior, biases.posterior).chunk(2, 1)  # (1, 2)
        sigma = log_sigma.exp()
        z = mu + sigma * noise  # (6)
        into_decoder = torch.cat([_placed(z, painted.prior), painted.h], 1)
        decoder, heads = (weights.decoder, biases.decoder), (weights.heads, biases.heads)
        painted = self.paint(into_decoder, painted, decoder, heads)  # (7, 8)
        kl = 0.5 * (mu.square() + sigma.square() - 2 * log_sigma - 1).sum(1)  # (10)
        entered = Layers(into_encoder, h, into_decoder, painted.h)
        return State(painted, h, cell), kl, entered, r, (mu, log_sigma, z)

    def generate(self, z: Tensor) -> DrawSamples:
        """Paint from latents (equations 6-8 with z from the prior, section 2.3). z: [K, T, Z], standard normal"""
        batch, steps = z.shape[:2]
        spans = [1] * steps
        decoder = lstm_product(self.decoder, spans, batch, self.product_dtype)
        heads = self._heads_product(spans, batch)
        painted = self._initial_painting(batch, heads.weight)
        canvases, hidden, params = [], [], []
        for t, layers in enumerate(zip(decoder.steps(), heads.steps(), strict=True)):
            into_decoder = torch.cat([_placed(z[:, t], painted.prior), painted.h], 1)
            painted = self.paint(into_decoder, painted, *layers)
            decoder.record(into_decoder.unsqueeze(0))
            heads.record(painted.h.unsqueeze(0))
            canvases.append(painted.canvas)
            hidden.append(painted.h)
            params.append(painted.write)
        return DrawSamples(torch.stack(canvases, 1), torch.stack(hidden, 1), _stack(params))

    # -- the parts of a step --------------------------------------------------------------------------------

    def _products(self, x: Tensor, spans: Sequence[int]) -> tuple[StepProduct, ...]:
        """The step's products in the order of :class:`Layers`, ready for a loop."""
        batch, encoder = x.shape[0], self.encoder
        weight, bias = encoder.weight_ih, encoder.bias_ih + encoder.bias_hh
        if not self.config.attention:
            # W_x x + W_e (x - m) = (W_x + W_e) x - W_e m, and only m changes from step to step.
            pixels = x[0].numel()
            of_x, of_error, of_h = weight.split([pixels, pixels, self.config.hidden_size], 1)
            flat, whole = x.flatten(1), of_x + of_error
            if self.product_dtype is not None:
                flat, whole = flat.to(self.product_dtype), whole.to(self.product_dtype)
            bias = bias + F.linear(flat, whole).to(bias.dtype)
            weight = torch.cat([-of_error, of_h], 1)
        weight = torch.cat([weight, encoder.weight_hh], 1)
        return (
            StepProduct(weight, bias, spans, batch, self.product_dtype),
            StepProduct(*fused(self.mu, self.log_sigma), spans, batch),
            lstm_product(self.decoder, spans, batch, self.product_dtype),
            self._heads_product(spans, batch),
        )

    def _heads_product(self, spans: Sequence[int], batch: int) -> StepProduct:
        prior = (self.prior,) if self.config.prior == LEARNED else ()
        if self.config.attention:
            layers = self.read_attention, self.write_attention, self.write_patch
            return StepProduct(*fused(*layers, *prior), spans, batch)
        # As wide as the picture: worth the LSTMs' precision.
        return StepProduct(*fused(self.write_canvas, *prior), spans, batch, self.product_dtype)

    def _initial_painting(self, batch: int, heads: Tensor) -> Painted:
        """c_0 and the learned state, as the tensors that every later step has (or it would be compiled twice)."""
        canvas = self.initial_canvas.expand(batch, -1, -1, -1).contiguous()
        h = self.initial_decoder_hidden.expand(batch, -1).contiguous()
        cell = self.initial_decoder_cell.expand(batch, -1).contiguous()
        wide, width, size = h.new_zeros(batch, heads.shape[1]), heads.shape[1], 2 * self.config.latent_size
        if self.config.attention:
            wide = wide + F.pad(self.read_attention(h), (0, width - 5))
        if self.config.prior == LEARNED:
            wide = wide + F.pad(self.prior(h), (width - size, 0))
        read_params, write_params = (wide[:, :5], wide[:, 5:10]) if self.config.attention else (None, None)
        prior = wide[:, -size:] if self.config.prior == LEARNED else None
        return Painted(canvas, h, cell, read_params, write_params, prior)

    def _read(self, x: Tensor, error: Tensor, params: Tensor | None) -> Tensor:
        """(27), or both images whole: [K, 2, C, N, N] or [K, 2, C, B, A]."""
        config = self.config
        if params is None:
            return torch.stack([x, error], 1)
        window = window_from(params, config.read_size, config.image_width, config.image_height)
        r = read([x, error], window, config.read_size)
        return r.unflatten(1, (2, config.image_channels))

    def paint(self, into_decoder: Tensor, before: Painted, decoder: Layer, heads: Layer) -> Painted:
        """(7, 8): the decoder's step from ``into_decoder`` [K, Z + H], z and its own last output, and what it writes."""
        (c, height, width), n = self.config.image, self.config.write_size
        h, cell = lstm_cell(product(into_decoder, *decoder), before.cell)
        painting, prior = product(h, *heads), None
        if self.config.prior == LEARNED:
            size = 2 * self.config.latent_size
            painting, prior = painting.split([painting.shape[1] - size, size], 1)
        if not self.config.attention:
            return Painted(
                before.canvas + painting.unflatten(1, (c, height, width)), h, cell, None, None, prior
            )
        read_params, write_params, patch = painting.split([5, 5, c * n * n], 1)
        window = window_from(write_params, n, width, height)
        addition = write(patch.unflatten(1, (c, n, n)), window, width, height)  # (28, 29)
        return Painted(before.canvas + addition, h, cell, read_params, write_params, prior)


def _placed(u: Tensor, prior: Tensor | None) -> Tensor:
    """z of the prior N(m, s^2) for u of N(0, I). The bound, s between 1/e and e, is what lets it learn at high rates."""
    if prior is None:
        return u
    m, log_s = prior.chunk(2, 1)
    return m + log_s.tanh().exp() * u


def _stack(column: Sequence[Tensor | None]) -> Tensor | None:
    """[K, T, …] from T tensors [K, …]; None where the network has no such value."""
    values = [value for value in column if value is not None]
    return torch.stack(values, 1) if values else None
