"""Write windows of one width, for pictures of several things.

DRAW's windows are free: they begin as wide as the picture, and on pictures of two digits they stay so wide that the
network paints both at once, blurred first and then sharper. A window that covers one digit has to go from one to
the other. The width is a constant of the first training only: another run may start from its weights with free
windows, and the model and its graphs know nothing of it.
"""

from __future__ import annotations

import math

import torch

from ..errors import DrawError
from ..models.config import DrawConfig, ModelConfig
from ..models.draw import Draw

# Of the attention vector (g_X, g_Y, log sigma^2, log delta, log gamma).
_SHAPE = slice(2, 4)
# Where no window has been yet the picture stays dark: nothing else can darken it.
_BACKGROUND = -5.0


def check_write_window(config: ModelConfig, pixels: float) -> None:
    """Raises DrawError where windows of this width make no sense."""
    if not isinstance(config, DrawConfig) or not config.attention:
        raise DrawError("--write-window is for DRAW with attention")
    if config.write_size < 2:
        raise DrawError("--write-window needs a --write-size of at least 2: one filter has no width")
    side = max(config.image_height, config.image_width)
    if side < 2:
        raise DrawError("--write-window is for pictures of more than one pixel")
    if not 0 < pixels <= side:
        raise DrawError(
            f"--write-window must be above 0 and at most the picture's {side} pixels, not {pixels:g}"
        )


def start_write_windows(model: Draw, pixels: float) -> None:
    """New weights whose write windows are ``pixels`` wide, from the first filter's centre to the last one's.

    Then delta = pixels / (N - 1) whatever the state of the decoder, sigma = delta / 2, and the canvas begins dark.
    """
    config = model.config
    # Relative to the whole picture, as in equation (24): delta-tilde.
    relative = pixels / (max(config.image_height, config.image_width) - 1)
    head = model.write_attention
    with torch.no_grad():
        head.weight[_SHAPE] = 0
        head.bias[2] = 2 * math.log(pixels / (config.write_size - 1) / 2)
        head.bias[3] = math.log(relative)
        head.bias[4] = 0
        model.initial_canvas.fill_(_BACKGROUND)


def hold_write_windows(model: Draw) -> None:
    """Between backward and the update: no gradient for the width, so that Adam leaves it where it is."""
    head = model.write_attention
    for parameter in (head.weight, head.bias):
        if parameter.grad is not None:
            parameter.grad[_SHAPE].zero_()
