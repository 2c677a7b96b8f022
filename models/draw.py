"""DRAW: the recurrent variational auto-encoder that paints on a canvas (Gregor et al. 2015, sections 2 and 3).

Equation numbers are the paper's. K images, T steps, Z latents, H units, C x B x A pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import read, window_from, write
from .config import DrawConfig
from .heads import full_precision


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
    z: Tensor  # [K, T, Z]
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


class Draw(nn.Module):
    """A DRAW network; ``config`` gives its sizes."""

    def __init__(self, config: DrawConfig) -> None:
        super().__init__()
        self.config = config
        h, z, image = config.hidden_size, config.latent_size, config.image
        self.initial_canvas = nn.Parameter(torch.empty(image.channels, image.height, image.width))
        self.initial_encoder_hidden = nn.Parameter(torch.empty(h))
        self.initial_encoder_cell = nn.Parameter(torch.empty(h))
        self.initial_decoder_hidden = nn.Parameter(torch.empty(h))
        self.initial_decoder_cell = nn.Parameter(torch.empty(h))
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
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights from torch's global generator."""
        for state in (
            self.initial_encoder_hidden,
            self.initial_encoder_cell,
            self.initial_decoder_hidden,
            self.initial_decoder_cell,
        ):
            nn.init.zeros_(state)
        # Most pixels of the digits are dark: start from p = 0.12 and not from one half.
        nn.init.constant_(self.initial_canvas, -2.0)
        for cell in (self.encoder, self.decoder):
            cell.reset_parameters()
            with torch.no_grad():
                # Forget bias 1 keeps the early memory open (Jozefowicz et al. 2015); gates are i, f, g, o.
                cell.bias_ih.zero_()
                cell.bias_hh.zero_()
                cell.bias_ih[self.config.hidden_size : 2 * self.config.hidden_size] = 1.0

    def forward(self, x: Tensor, noise: Tensor, keep_steps: bool = False) -> DrawOutput:
        """The loss pass.

        Args:
            x: [K, C, B, A] Bernoulli targets in [0, 1].
            noise: [K, T, Z] standard normal; fresh for every step. T may differ from the config's.
            keep_steps: also return every intermediate value.
        """
        batch, steps = noise.shape[:2]
        canvas = self.initial_canvas.expand(batch, -1, -1, -1)
        h_enc, cell_enc = self._initial(self.initial_encoder_hidden, self.initial_encoder_cell, batch)
        h_dec, cell_dec = self._initial(self.initial_decoder_hidden, self.initial_decoder_cell, batch)
        kls, kept = [], []
        for t in range(steps):
            step = self._step(x, noise[:, t], canvas, h_enc, cell_enc, h_dec, cell_dec)
            canvas, h_enc, cell_enc, h_dec, cell_dec, kl, *details = step
            kls.append(kl)
            if keep_steps:
                kept.append((canvas, details[0], h_enc, h_dec, *details[1:]))
        # (9) -log p(x | c_T), from the logits
        reconstruction = F.binary_cross_entropy_with_logits(canvas, x, reduction="none").flatten(1).sum(1)
        output = DrawOutput(canvas, reconstruction, torch.stack(kls, 1))
        if keep_steps:
            columns = [
                None if column[0] is None else torch.stack(column, 1) for column in zip(*kept, strict=True)
            ]
            output.steps = DrawSteps(*columns)  # type: ignore[arg-type]
        return output

    def _step(
        self,
        x: Tensor,
        noise: Tensor,
        canvas: Tensor,
        h_enc: Tensor,
        cell_enc: Tensor,
        h_dec: Tensor,
        cell_dec: Tensor,
    ) -> tuple[Tensor, ...]:
        """One time step of the loss pass: the new canvas and states, its KL, and what DrawSteps keeps."""
        error = x - torch.sigmoid(canvas)  # (3) x-hat
        r, read_params = self._read(x, error, h_dec)  # (4)
        h_enc, cell_enc = self.encoder(torch.cat([r.flatten(1), h_dec], 1), (h_enc, cell_enc))  # (5)
        mu, log_sigma = full_precision(self.mu, h_enc), full_precision(self.log_sigma, h_enc)  # (1, 2)
        sigma = log_sigma.exp()
        z = mu + sigma * noise  # (6)
        h_dec, cell_dec = self.decoder(z, (h_dec, cell_dec))  # (7)
        addition, write_params = self._write(h_dec)
        canvas = canvas + addition  # (8)
        kl = 0.5 * (mu.square() + sigma.square() - 2 * log_sigma - 1).sum(1)  # (10)
        return canvas, h_enc, cell_enc, h_dec, cell_dec, kl, r, mu, log_sigma, z, read_params, write_params  # type: ignore[return-value]

    def compile_step(self) -> None:
        """Compile one time step with torch.compile: the cell, not the T-step loop, which takes minutes to compile."""
        self._step = torch.compile(self._step)  # type: ignore[method-assign]

    def generate(self, z: Tensor) -> DrawSamples:
        """Paint from latents (equations 6-8 with z from the prior, section 2.3). z: [K, T, Z]"""
        batch, steps = z.shape[:2]
        canvas = self.initial_canvas.expand(batch, -1, -1, -1)
        h, cell = self._initial(self.initial_decoder_hidden, self.initial_decoder_cell, batch)
        canvases, hidden, params = [], [], []
        for t in range(steps):
            h, cell = self.decoder(z[:, t], (h, cell))
            addition, write_params = self._write(h)
            canvas = canvas + addition
            canvases.append(canvas)
            hidden.append(h)
            if write_params is not None:
                params.append(write_params)
        return DrawSamples(
            torch.stack(canvases, 1), torch.stack(hidden, 1), torch.stack(params, 1) if params else None
        )

    def _initial(self, hidden: Tensor, cell: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        return hidden.expand(batch, -1), cell.expand(batch, -1)

    def _read(self, x: Tensor, error: Tensor, h_dec: Tensor) -> tuple[Tensor, Tensor | None]:
        """(27), or both images whole: [K, 2, C, N, N] or [K, 2, C, B, A], with the attention vector."""
        config = self.config
        if not config.attention:
            return torch.stack([x, error], 1), None
        params = full_precision(self.read_attention, h_dec)
        window = window_from(params, config.read_size, config.image_width, config.image_height)
        # One window for both images and all channels: read them as 2 C channels.
        r = read(torch.cat([x, error], 1), window, config.read_size)
        return r.unflatten(1, (2, config.image_channels)), params

    def _write(self, h_dec: Tensor) -> tuple[Tensor, Tensor | None]:
        """(28, 29), or a whole image at once: the addition to the canvas [K, C, B, A]."""
        config = self.config
        c, height, width = config.image_channels, config.image_height, config.image_width
        if not config.attention:
            return self.write_canvas(h_dec).unflatten(1, (c, height, width)), None
        params = full_precision(self.write_attention, h_dec)
        window = window_from(params, config.write_size, width, height)
        patch = self.write_patch(h_dec).unflatten(1, (c, config.write_size, config.write_size))
        return write(patch, window, width, height), params
