"""Trained weights in a larger model that computes what they did: a beginning for training, not a loss.

N filters of a window stand at equal distances on an extent that does not depend on N (:func:`.attention.window_from`). So
where M - 1 is a multiple of N - 1 all of them are among M filters of the same window, and with zeros for the others'
weights nothing changes, but that these have gradients. New hidden units compute something from the start, as fresh ones
do, but what would take it has zeros for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .cells import CELLS, OF_UNITS
from .config import LEARNED, STANDARD, ModelConfig, prior_of

WINDOWS = ("read_size", "write_size")


def misfits(start: ModelConfig, config: ModelConfig) -> list[str]:
    """Fields of ``config`` in which :func:`grown` cannot bring weights of ``start``, of the same kind, to it."""
    ours, theirs = vars(config), vars(start)
    differing = [name for name in ours if ours[name] != theirs[name]]
    return [name for name in differing if not _grows(name, theirs[name], ours[name])]


def _grows(name: str, start: Any, size: Any) -> bool:
    if name in WINDOWS:
        return 1 < start < size and (size - 1) % (start - 1) == 0
    if name == "hidden_size":
        return start < size
    return name == "time_steps" or (name, start, size) == ("prior", STANDARD, LEARNED)


def grown(
    weights: dict[str, Tensor], start: ModelConfig, config: ModelConfig, fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """``weights`` of a model of ``start`` as those of one of ``config``, which has no :func:`misfits` for it.

    With as many steps, and the standard normal noise that both take, the two models give the same numbers but for
    rounding. More steps have no weights; new hidden units have those of ``fresh``, a model of ``config``.
    """
    weights = dict(weights)
    encoder = "encoder.weight_ih" if "encoder.weight_ih" in weights else "lstm.weight_ih"
    old, new = (vars(c) for c in (start, config))
    n, m = old["read_size"], new["read_size"]
    if n != m:
        columns = weights[encoder].shape[1]
        of_h = old["hidden_size"] if "write_size" in old else 0
        seen, rest = weights[encoder].split([columns - of_h, of_h], 1)
        weights[encoder] = torch.cat([_among(seen.T, n, m).T, rest], 1)
    n, m = old.get("write_size", 0), new.get("write_size", 0)
    if n != m:
        weights |= {name: _among(weights[name], n, m) for name in ("write_patch.weight", "write_patch.bias")}
    if prior_of(start) != prior_of(config):
        z, h = new["latent_size"], old["hidden_size"]
        zero = weights["mu.bias"].new_zeros
        weights |= {"prior.weight": zero(2 * z, h), "prior.bias": zero(2 * z)}
    if old["hidden_size"] != new["hidden_size"]:
        _add_units(weights, new["hidden_size"] - old["hidden_size"], fresh)
    return {name: tensor.contiguous() for name, tensor in weights.items()}


def _add_units(weights: dict[str, Tensor], more: int, fresh: dict[str, Tensor]) -> None:
    """Give all LSTMs ``more`` units each, and what takes their states zeros for them; in place."""
    cells = [cell for cell in CELLS if f"{cell.name}.weight_hh" in weights]
    for cell in cells:
        for name in cell.readers:
            if name in weights:
                weights[name] = functional.pad(weights[name], (0, more))
    for cell in cells:
        for name in cell.initial_states:
            weights[name] = torch.cat([weights[name], fresh[name][-more:]])
        for name in (f"{cell.name}.{kind}" for kind in OF_UNITS):
            gates, units = (w.unflatten(0, (4, -1)) for w in (weights[name], fresh[name]))
            weights[name] = torch.cat([gates, units[:, -more:]], 1).flatten(0, 1)


def _among(rows: Tensor, n: int, m: int) -> Tensor:
    """[C n n, …], a row for each filter of C patches, as [C m m, …] with zeros for those that are new."""
    stride = (m - 1) // (n - 1)
    patches = rows.unflatten(0, (-1, n, n))
    wide = patches.new_zeros(len(patches), m, m, *patches.shape[3:])
    wide[:, ::stride, ::stride] = patches
    return wide.flatten(0, 2)
