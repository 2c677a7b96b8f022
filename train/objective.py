"""What is minimised: the variational bound for DRAW, cross-entropy for the classifier.

An objective wraps the model in a module whose forward gives the loss, so that data-parallel
gradients, compilation and graph capture see one call.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw


class BoundObjective(nn.Module):
    """The paper's loss, equation (12), in nats per image, averaged over the batch."""

    metric = "bound"  # lower is better
    # A validation figure this many times the best one, twice in a row, is a run that has fallen apart. The commonest way is
    # an exploded update after which the latents are ignored: 402 nats became 631 on pairs of digits.
    diverged = 1.25
    least = 0.0  # a best figure below this counts as this
    terms = ("bound", "reconstruction", "kl")

    def __init__(self, model: Draw) -> None:
        super().__init__()
        self.model = model

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """[count, T, Z] standard normal, fresh for every step."""
        config = self.model.config
        shape = (count, config.time_steps, config.latent_size)
        return torch.randn(shape, generator=generator, device=generator.device)

    def forward(self, images: Tensor, labels: Tensor | None, noise: Tensor) -> dict[str, Tensor]:
        """images [K, C, B, A] targets in [0, 1]; gives ``loss`` and the terms, means over the batch."""
        output = self.model(images, noise)
        loss = output.bound.mean()
        return {
            "loss": loss,
            "bound": loss.detach(),
            "reconstruction": output.reconstruction_loss.detach().mean(),
            "kl": output.latent_loss.detach().mean(),
        }


class GlimpseObjective(nn.Module):
    """Cross-entropy in nats. ``weighted``: after every glimpse t, weight (t/T)^2, scaled to sum 1.

    The paper's loss is the last glimpse's alone (``last``); the others teach the early glimpses to find
    the digit without a gradient through the whole chain.
    """

    metric = "error"
    diverged = 3.0  # as above; small percentages jump
    least = 10.0  # after a validation without any mistake one is no collapse
    terms = ("loss", "cross_entropy", "error")

    def __init__(self, model: GlimpseClassifier, glimpse_loss: str) -> None:
        super().__init__()
        self.model = model
        steps = model.config.time_steps
        if glimpse_loss == "weighted":
            weights = (torch.arange(1, steps + 1) / steps).square()
        else:
            weights = F.one_hot(torch.tensor(steps - 1), steps).float()
        self.weights: Tensor
        self.register_buffer("weights", weights / weights.sum(), persistent=False)

    def noise(self, count: int, generator: torch.Generator) -> Tensor | None:
        """The classifier is deterministic."""
        return None

    def forward(self, images: Tensor, labels: Tensor, noise: None) -> dict[str, Tensor]:
        """images [K, C, B, A], labels [K]; gives ``loss`` and the last glimpse's cross-entropy and error (%)."""
        logits = self.model(images).logits
        steps = logits.shape[1]
        entropy = F.cross_entropy(
            logits.flatten(0, 1), labels.repeat_interleave(steps), reduction="none"
        ).unflatten(0, (-1, steps))
        loss = (entropy.mean(0) * self.weights).sum()
        wrong = logits[:, -1].detach().argmax(1) != labels
        return {
            "loss": loss,
            "cross_entropy": entropy[:, -1].detach().mean(),
            "error": 100 * wrong.float().mean(),
        }


Objective = BoundObjective | GlimpseObjective


def make_objective(model: Draw | GlimpseClassifier, glimpse_loss: str) -> Objective:
    """The objective that fits the model."""
    return BoundObjective(model) if isinstance(model, Draw) else GlimpseObjective(model, glimpse_loss)
