"""The training loop: one for DRAW and the classifier, on CPU or CUDA, on one device or several.

Every iteration's randomness is a function of (seed, iteration): which images, their augmentation and the
noise. A run resumed from a checkpoint therefore repeats the uninterrupted one bit for bit, with no generator
state to carry, and a run on several devices trains on the same batches as on one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..console import Progress, note, progress
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, build_model, save_checkpoint, save_weights
from ..models.classifier import GlimpseClassifier
from ..models.config import ModelConfig
from ..models.draw import Draw
from ..runtime.noise import raw
from .cuda_graph import CapturedUpdate
from .ema import WeightAverage
from .evaluation import BoundFigures, ErrorFigures, evaluate_bound, evaluate_error
from .interrupt import Interrupt
from .logbook import Logbook
from .machine import describe_machine
from .objective import Objective, make_objective
from .optimizer import learning_rate, load_optimizer, make_optimizer, set_rates
from .settings import Hardware, RunFolder, TrainSettings
from .write_window import hold_write_windows, start_write_windows

if TYPE_CHECKING:
    from .data.dataset import Dataset, Split

LOG_EVERY = 50  # iterations between rows of metrics.csv and updates of the bar
EVALUATION_BATCH = 100


class Trainer:
    """Trains one model in one folder."""

    def __init__(
        self,
        settings: TrainSettings,
        config: ModelConfig,
        dataset: Dataset,
        folder: RunFolder,
        fabric: Fabric,
        hardware: Hardware,
        resume: Checkpoint | None = None,
        initial: Checkpoint | None = None,
    ) -> None:
        self.settings, self.config, self.dataset, self.folder, self.fabric = (
            settings,
            config,
            dataset,
            folder,
            fabric,
        )
        torch.manual_seed(settings.seed)  # of the initial weights only
        model = build_model(config)
        self.iteration, self.seconds = 0, 0.0
        self.best: float | None = None
        self._bad_evaluations = 0
        self._metrics: dict[str, Any] = {}
        # Of the terms since the last row of metrics.csv; saved, so that a resumed run's rows are the same too.
        self._sums: dict[str, Tensor] = {}
        self._counted = 0
        objective = make_objective(model, settings.glimpse_loss)
        self._machine = describe_machine(fabric.device, fabric.world_size)
        self._use_graph = hardware.cuda_graph and fabric.device.type == "cuda" and fabric.world_size == 1
        optimizer = make_optimizer(objective, settings, fabric.device, self._use_graph)
        if resume is not None:
            model.load_state_dict(_training_state(resume)["model"])
        elif initial is not None:
            model.load_state_dict(initial.weights)
        elif settings.write_window:
            start_write_windows(cast(Draw, model), settings.write_window)
        if hardware.compile:
            model.compile_step()
        self._objective: Objective = objective
        self._plain_optimizer = optimizer
        self._captured: CapturedUpdate | None = None
        self._forward, self.optimizer = fabric.setup(objective, optimizer)
        # The evaluated weights live in a model of their own, so that training's never move.
        self.average = WeightAverage(self.model, settings.ema_decay)
        self.evaluated = build_model(config).to(fabric.device).eval()
        if resume is not None:
            state = _training_state(resume)
            load_optimizer(optimizer, state["optimizer"])
            before = state.get("machine", self._machine)
            # Older versions wrote "1 x cpu" and no more.
            if fabric.is_global_zero and before not in (self._machine, self._machine.partition(" (")[0]):
                note(f"trained on {before} so far, now on {self._machine}: this run is not bit-exact")
            self.average.load(resume.weights)
            self.iteration, self.seconds, self.best = resume.iteration, state["seconds"], state["best"]
            self._bad_evaluations = state["bad_evaluations"]
            self._metrics = dict(resume.metrics)
            self._sums = {k: v.to(fabric.device) for k, v in state["sums"].items()}
            self._counted = state["counted"]

    @property
    def model(self) -> Draw | GlimpseClassifier:
        """The network being trained, without the wrappers around it."""
        return self._objective.model

    # -- one iteration ------------------------------------------------------------------------------------

    def indices(self, iteration: int) -> Tensor:
        """Which training images: epochs are shuffles without replacement, cut into batches that may span two."""
        size, batch = self.dataset.train_size, self.settings.batch_size
        first = iteration * batch
        parts = []
        for epoch in range(first // size, (first + batch - 1) // size + 1):
            low, high = max(first - epoch * size, 0), min(first + batch - epoch * size, size)
            parts.append(self._shuffle(epoch)[low:high])
        return torch.cat(parts).to(self.fabric.device)

    def _shuffle(self, epoch: int) -> Tensor:
        cached = getattr(self, "_shuffled", None)
        if cached is None or cached[0] != epoch:
            generator = torch.Generator().manual_seed(_derived_seed(self.settings.seed, 1, epoch))
            cached = self._shuffled = (epoch, torch.randperm(self.dataset.train_size, generator=generator))
        return cached[1]

    def step(self) -> dict[str, Tensor]:
        """One update; gives the objective's terms (device tensors: no synchronisation)."""
        settings, fabric = self.settings, self.fabric
        generator = torch.Generator(fabric.device).manual_seed(
            _derived_seed(settings.seed, 2, self.iteration)
        )
        batch = self.dataset.batch(self.indices(self.iteration), generator)
        noise = self._objective.noise(settings.batch_size, generator)
        images, labels = batch.images, batch.labels
        if fabric.world_size > 1:
            # Every rank draws the whole batch and keeps its share: the same training on any number of devices.
            mine = slice(fabric.global_rank, None, fabric.world_size)
            images = images[mine]
            labels = labels[mine] if labels is not None else None
            noise = noise[mine] if noise is not None else None
        set_rates(self._plain_optimizer, settings, self.iteration)
        if self._use_graph and self._captured is None:
            self._captured = CapturedUpdate(self._update, self._plain_optimizer, images, labels, noise)
        terms = (self._captured or self._update)(images, labels, noise)
        self.iteration += 1
        self.average.update(self.model, self.iteration)
        return terms

    def _update(self, images: Tensor, labels: Tensor | None, noise: Tensor | None) -> dict[str, Tensor]:
        """Forward, backward, clip, step."""
        self.optimizer.zero_grad()
        terms = self._forward(images, labels, noise)
        self.fabric.backward(terms["loss"])
        if self.settings.write_window:
            hold_write_windows(cast(Draw, self.model))
        norm = self.fabric.clip_gradients(
            self._forward,
            self.optimizer,
            max_norm=self.settings.clip_norm or math.inf,
            error_if_nonfinite=False,
        )
        self.optimizer.step()
        return {**{k: v.detach() for k, v in terms.items()}, "gradient_norm": cast(Tensor, norm)}

    # -- the run ------------------------------------------------------------------------------------------

    def run(self, on_evaluation: Callable[[Trainer], None]) -> Interrupt:
        """Train to the last iteration, or until interrupted; the last checkpoint is then on disk.

        Args:
            on_evaluation: called on the main process after each validation (draws the sample sheets).
        """
        settings, main = self.settings, self.fabric.is_global_zero
        terms = self._objective.terms
        columns = (
            *(f"train_{t}" for t in terms),
            "train_gradient_norm",
            *(f"valid_{t}" for t in terms),
            "valid_best",
        )
        logbook = Logbook(self.folder, columns, self.iteration) if main else None
        started, before, first = time.monotonic(), self.seconds, self.iteration
        self._forward.train()
        with Interrupt() as interrupt, progress(settings.preset, settings.iterations) as bar:
            bar.advance(self.iteration)
            try:
                while self.iteration < settings.iterations and interrupt.signal is None:
                    for name, value in self.step().items():
                        self._sums[name] = self._sums[name] + value if name in self._sums else value
                    self._counted += 1
                    bar.advance()
                    done = self.iteration == settings.iterations
                    evaluate = self.iteration % settings.eval_every == 0 or done
                    if self._counted >= LOG_EVERY or evaluate:
                        row = self._train_row(self.iteration - first, time.monotonic() - started)
                        first = self.iteration
                        self.seconds = before + time.monotonic() - started
                        started, before = time.monotonic(), self.seconds
                        self._sums, self._counted = {}, 0
                        bar.describe(f"{settings.preset}: {self._figures(row)}")
                        if evaluate:
                            row.update(self._validate())
                            started, before = time.monotonic(), self.seconds
                            bar.log(self._line(row))
                            self._metrics = {k: v for k, v in row.items() if k != "iteration"}
                            if main:
                                self._keep_best(row)
                                on_evaluation(self)
                        if logbook is not None:
                            logbook.write(row)
                    if self.iteration % settings.save_every == 0 or done:
                        self.save()
                if interrupt.signal is not None:
                    self.seconds = before + time.monotonic() - started
                    self.save()
            finally:
                if logbook is not None:
                    logbook.close()
        return interrupt

    def _train_row(self, updates: int, seconds: float) -> dict[str, Any]:
        """Means since the last row; throughput of the ``updates`` that took ``seconds`` in this process."""
        values = {k: float(v) / self._counted for k, v in self._sums.items()}
        if self.fabric.world_size > 1:
            values = {
                k: float(cast(Tensor, self.fabric.all_reduce(torch.tensor(v)))) for k, v in values.items()
            }
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient_norm"]):
            kept = self.folder.last if self.folder.last.exists() else None
            raise DrawError(
                f"the loss is no longer a finite number at iteration {self.iteration};"
                f" {f'{kept} holds the last good weights' if kept else 'nothing was saved yet'}; try a lower --lr"
            )
        row: dict[str, Any] = {
            "iteration": self.iteration,
            "seconds": self.seconds + seconds,
            "learning_rate": learning_rate(self.settings, self.iteration - 1),
            "images_per_second": updates * self.settings.batch_size / max(seconds, 1e-9),
        }
        row.update({f"train_{k}": values[k] for k in (*self._objective.terms, "gradient_norm")})
        return row

    def _figures(self, row: dict[str, Any]) -> str:
        """``train 28.66 nats = …; 3,195 images/s``: what stands on the bar."""
        parts = []
        for split in ("train", "valid"):
            if f"{split}_bound" in row:
                parts.append(
                    f"{split} {row[f'{split}_bound']:.2f} nats"
                    f" = {row[f'{split}_reconstruction']:.2f} + {row[f'{split}_kl']:.2f}"
                )
            elif f"{split}_error" in row:
                parts.append(
                    f"{split} {row[f'{split}_error']:.2f} % error, {row[f'{split}_cross_entropy']:.3f} nats"
                )
        return "; ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])

    def _line(self, row: dict[str, Any]) -> str:
        """The same with the place in the run: a line of its own, which has no bar beside it."""
        left = (
            (self.settings.iterations - row["iteration"])
            * self.settings.batch_size
            / row["images_per_second"]
        )
        place = f"{self.settings.preset} {row['iteration']:,}/{self.settings.iterations:,}"
        return f"{place}; {self._figures(row)}, {format_duration(left)} left"

    # -- evaluation and saving -----------------------------------------------------------------------------

    def refresh_evaluated(self) -> Draw | GlimpseClassifier:
        """The model with the weights that are evaluated and shipped: the EMA's."""
        self.evaluated.load_state_dict(self.average.weights)
        return self.evaluated

    def _validate(self) -> dict[str, Any]:
        figures = evaluate(
            self.refresh_evaluated(), self.dataset.evaluation("valid"), self.settings.eval_images
        )
        row = {f"valid_{k}": v for k, v in figures_to_terms(figures).items()}
        value = row[f"valid_{self._objective.metric}"]
        if self.best is not None and not value < self._objective.diverged * self.best + 1e-9:
            self._bad_evaluations += 1
            if self._bad_evaluations >= 2:
                raise DrawError(
                    f"the run has diverged: validation {self._objective.metric} {value:.2f} at iteration"
                    f" {self.iteration}, {self.best:.2f} at its best; {self.folder.best} keeps the best weights;"
                    " try a lower --lr or another --seed"
                )
        else:
            self._bad_evaluations = 0
        return row

    def _keep_best(self, row: dict[str, Any]) -> None:
        value = row[f"valid_{self._objective.metric}"]
        if self.best is None or value < self.best:
            self.best = value
            save_checkpoint(self.folder.best, self.weights_only())
            save_weights(self.folder.weights, self.weights_only())
        row["valid_best"] = self.best

    def weights_only(self) -> Checkpoint:
        """The evaluated weights and where they come from: what is exported and shipped."""
        return Checkpoint(
            self.config,
            self.settings.dataset,
            dict(self.average.weights),
            self.iteration,
            dict(self._metrics),
            picture_fit=self.dataset.picture_fit,
        )

    def save(self) -> None:
        """Write ``last.ckpt``, which ``--resume`` continues from."""
        if not self.fabric.is_global_zero:
            return
        if not all(bool(torch.isfinite(w).all()) for w in self.average.weights.values()):
            return  # never replace a good checkpoint by a broken one; the next log line reports the loss
        checkpoint = self.weights_only()
        checkpoint.training = {
            "settings": self.settings.to_dict(),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "machine": self._machine,
            "train_size": self.dataset.train_size,
            "seconds": self.seconds,
            "best": self.best,
            "bad_evaluations": self._bad_evaluations,
            "sums": dict(self._sums),
            "counted": self._counted,
        }
        save_checkpoint(self.folder.last, checkpoint)


def evaluate(
    model: Draw | GlimpseClassifier,
    evaluation: Split,
    limit: int | None = None,
    bar: Progress | None = None,
) -> BoundFigures | ErrorFigures:
    """The figures that fit the model, on ``limit`` images of a fixed set, evenly spread."""
    advance = bar.advance if bar else (lambda _: None)
    if isinstance(model, Draw):
        return evaluate_bound(model, evaluation, EVALUATION_BATCH, limit, advance=advance)
    return evaluate_error(model, evaluation, EVALUATION_BATCH, limit, advance=advance)


def figures_to_terms(figures: BoundFigures | ErrorFigures) -> dict[str, float]:
    """Figures under the names that ``metrics.csv`` uses."""
    if isinstance(figures, BoundFigures):
        return {"bound": figures.bound, "reconstruction": figures.reconstruction, "kl": figures.kl}
    return {"error": figures.error, "cross_entropy": figures.cross_entropy}


def format_duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _training_state(checkpoint: Checkpoint) -> dict[str, Any]:
    if checkpoint.training is None:
        raise DrawError("this is a weights-only checkpoint: it cannot be resumed (last.ckpt of a run can)")
    return checkpoint.training


def _derived_seed(seed: int, purpose: int, counter: int) -> int:
    """A seed for one generator of one iteration or epoch. 32 bits: torch's CPU generator uses no more."""
    mixed = raw(seed, np.array([purpose], np.uint64))[0]
    return int(raw(mixed, np.array([counter], np.uint64))[0] >> 32)
