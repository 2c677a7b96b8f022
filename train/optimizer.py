"""The optimiser, its learning rates (warm-up, a cosine to zero, slower attention heads), and the weights' average."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .settings import TrainSettings
from .soap import SoapAdam, matrices_in

ATTENTION_HEADS = ("read_attention", "write_attention")


def learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Linear warm-up, then a cosine to zero; ``iteration`` counts from 0."""
    warm = min(1.0, (iteration + 1) / settings.warmup) if settings.warmup else 1.0
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * iteration / settings.iterations))


def attention_scale(settings: TrainSettings, iteration: int) -> float:
    """The attention heads' learning rate relative to the others': from 1, linearly, to its setting.

    Adam moves every weight of a head by about the rate, and all 256 add up: at 2e-3 a step can shift a window by
    several pixels of a 100-pixel picture. That is how windows are found at first, and noise later.
    """
    settle = settings.attention_lr_settle
    left = max(0.0, 1 - iteration / settle) if settle else 0.0
    return settings.attention_lr_scale + (1 - settings.attention_lr_scale) * left


def make_optimizer(
    module: nn.Module, settings: TrainSettings, device: torch.device, recorded: bool
) -> torch.optim.Optimizer:
    """Adam over all weights, AdamW with a weight decay, which is the matrices' alone; or SOAP for these.

    The attention heads are groups of their own where they have a rate of their own, and so are matrices with a decay
    and those that SOAP updates.

    Args:
        recorded: a CUDA graph will hold the update, which then reads the rates from tensors.
    """
    on_gpu = device.type == "cuda"
    groups: dict[tuple[bool, bool, int], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        head = settings.attention_lr_scale != 1 and any(part in ATTENTION_HEADS for part in name.split("."))
        decays = settings.weight_decay > 0 and name.rpartition(".")[2].startswith("weight")
        matrices = matrices_in(name, parameter) if settings.optimizer == "soap" else 0
        if settings.write_window and "write_attention" in name.split("."):
            matrices = 0  # as the packaged pairs were trained; rows without a gradient stay where they are by SOAP too
        # A tensor each where rates are tensors: they are filled with different ones.
        rate = torch.tensor(settings.learning_rate, device=device) if recorded else settings.learning_rate
        decay = settings.weight_decay if decays else 0.0
        group = groups.setdefault((head, decays, matrices), {"params": []})
        group |= {"lr": rate, "weight_decay": decay, "attention_head": head, "matrices": matrices}
        group["params"].append(parameter)
    kind = SoapAdam if settings.optimizer == "soap" else torch.optim.Adam
    return kind(
        [groups[key] for key in sorted(groups)],
        betas=(0.9, settings.adam_beta2),
        decoupled_weight_decay=settings.weight_decay > 0,
        fused=on_gpu,
        foreach=not on_gpu,
        capturable=recorded,
    )


def set_rates(optimizer: torch.optim.Optimizer, settings: TrainSettings, iteration: int) -> None:
    """Give every group its rate for this iteration, counted from 0."""
    rate = learning_rate(settings, iteration)
    of_heads = attention_scale(settings, iteration)
    for group in optimizer.param_groups:
        scale = of_heads if group["attention_head"] else 1.0
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate * scale)
        else:
            group["lr"] = rate * scale


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """``load_state_dict`` that keeps this machine's kind of Adam: a GPU run's file may go on on the CPU."""
    kept = [
        {k: group[k] for k in ("lr", "fused", "foreach", "capturable", "attention_head", "matrices")}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, kept, strict=True):
        group.update(own)
        for parameter in group["params"]:
            on_device = (own["fused"] or own["capturable"]) and not own["matrices"]
            of_parameter = optimizer.state.get(parameter)
            if of_parameter:  # none before the first update
                of_parameter["step"] = of_parameter["step"].to(parameter.device if on_device else "cpu")


class WeightAverage:
    """An exponential moving average of a module's parameters: evaluated and shipped in their place.

    A decay of 0 follows the parameters exactly.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, iteration: int) -> None:
        """``iteration`` counts from 1; the horizon grows with it, so that early weights are soon forgotten."""
        decay = min(self.decay, iteration / (iteration + 9))
        average = get_ema_multi_avg_fn(decay)
        average(list(self.weights.values()), list(module.state_dict().values()), 0)

    def load(self, weights: dict[str, Tensor]) -> None:
        for name, value in self.weights.items():
            value.copy_(weights[name])
