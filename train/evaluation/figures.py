"""Figures on fixed sets: the bound with its standard error, the importance-weighted bound, the error rate."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.classifier import GlimpseClassifier
from ...models.draw import Draw
from ...runtime.confusion import counted
from ...runtime.error_rate import ErrorRate
from ...runtime.noise import noise as stream_noise
from ..data.dataset import Batch, Split
from .calibration import Calibration, calibrate

EVALUATION_SEED = 0  # of the noise stream; picture k of the set uses the stream's image k
EVALUATION_BATCH = 100
Advance = Callable[[int], None]
Noise = Callable[[int, int], Tensor]  # (first image, count) to [count, T, Z]


@dataclass(frozen=True)
class BoundFigures:
    """Means over the images, in nats."""

    per_image: np.ndarray  # the bounds, float64 [images]
    reconstruction: float = math.nan  # where only the bound is known (an ONNX scorer)
    kl_per_step: tuple[float, ...] = ()  # T values; empty where only the bound is known

    @property
    def images(self) -> int:
        return len(self.per_image)

    @property
    def bound(self) -> float:
        return float(self.per_image.mean())

    @property
    def standard_error(self) -> float:
        """NaN for one image."""
        return _standard_error(self.per_image)

    @property
    def kl(self) -> float:
        return sum(self.kl_per_step) if self.kl_per_step else math.nan

    def __str__(self) -> str:
        parts = f"reconstruction {self.reconstruction:.2f} + KL {self.kl:.2f}, " if self.kl_per_step else ""
        # One image has no standard error.
        error = f" ± {self.standard_error:.2f}" if self.images > 1 else ""
        plural = "s" if self.images > 1 else ""
        return f"{self.bound:.2f}{error} nats ({parts}{self.images:,} image{plural})"


@dataclass(frozen=True)
class ErrorFigures(ErrorRate):
    """Wrong answers, and how sure the answers were."""

    cross_entropy: float  # nats
    calibration: Calibration
    confusion: np.ndarray  # int64 [classes, classes]: how often [right class, answer]

    @property
    def error(self) -> float:
        """Per cent."""
        return 100 * self.rate


@torch.no_grad()
def evaluate(
    model: Draw | GlimpseClassifier,
    evaluation: Split,
    batch: int = EVALUATION_BATCH,
    limit: int | None = None,
    seed: int = EVALUATION_SEED,
    advance: Advance = lambda _: None,
    noise: Noise | None = None,
) -> BoundFigures | ErrorFigures:
    """The figures that fit the model, on ``limit`` images of a fixed set, evenly spread, or on all.

    The bound of every image is with one noise draw, from the stream: the same figure on every machine. ``noise`` is
    :func:`image_noise` for this model and seed, and may keep what it made for the next time. The error rate is after
    the last glimpse.
    """
    parts = slices(evaluation, batch, limit)
    if not isinstance(model, Draw):
        return error_figures(answers(lambda images: model(images).answer, parts, advance))
    noise = noise or functools.partial(image_noise, model, seed)
    bounds, reconstructions, kls = [], [], []
    for start, part in parts:
        output = model(part.images, noise(start, len(part.images)))
        bounds.append(output.bound.double().cpu())
        reconstructions.append(output.reconstruction_loss.double().cpu())
        kls.append(output.kl.double().cpu())
        advance(len(part.images))
    kl_per_step = tuple(torch.cat(kls).mean(0).tolist())
    return BoundFigures(torch.cat(bounds).numpy(), float(torch.cat(reconstructions).mean()), kl_per_step)


def figures_to_terms(figures: BoundFigures | ErrorFigures) -> dict[str, float]:
    """Figures under the names that ``metrics.csv`` uses."""
    if isinstance(figures, BoundFigures):
        return {"bound": figures.bound, "reconstruction": figures.reconstruction, "kl": figures.kl}
    return {"error": figures.error, "cross_entropy": figures.cross_entropy}


def as_metrics(figures: BoundFigures | ErrorFigures) -> dict[str, float]:
    """Figures of the whole test set under the names that a checkpoint's metrics and cards have them by."""
    if isinstance(figures, BoundFigures):
        values = {"bound": figures.bound, "standard_error": figures.standard_error}
    else:
        low, high = figures.interval
        values = {"error": figures.error, "error_low": 100 * low, "error_high": 100 * high}
    return {f"test_{name}": round(value, 4) for name, value in values.items()} | {
        "test_images": figures.images
    }


def slices(evaluation: Split, batch: int, limit: int | None) -> Iterator[tuple[int, Batch]]:
    """(first index, batch) over all images, or over ``limit`` of them, evenly spread and counted from 0."""
    chosen = evaluation.spread(limit) if limit else evaluation
    for start in range(0, len(chosen), batch):
        yield start, chosen.slice(start, start + batch)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


@torch.no_grad()
def evaluate_importance(
    model: Draw,
    evaluation: Split,
    samples: int,
    batch: int = 100,
    limit: int | None = None,
    seed: int = EVALUATION_SEED,
    advance: Advance = lambda _: None,
) -> tuple[float, float]:
    """Importance-weighted bound with K samples (Burda et al. 2016), mean and standard error in nats.

    -log 1/K sum_k p(x, z_k) / q(z_k | x), with the exact log densities of the noise drawn: the analytic KL
    of the plain bound is an expectation and would not do here. Samples are taken in turn and accumulated by
    log-sum-exp, so that memory does not grow with K. Sample j of image i uses the stream's image j n + i, where
    n is the size of the whole set.
    """
    total = len(evaluation)
    results = []
    for start, part in slices(evaluation, batch, limit):
        count = len(part.images)
        log_sum = torch.full((count,), -math.inf, dtype=torch.float64, device=part.images.device)
        for sample in range(samples):
            noise = image_noise(model, seed, sample * total + start, count)
            log_sum = torch.logaddexp(log_sum, log_weight(model, part.images, noise).double())
            advance(count)
        results.append((math.log(samples) - log_sum).cpu())
    values = torch.cat(results).numpy()
    return float(values.mean()), _standard_error(values)


def log_weight(model: Draw, x: Tensor, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z | x) for z = mu + sigma eps: [K] nats. Its negative has the bound's expectation."""
    output = model(x, noise, keep_steps=True)
    steps = output.steps
    assert steps is not None
    # log N(z; 0, 1) - log N(z; mu, sigma): the 2 pi cancel, and (z - mu) / sigma is the noise itself.
    log_ratio = 0.5 * (noise.square() - steps.z.square()) + steps.log_sigma
    return log_ratio.flatten(1).sum(1) - output.reconstruction_loss


def answers(
    logits: Callable[[Tensor], Tensor], parts: Iterable[tuple[int, Batch]], advance: Advance
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and right classes of batches with labels."""
    for _, part in parts:
        assert part.labels is not None
        yield logits(part.images), part.labels
        advance(len(part.labels))


def error_figures(batches: Iterable[tuple[Tensor, Tensor]]) -> ErrorFigures:
    """From batches of logits [k, classes] and right classes [k], one of them at least."""
    entropy, classes, confidences, given, right = 0.0, 0, [], [], []
    for logits, labels in batches:
        if not bool(torch.isfinite(logits).all()):
            raise DrawError(
                "the classifier's answers are no finite numbers: its weights are damaged, or it diverged"
            )
        entropy += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        classes = logits.shape[1]
        confidences.append(logits.double().softmax(1).amax(1).cpu().numpy())
        given.append(logits.argmax(1).cpu().numpy())
        right.append(labels.cpu().numpy())
    chosen, truth = np.concatenate(given), np.concatenate(right)
    is_right = chosen == truth
    return ErrorFigures(
        len(is_right),
        int((~is_right).sum()),
        entropy / len(is_right),
        calibrate(np.concatenate(confidences), is_right),
        counted(truth, chosen, classes),
    )


def image_noise(model: Draw, seed: int, start: int, count: int) -> Tensor:
    """The stream's noise for images start.. of a seed, on the model's device: [count, T, Z]"""
    config = model.config
    values = stream_noise(seed, start, count, config.time_steps, config.latent_size)
    return torch.from_numpy(values).to(model.initial_canvas)
