"""The training loop: one for DRAW and the classifier, on CPU or CUDA, on one device or several.

What changes from update to update is in its parts, each of which saves and loads its own state: the weights (update.py),
the validations and the best of them (selection.py), the means of the next row of metrics.csv (running_means.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..console import Progress, note, progress
from ..errors import DrawError, first_line
from ..models.checkpoint import Checkpoint, save_checkpoint
from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw
from .clock import Clock
from .data.dataset import Dataset
from .interrupt import Interrupt
from .logbook import Logbook
from .machine import describe_machine, is_about_compiling
from .optimizer import learning_rate
from .report import figures, line
from .running_means import RunningMeans
from .selection import BestWeights
from .settings import Hardware, RunFolder
from .stages import Start, reading_state
from .update import Update

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOG_EVERY = 50  # iterations between rows of metrics.csv and updates of the bar


class Trainer:
    """Trains one stage of a run in one folder. ``iteration`` counts over the whole run."""

    def __init__(
        self, start: Start, dataset: Dataset, folder: RunFolder, fabric: Fabric, hardware: Hardware
    ) -> None:
        self.place = start.place
        self.settings, self.config = start.settings, start.place.stage.config
        self.dataset, self.folder, self.fabric = dataset, folder, fabric
        self._machine = describe_machine(fabric.device, fabric.world_size)
        self.iteration = start.place.first
        self.clock = Clock(fabric.device, start.seconds)
        self.update = Update(start, dataset, fabric, hardware)
        self.selection = BestWeights(start, dataset, folder, self.update)
        self.means = RunningMeans(fabric)
        if start.resume is not None:
            self._load(start.resume)
        self._last_row = self.iteration, self.clock.seconds

    @property
    def model(self) -> Draw | GlimpseClassifier:
        """The network being trained, without the wrappers around it."""
        return self.update.model

    def step(self) -> dict[str, Tensor]:
        """One update; gives the objective's terms (device tensors: no synchronisation)."""
        terms = self.update.step(self.iteration)
        self.iteration += 1
        return terms

    # -- the stage ----------------------------------------------------------------------------------------

    def run(self, interrupt: Interrupt, on_evaluation: Callable[[Trainer], None] = lambda _: None) -> None:
        """Train to the stage's last iteration, or until interrupted; the last checkpoint is then on disk.

        Args:
            interrupt: its ``signal`` says afterwards whether the stage was stopped.
            on_evaluation: called on the main process after each validation (draws the sample sheets).
        """
        logbook = self._open_logbook()
        with progress(self.settings.preset, self.place.total) as bar:
            bar.advance(self.iteration)
            try:
                if self.iteration == self.place.end:  # it was stopped, or killed, at what is now its end
                    self._validated_anew(on_evaluation, bar, logbook)
                self._compile(interrupt)
                self._train(interrupt, on_evaluation, bar, logbook)
                interrupt.stop()  # or one that came in the stage's last step would be lost
                if interrupt.signal is not None and not self.save():
                    raise DrawError(
                        f"stopped at iteration {self.iteration:,}, where weights are no finite numbers: they were not saved;"
                        " try a lower --lr, a --clip, or another --seed"
                    )
            finally:
                self.clock.stop()
                if logbook is not None:
                    logbook.close()

    def _validated_anew(
        self, on_evaluation: Callable[[Trainer], None], bar: Progress, logbook: Logbook | None
    ) -> None:
        """What follows a stage's last update, of a run that was stopped or killed there; what was written is not again."""
        unwritten = self.means.counted > 0
        row = {**(self._row() if unwritten else {}), **self.selection.validate_anew(self.iteration)}
        self.selection.keep(row, self.iteration)
        if unwritten:
            bar.log(line(row, self.place))
            if self.fabric.is_global_zero:
                on_evaluation(self)
            if logbook is not None:
                logbook.write(row)
            self.save()  # also the length that the run has now

    def _compile(self, interrupt: Interrupt) -> None:
        """Before the first update, so that a compiler that fails, or is ended, leaves nothing half done."""
        if self.iteration == self.place.end or interrupt.heard:
            return
        try:
            self.update.prepare(self.iteration)
        except Exception as error:
            if not is_about_compiling(error):
                raise
            if interrupt.heard:  # a terminal's Ctrl-C ends the C++ compiler as well
                return
            reason = first_line(error, 200)
            raise DrawError(f"torch.compile does not work here ({reason}): give --no-compile") from error

    def _train(
        self,
        interrupt: Interrupt,
        on_evaluation: Callable[[Trainer], None],
        bar: Progress,
        logbook: Logbook | None,
    ) -> None:
        settings, end = self.settings, self.place.end
        while self.iteration < end and not interrupt.stop():
            self.clock.start()
            self.means.add(self.step())
            bar.advance()
            done = self.iteration - self.place.first
            evaluate_now = done % settings.eval_every == 0 or self.iteration == end
            if self.means.counted >= LOG_EVERY or evaluate_now:
                self.clock.stop()
                row = self._row()
                bar.describe(f"{settings.preset}: {figures(row)}")
                if evaluate_now:
                    row.update(self.selection.validate(self.iteration))
                    bar.log(line(row, self.place))
                    self.selection.note(row)
                    self.selection.keep(row, self.iteration)
                    if self.fabric.is_global_zero:
                        on_evaluation(self)
                if logbook is not None:
                    logbook.write(row)
            # best.ckpt alone cannot be resumed.
            unsaved = evaluate_now and not self.folder.last.exists()
            if done % settings.save_every == 0 or self.iteration == end or unsaved:
                self.save()

    def _open_logbook(self) -> Logbook | None:
        """metrics.csv and the events; the main process writes them."""
        if not self.fabric.is_global_zero:
            return None
        terms = self.update.objective.terms
        columns = [f"train_{t}" for t in (*terms, "gradient_norm")] + [f"valid_{t}" for t in (*terms, "best")]
        return Logbook(self.folder, tuple(columns), self.iteration)

    def _row(self) -> dict[str, Any]:
        """Of metrics.csv: the means and the speed since the last one.

        Raises:
            DrawError: the loss is no longer a finite number.
        """
        values = self.means.take()
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient_norm"]):
            kept = self.folder.last if self.folder.last.exists() else None
            raise DrawError(
                f"the loss is no longer a finite number at iteration {self.iteration};"
                f" {f'{kept} holds the last good weights' if kept else 'nothing was saved yet'}; try a lower --lr"
            )
        since, seconds = self._last_row
        self._last_row = self.iteration, self.clock.seconds
        pictures = (self.iteration - since) * self.settings.batch_size
        row: dict[str, Any] = {
            "iteration": self.iteration,
            "stage": self.place.index + 1,
            "seconds": self.clock.seconds,
            "learning_rate": learning_rate(self.settings, self.iteration - self.place.first - 1),
            "images_per_second": pictures / max(self.clock.seconds - seconds, 1e-9),
        }
        row.update({f"train_{k}": values[k] for k in (*self.update.objective.terms, "gradient_norm")})
        return row

    # -- the checkpoint -----------------------------------------------------------------------------------

    def weights_only(self) -> Checkpoint:
        """The evaluated weights as they are now."""
        return self.selection.weights_only(self.iteration)

    def save(self) -> bool:
        """Write ``last.ckpt``, which ``--resume`` continues from; whether there was something worth it.

        A good checkpoint is never replaced by a broken one; the next row reports the loss.
        """
        if not all(bool(torch.isfinite(w).all()) for w in self.update.average.weights.values()):
            return False
        if not self.fabric.is_global_zero:
            return True
        self.clock.stop()
        checkpoint = self.weights_only()
        checkpoint.training = {
            "settings": self.settings.to_dict(),
            "stages": self.place.to_dict(),
            **self.update.state(),
            "machine": self._machine,
            **self.dataset.fingerprint,
            "seconds": self.clock.seconds,
            **self.selection.state(),
            **self.means.state(),
        }
        save_checkpoint(self.folder.last, checkpoint)
        return True

    def _load(self, checkpoint: Checkpoint) -> None:
        """What :meth:`save` wrote.

        Raises:
            DrawError: a damaged training state.
        """
        with reading_state(self.folder.last):
            state = checkpoint.training or {}
            self.update.load(state, checkpoint.weights)
            self.selection.load(state, checkpoint.metrics)
            self.means.load(state)
            self.clock.seconds = float(state["seconds"])
            before = state["machine"]
        self.iteration = checkpoint.iteration
        if self.fabric.is_global_zero and before != self._machine:
            note(f"trained on {before} so far, now on {self._machine}: this run is not bit-exact")
