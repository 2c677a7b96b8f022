"""The Gaussian attention window: filterbanks, read and write (paper, section 3.2, equations 19-29).

Sizes: K images, C channels, B rows, A columns, N filters per axis. Pixel coordinates are 1-based.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A decoded attention vector (equations 21-24), each field [K]; positions and widths in pixels."""

    g_x: Tensor  # centre of the grid, 1-based column
    g_y: Tensor  # centre of the grid, 1-based row
    sigma2: Tensor  # variance of the Gaussians
    delta: Tensor  # stride between filters
    gamma: Tensor  # intensity: read multiplies by it, write divides

    def stack(self) -> Tensor:
        """(x, y, delta, sigma, gamma), the row that exported graphs give. [K, 5]"""
        return torch.stack([self.g_x, self.g_y, self.delta, self.sigma2.sqrt(), self.gamma], dim=-1)


def window_from(params: Tensor, n: int, width: int, height: int) -> Window:
    """Equations (21-24): attention vectors [K, 5] to windows on a ``width`` x ``height`` image."""
    g_x, g_y, log_sigma2, log_delta, log_gamma = params.unbind(-1)
    return Window(
        g_x=(width + 1) / 2 * (g_x + 1),
        g_y=(height + 1) / 2 * (g_y + 1),
        sigma2=log_sigma2.exp(),
        # A window of one filter has no stride; 1 in its place keeps the division defined.
        delta=(max(width, height) - 1) / max(n - 1, 1) * log_delta.exp(),
        gamma=log_gamma.exp(),
    )


# A filter is nothing in float32 at e^-32 = 1e-14. Without a floor its tails are subnormal numbers, for each of which
# many CPUs take a hundred cycles, in every product that they enter.
LOG_FLOOR = -32.0


def filterbank(centre: Tensor, delta: Tensor, sigma2: Tensor, n: int, size: int) -> Tensor:
    """Equations (19, 20, 25, 26): rows of Gaussians over the pixels 1..size, each summing to 1.

    The exponent is taken relative to that of the pixel m nearest to the centre mu,
    (m - mu)^2 - (a - mu)^2 = (m - a)(m + a - 2 mu), which a softmax leaves as it is: a narrow Gaussian between
    two pixels, or a centre far outside the image, loses nothing.

    Args:
        centre: [..., K]. Returns [..., K, n, size].
        delta, sigma2: [K].
    """
    # mu_i = g + (i - N/2 - 1/2) delta, i = 1..N (equations 19, 20)
    offsets = torch.arange(1, n + 1, dtype=centre.dtype, device=centre.device) - (n / 2 + 0.5)
    mu = (centre[..., None] + offsets * delta[:, None])[..., None]
    pixels = torch.arange(1, size + 1, dtype=centre.dtype, device=centre.device)
    nearest = mu.detach().round().clamp(1, size)
    exponents = (nearest - pixels) * (pixels + (nearest - 2 * mu)) * (0.5 / sigma2)[:, None, None]
    return torch.softmax(exponents.clamp_min(LOG_FLOOR), dim=-1)


def filterbanks(window: Window, n: int, width: int, height: int) -> tuple[Tensor, Tensor]:
    """F_X [K, n, width] and F_Y [K, n, height]."""
    x, y, sigma2, delta, _ = window
    if width == height:  # both at once
        f_x, f_y = filterbank(torch.stack([x, y]), delta, sigma2, n, width).unbind()
        return f_x, f_y
    return filterbank(x, delta, sigma2, n, width), filterbank(y, delta, sigma2, n, height)


def read(pictures: Sequence[Tensor], window: Window, n: int, dtype: torch.dtype | None = None) -> Tensor:
    """Equation (27): gamma F_Y picture F_X^T, the same window for all pictures and channels.

    Args:
        pictures: each [K, C, B, A]. Returns [K, sum of their C, n, n].
        dtype: of the products' operands; None for the pictures' own. The filters are computed in the window's.
    """
    channels, (height, width) = sum(picture.shape[1] for picture in pictures), pictures[0].shape[2:]
    f_x, f_y = filterbanks(window, n, width, height)
    gamma = window.gamma[:, None, None, None]
    # All channels in one product a side: their columns side by side, then their rows below one another.
    columns = [picture.transpose(1, 2).flatten(2) for picture in pictures]
    image = torch.cat(columns, 2) if len(columns) > 1 else columns[0]  # [K, B, C A]
    if dtype is not None:
        # Pictures of eight bits come through whole: k is a bfloat16, k/255 is not.
        image, f_x, f_y = (255 * image).to(dtype), f_x.to(dtype), f_y.to(dtype)
        gamma = gamma / 255
    rows = f_y.bmm(image).unflatten(2, (channels, width)).flatten(1, 2)  # [K, n C, A]
    patch = rows.bmm(f_x.transpose(1, 2)).unflatten(1, (n, channels)).transpose(1, 2)
    return gamma * patch.to(gamma.dtype)


def write(patch: Tensor, window: Window, width: int, height: int) -> Tensor:
    """Equation (29): 1/gamma F_Y^T patch F_X. [K, C, n, n] -> [K, C, height, width]"""
    channels, n = patch.shape[1:3]
    f_x, f_y = filterbanks(window, n, width, height)
    patch = patch / window.gamma[:, None, None, None]
    rows = patch.flatten(1, 2).bmm(f_x)  # [K, C n, width]
    rows = rows.unflatten(1, (channels, n)).transpose(1, 2).flatten(2)  # [K, n, C width]
    return f_y.transpose(1, 2).bmm(rows).unflatten(2, (channels, width)).transpose(1, 2)
