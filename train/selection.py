"""Which weights are evaluated, and which of them are kept: best.ckpt, and the guard against a run that falls apart."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..errors import DrawError
from ..models.checkpoint import Checkpoint, build_model, save_checkpoint, save_weights
from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw
from .data.dataset import Dataset
from .data.registry import saw_validation
from .evaluation.figures import (
    EVALUATION_SEED,
    BoundFigures,
    ErrorFigures,
    evaluate,
    figures_to_terms,
    image_noise,
)
from .settings import RunFolder
from .stages import Start
from .update import Update

# What decides between equal figures: a small validation set has few different error rates.
_TIE_BREAKERS = {"error": ("cross_entropy",)}


class BestWeights:
    """The averaged weights of one stage: their validations, and the best of them on the disk."""

    def __init__(self, start: Start, dataset: Dataset, folder: RunFolder, update: Update) -> None:
        self.config, self.settings = start.place.stage.config, start.settings
        self.dataset, self.folder = dataset, folder
        self._objective, self._average, self._fabric = update.objective, update.average, update.fabric
        # The evaluated weights live in a model of their own, so that training's never move.
        self._model = build_model(self.config).to(update.fabric.device).eval()
        # Validations all use the same noise: 13 million numbers at the paper's sizes, made once.
        self._noise = (
            functools.cache(functools.partial(image_noise, self._model, EVALUATION_SEED))
            if isinstance(self._model, Draw)
            else None
        )
        metric = self._objective.metric
        self._ranked = (metric, *_TIE_BREAKERS.get(metric, ()))
        self._best: tuple[float, ...] | None = None  # the figure, and what decides between equal ones
        self._bad_evaluations = 0
        self._metrics: dict[str, Any] = {}
        # Weights that were trained on the validation pictures stay such, whatever they are trained on next.
        before = start.resume or start.initial
        self.saw_validation = before is not None and saw_validation(before, dataset)
        source = before if before is not None and self.saw_validation else dataset
        self._trained_on = source.train_size, source.train_checksum

    @property
    def best(self) -> float | None:
        """The figure of the best validation so far."""
        return None if self._best is None else self._best[0]

    def refresh(self) -> Draw | GlimpseClassifier:
        """The model with the weights that are evaluated and shipped: the EMA's."""
        self._model.load_state_dict(self._average.weights)
        return self._model

    def validation(self, advance: Callable[[int], None] = lambda _: None) -> BoundFigures | ErrorFigures:
        """The figures of the evaluated weights as they are now."""
        split, limit = self.dataset.evaluation("valid"), self.settings.eval_images
        return evaluate(self.refresh(), split, limit=limit, noise=self._noise, advance=advance)

    def validate(self, iteration: int) -> dict[str, Any]:
        """The figures under their names in metrics.csv.

        Raises:
            DrawError: the second time in a row that they are far from the best.
        """
        row = {f"valid_{k}": v for k, v in figures_to_terms(self.validation()).items()}
        objective = self._objective
        value = row[f"valid_{objective.metric}"]
        limit = math.inf if self.best is None else objective.diverged * max(self.best, objective.least) + 1e-9
        if value < limit:
            self._bad_evaluations = 0
            return row
        self._bad_evaluations += 1
        if self._bad_evaluations >= 2:
            kept = (
                ""
                if self.best is None
                else f"; {self.folder.best} keeps the best weights, of {self.best:.2f}"
            )
            raise DrawError(
                f"the run has diverged: validation {objective.metric} {value:.2f} at iteration"
                f" {iteration}{kept}; try a lower --lr or another --seed"
            )
        return row

    def validate_anew(self, iteration: int) -> dict[str, Any]:
        """The same of a run that was stopped, or killed, at what is now its end: a bad one counts once."""
        self._bad_evaluations = 0
        row = self.validate(iteration)
        self._metrics |= row
        return row

    def note(self, row: dict[str, Any]) -> None:
        """``row`` of metrics.csv, with a validation, is what checkpoints say of the weights from here on."""
        self._metrics = {k: v for k, v in row.items() if k != "iteration"}

    def keep(self, row: dict[str, Any], iteration: int) -> None:
        """Write the weights of the validation in ``row`` where they are the best so far, and add what is the best.

        Every process knows the best, and the main one writes it.
        """
        figures = tuple(row[f"valid_{name}"] for name in self._ranked)
        better = math.isfinite(figures[0]) and (self._best is None or figures < self._best)
        # Of digits that were trained on, the figure cannot choose, but for weights that have collapsed.
        write = better or (self.settings.all_digits and not self._bad_evaluations)
        if write and self._fabric.is_global_zero:
            best = self.weights_only(iteration)
            save_checkpoint(self.folder.best, best)
            save_weights(self.folder.weights, best)
        if better:
            self._best = figures
        row["valid_best"] = math.nan if self.best is None else self.best

    def weights_only(self, iteration: int) -> Checkpoint:
        """The evaluated weights and where they come from: what is exported and shipped."""
        return Checkpoint(
            self.config,
            self.settings.dataset,
            dict(self._average.weights),
            iteration,
            dict(self._metrics),
            picture_fit=self.dataset.picture_fit,
            binary=self.dataset.binary,
            figure_size=self.dataset.figure_size,
            train_size=self._trained_on[0],
            train_checksum=self._trained_on[1],
        )

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"best": self.best, "bad_evaluations": self._bad_evaluations}
        for name, value in zip(self._ranked[1:], (self._best or ())[1:], strict=False):
            state[f"best_{name}"] = value
        return state

    def load(self, state: dict[str, Any], metrics: dict[str, Any]) -> None:
        self._metrics = dict(metrics)
        self._bad_evaluations = int(state["bad_evaluations"])
        # The figure of a file that is gone would keep every later one from being written.
        best = state["best"] if self.folder.best.exists() else None
        others = (state[f"best_{name}"] for name in self._ranked[1:]) if best is not None else ()
        self._best = None if best is None else (float(best), *map(float, others))
