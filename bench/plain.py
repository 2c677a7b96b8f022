"""DRAW and the glimpse classifier as a plain PyTorch loop: the peer that bench/training.py measures beside ours.

Written as public reproductions write them: one module call a layer, one layer after the other, filters as exponentials
over their sum plus a small number, a list of states. Same sizes, same losses, nothing hoisted, joined or compiled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def filters(params: Tensor, n: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """F_X and F_Y [K, n, side] and gamma [K, 1] of attention vectors [K, 5]."""
    g_x, g_y, log_sigma2, log_delta, log_gamma = params.split(1, 1)
    delta = (side - 1) / (n - 1) * torch.exp(log_delta)
    places = torch.arange(n, dtype=torch.float32) - n / 2 + 0.5
    banks = []
    for g in (g_x, g_y):
        mu = ((side + 1) / 2 * (g + 1) + places * delta).unsqueeze(2)
        pixels = torch.arange(1, side + 1, dtype=torch.float32)
        bank = torch.exp(-((pixels - mu) ** 2) / (2 * torch.exp(log_sigma2).unsqueeze(2)))
        banks.append(bank / (bank.sum(2, keepdim=True) + 1e-8))
    return banks[0], banks[1], torch.exp(log_gamma)


class PlainDraw(nn.Module):
    """Loss of pictures [K, 1, height, width] with noise [K, T, Z]: the mean bound in nats."""

    def __init__(self, side: int, hidden: int, latent: int, read: int, write: int) -> None:
        super().__init__()
        self.side, self.hidden, self.read, self.write = side, hidden, read, write
        self.encoder = nn.LSTMCell(2 * read * read + hidden, hidden)
        self.decoder = nn.LSTMCell(latent, hidden)
        self.mu, self.log_sigma = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.read_params, self.write_params = nn.Linear(hidden, 5), nn.Linear(hidden, 5)
        self.patch = nn.Linear(hidden, write * write)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        x, batch = images.flatten(1), len(images)
        canvas = torch.zeros_like(x)
        h_dec = torch.zeros(batch, self.hidden)
        enc_state = dec_state = (torch.zeros(batch, self.hidden), torch.zeros(batch, self.hidden))
        kl = torch.zeros(batch)
        for t in range(noise.shape[1]):
            x_hat = x - torch.sigmoid(canvas)
            f_x, f_y, gamma = filters(self.read_params(h_dec), self.read, self.side)
            glimpses = []
            for picture in (x, x_hat):
                seen = f_y.bmm(picture.view(-1, self.side, self.side)).bmm(f_x.transpose(1, 2))
                glimpses.append(gamma * seen.flatten(1))
            enc_state = self.encoder(torch.cat([*glimpses, h_dec], 1), enc_state)
            mu, log_sigma = self.mu(enc_state[0]), self.log_sigma(enc_state[0])
            sigma = torch.exp(log_sigma)
            dec_state = self.decoder(mu + sigma * noise[:, t], dec_state)
            h_dec = dec_state[0]
            f_x, f_y, gamma = filters(self.write_params(h_dec), self.write, self.side)
            patch = self.patch(h_dec).view(-1, self.write, self.write)
            canvas = canvas + f_y.transpose(1, 2).bmm(patch).bmm(f_x).flatten(1) / gamma
            kl = kl + 0.5 * (mu**2 + sigma**2 - 2 * log_sigma - 1).sum(1)
        loss = F.binary_cross_entropy(torch.sigmoid(canvas), x, reduction="none").sum(1)
        return (loss + kl).mean()


class PlainClassifier(nn.Module):
    """Cross-entropy of pictures [K, 1, side, side] after every glimpse, averaged."""

    def __init__(self, side: int, hidden: int, read: int, glimpses: int, classes: int) -> None:
        super().__init__()
        self.side, self.hidden, self.read, self.glimpses = side, hidden, read, glimpses
        self.params = nn.Linear(hidden, 5)
        self.lstm = nn.LSTMCell(read * read, hidden)
        self.output = nn.Linear(hidden, classes)
        with torch.no_grad():
            # The window begins over the whole picture, as ours does: a filter as wide as its stride.
            self.params.weight.normal_(std=0.01)
            self.params.bias.zero_()
            self.params.bias[2] = 2 * torch.log(torch.tensor((side - 1) / (read - 1) / 2))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = images.view(-1, self.side, self.side)
        state = (torch.zeros(len(x), self.hidden), torch.zeros(len(x), self.hidden))
        loss = torch.zeros(())
        for _ in range(self.glimpses):
            f_x, f_y, gamma = filters(self.params(state[0]), self.read, self.side)
            seen = gamma * f_y.bmm(x).bmm(f_x.transpose(1, 2)).flatten(1)
            state = self.lstm(seen, state)
            loss = loss + F.cross_entropy(self.output(state[0]), labels)
        return loss / self.glimpses
