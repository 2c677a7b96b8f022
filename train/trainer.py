"""The training loop: one for DRAW and the classifier, on CPU or CUDA, on one device or several.

Every iteration's randomness is a function of (seed, iteration): which images, their augmentation and the
noise. A run resumed from a checkpoint therefore repeats the uninterrupted one bit for bit, with no generator
state to carry, and a run on several devices trains on the same batches as on one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..console import note, progress
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, build_model, save_checkpoint, save_weights
from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw
from ..models.growth import grown
from .clock import Clock
from .cuda_graph import CapturedUpdate
from .data.dataset import Dataset
from .evaluation.figures import (
    EVALUATION_SEED,
    BoundFigures,
    ErrorFigures,
    evaluate,
    figures_to_terms,
    image_noise,
)
from .interrupt import Interrupt
from .logbook import Logbook
from .machine import agree_on_largest, describe_machine, is_about_compiling
from .objective import Objective, make_objective
from .optimizer import WeightAverage, learning_rate, load_optimizer, make_optimizer, set_rates
from .order import Order, derived_seed
from .report import figures, line
from .settings import Hardware, RunFolder
from .stages import Start, reading_state
from .write_window import hold_write_windows, start_write_windows

LOG_EVERY = 50  # iterations between rows of metrics.csv and updates of the bar


class Trainer:
    """Trains one stage of a run in one folder. ``iteration`` counts over the whole run."""

    def __init__(
        self, start: Start, dataset: Dataset, folder: RunFolder, fabric: Fabric, hardware: Hardware
    ) -> None:
        self.place = start.place
        self.settings, self.config = start.settings, start.place.stage.config
        self.dataset, self.folder, self.fabric = dataset, folder, fabric
        settings = self.settings
        torch.manual_seed(settings.seed)  # of the initial weights only
        model = build_model(self.config)
        if settings.precision == "bf16-mixed":
            model.product_dtype = torch.bfloat16
        self.iteration = start.place.first
        self.clock = Clock(fabric.device, start.seconds)
        self.best: float | None = None
        self._bad_evaluations = 0
        self._metrics: dict[str, Any] = {}
        # Of the terms since the last row of metrics.csv; saved, so that a resumed run's rows are the same too.
        self._sums: dict[str, Tensor] = {}
        self._counted = 0
        self._order = Order(dataset.train_size, settings.batch_size, settings.seed, fabric.device)
        self._objective: Objective = make_objective(model, settings.glimpse_loss)
        self._agree = agree_on_largest() if fabric.world_size > 1 else None
        self._machine = describe_machine(fabric.device, fabric.world_size)
        self._use_graph = hardware.cuda_graph and fabric.device.type == "cuda" and fabric.world_size == 1
        optimizer = make_optimizer(self._objective, settings, fabric.device, self._use_graph)
        state = start.resume.training if start.resume is not None else None
        if state is not None:
            with reading_state(folder.last):
                model.load_state_dict(state["model"])
                if not all(bool(torch.isfinite(w).all()) for w in model.state_dict().values()):
                    raise ValueError("a weight is NaN or infinity")
        elif start.initial is not None:
            initial = start.initial
            fresh = model.state_dict()  # on the CPU still, where the stage before had its weights on a GPU
            weights = {name: weight.cpu() for name, weight in initial.weights.items()}
            model.load_state_dict(grown(weights, initial.config, self.config, fresh))
        elif settings.write_window:
            start_write_windows(cast(Draw, model), settings.write_window)
        if settings.compile:
            # Graphs of earlier stages and runs count towards one limit, past which chunks silently run uncompiled.
            torch.compiler.reset()
            model.compile_chunk()
        self._plain_optimizer = optimizer
        self._captured: CapturedUpdate | None = None
        self._forward, self.optimizer = fabric.setup(self._objective, optimizer)
        # The evaluated weights live in a model of their own, so that training's never move.
        self.average = WeightAverage(self.model, settings.ema_decay)
        self.evaluated = build_model(self.config).to(fabric.device).eval()
        # Validations all use the same noise: 13 million numbers at the paper's sizes, made once.
        self._noise = functools.cache(
            functools.partial(image_noise, cast(Draw, self.evaluated), EVALUATION_SEED)
        )
        if start.resume is not None and state is not None:
            self._check_machine(state.get("machine", self._machine))
            self.iteration = start.resume.iteration
            self._metrics = dict(start.resume.metrics)
            with reading_state(folder.last):
                self.average.load(start.resume.weights)
                load_optimizer(optimizer, state["optimizer"])
                # The figure of a file that is gone would keep every later one from being written.
                best = state["best"] if folder.best.exists() else None
                self.best = None if best is None else float(best)
                self.clock.seconds = float(state["seconds"])
                self._bad_evaluations, self._counted = int(state["bad_evaluations"]), int(state["counted"])
                self._sums = {k: v.to(fabric.device) for k, v in state["sums"].items()}

    @property
    def model(self) -> Draw | GlimpseClassifier:
        """The network being trained, without the wrappers around it."""
        return self._objective.model

    def _check_machine(self, before: str) -> None:
        # Older versions wrote "1 x cpu" and no more.
        if self.fabric.is_global_zero and before not in (self._machine, self._machine.partition(" (")[0]):
            note(f"trained on {before} so far, now on {self._machine}: this run is not bit-exact")

    # -- one iteration ------------------------------------------------------------------------------------

    def step(self) -> dict[str, Tensor]:
        """One update; gives the objective's terms (device tensors: no synchronisation)."""
        settings, fabric = self.settings, self.fabric
        seed = derived_seed(settings.seed, 2, self.iteration)
        generator = torch.Generator(fabric.device).manual_seed(seed)
        batch = self.dataset.batch(self._order.indices(self.iteration), generator)
        noise = self._objective.noise(settings.batch_size, generator)
        images, labels = batch.images, batch.labels
        if fabric.world_size > 1:
            # Every rank draws the whole batch and keeps its share: the same training on any number of devices.
            mine = slice(fabric.global_rank, None, fabric.world_size)
            images = images[mine]
            labels = labels[mine] if labels is not None else None
            noise = noise[mine] if noise is not None else None
        set_rates(self._plain_optimizer, settings, self.iteration - self.place.first)
        if self._use_graph and self._captured is None:
            self._captured = CapturedUpdate(self._update, self._plain_optimizer, images, labels, noise)
        terms = (self._captured or self._update)(images, labels, noise)
        self.iteration += 1
        self.average.update(self.model, self.iteration - self.place.first)
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

    # -- the stage ----------------------------------------------------------------------------------------

    def run(self, on_evaluation: Callable[[Trainer], None]) -> Interrupt:
        """Train to the stage's last iteration, or until interrupted; the last checkpoint is then on disk.

        Args:
            on_evaluation: called on the main process after each validation (draws the sample sheets).
        """
        settings, end = self.settings, self.place.end
        logbook = self._open_logbook()
        self._forward.train()
        since = self.iteration, self.clock.seconds  # of the last row
        with Interrupt() as interrupt, progress(settings.preset, self.place.total) as bar:
            bar.advance(self.iteration)
            try:
                if self.iteration == end:  # it was stopped, or killed, at what is now its end
                    self._bad_evaluations = 0  # a bad one counts once
                    self._metrics |= (row := self._validate())
                    if self.fabric.is_global_zero:
                        self._keep_best(row)
                while self.iteration < end and not interrupt.stop(self._agree):
                    self.clock.start()
                    try:
                        terms = self.step()
                    except Exception as error:
                        # A terminal's Ctrl-C ends the C++ compiler as well, before anything is updated.
                        if interrupt.heard and is_about_compiling(error):
                            continue
                        raise
                    for name, value in terms.items():
                        self._sums[name] = self._sums[name] + value if name in self._sums else value
                    self._counted += 1
                    bar.advance()
                    done = self.iteration - self.place.first
                    evaluate_now = done % settings.eval_every == 0 or self.iteration == end
                    if self._counted >= LOG_EVERY or evaluate_now:
                        self.clock.stop()
                        row = self._train_row(*since)
                        since = self.iteration, self.clock.seconds
                        bar.describe(f"{settings.preset}: {figures(row)}")
                        if evaluate_now:
                            row.update(self._validate())
                            bar.log(line(row, self.place))
                            self._metrics = {k: v for k, v in row.items() if k != "iteration"}
                            if self.fabric.is_global_zero:
                                self._keep_best(row)
                                on_evaluation(self)
                        if logbook is not None:
                            logbook.write(row)
                    # best.ckpt alone cannot be resumed.
                    unsaved = evaluate_now and not self.folder.last.exists()
                    if done % settings.save_every == 0 or self.iteration == end or unsaved:
                        self.save()
                interrupt.stop(self._agree)  # or one that came in the stage's last step would be lost
                if interrupt.signal is not None:
                    self.save()
            except Exception as error:
                # The same in a validation, whose row is then missing: what was saved before it counts.
                if interrupt.heard and is_about_compiling(error):
                    raise KeyboardInterrupt from error
                raise
            finally:
                self.clock.stop()
                if logbook is not None:
                    logbook.close()
        return interrupt

    def _open_logbook(self) -> Logbook | None:
        """metrics.csv and the events; the main process writes them."""
        if not self.fabric.is_global_zero:
            return None
        terms = self._objective.terms
        columns = [f"train_{t}" for t in (*terms, "gradient_norm")] + [f"valid_{t}" for t in (*terms, "best")]
        return Logbook(self.folder, tuple(columns), self.iteration)

    def _train_row(self, since: int, seconds: float) -> dict[str, Any]:
        """Means since the last row, and the speed since iteration ``since``, reached after ``seconds`` of updates."""
        values = {k: float(v) / self._counted for k, v in self._sums.items()}
        self._sums, self._counted = {}, 0
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
        pictures = (self.iteration - since) * self.settings.batch_size
        row: dict[str, Any] = {
            "iteration": self.iteration,
            "stage": self.place.index + 1,
            "seconds": self.clock.seconds,
            "learning_rate": learning_rate(self.settings, self.iteration - self.place.first - 1),
            "images_per_second": pictures / max(self.clock.seconds - seconds, 1e-9),
        }
        row.update({f"train_{k}": values[k] for k in (*self._objective.terms, "gradient_norm")})
        return row

    # -- evaluation and saving -----------------------------------------------------------------------------

    def refresh_evaluated(self) -> Draw | GlimpseClassifier:
        """The model with the weights that are evaluated and shipped: the EMA's."""
        self.evaluated.load_state_dict(self.average.weights)
        return self.evaluated

    def validation(self) -> BoundFigures | ErrorFigures:
        """The figures of the evaluated weights as they are now."""
        split = self.dataset.evaluation("valid")
        limit = self.settings.eval_images
        return evaluate(self.refresh_evaluated(), split, limit=limit, noise=self._noise)

    def _validate(self) -> dict[str, Any]:
        row = {f"valid_{k}": v for k, v in figures_to_terms(self.validation()).items()}
        value = row[f"valid_{self._objective.metric}"]
        objective = self._objective
        limit = math.inf if self.best is None else objective.diverged * max(self.best, objective.least) + 1e-9
        if not value < limit:
            self._bad_evaluations += 1
            if self._bad_evaluations >= 2:
                best = (
                    ""
                    if self.best is None
                    else f"; {self.folder.best} keeps the best weights, of {self.best:.2f}"
                )
                raise DrawError(
                    f"the run has diverged: validation {objective.metric} {value:.2f} at iteration"
                    f" {self.iteration}{best}; try a lower --lr or another --seed"
                )
        else:
            self._bad_evaluations = 0
        return row

    def _keep_best(self, row: dict[str, Any]) -> None:
        value = row[f"valid_{self._objective.metric}"]
        better = math.isfinite(value) and (self.best is None or value < self.best)
        # Of digits that were trained on, the figure cannot choose, but for weights that have collapsed.
        if better or (self.settings.all_digits and not self._bad_evaluations):
            save_checkpoint(self.folder.best, self.weights_only())
            save_weights(self.folder.weights, self.weights_only())
        if better:
            self.best = value
        row["valid_best"] = math.nan if self.best is None else self.best

    def weights_only(self) -> Checkpoint:
        """The evaluated weights and where they come from: what is exported and shipped."""
        return Checkpoint(
            self.config,
            self.settings.dataset,
            dict(self.average.weights),
            self.iteration,
            dict(self._metrics),
            picture_fit=self.dataset.picture_fit,
            binary=self.dataset.binary,
            figure_size=self.dataset.figure_size,
        )

    def save(self) -> None:
        """Write ``last.ckpt``, which ``--resume`` continues from."""
        if not self.fabric.is_global_zero:
            return
        self.clock.stop()
        if not all(bool(torch.isfinite(w).all()) for w in self.average.weights.values()):
            return  # never replace a good checkpoint by a broken one; the next log line reports the loss
        checkpoint = self.weights_only()
        checkpoint.training = {
            "settings": self.settings.to_dict(),
            "stages": self.place.to_dict(),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "machine": self._machine,
            "train_size": self.dataset.train_size,
            "train_checksum": self.dataset.train_checksum,
            "seconds": self.clock.seconds,
            "best": self.best,
            "bad_evaluations": self._bad_evaluations,
            "sums": dict(self._sums),
            "counted": self._counted,
        }
        save_checkpoint(self.folder.last, checkpoint)
