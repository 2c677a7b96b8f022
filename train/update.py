"""One update of the weights: its pictures and noise, the rates, forward, backward, clip and step, and the average.

Every iteration's randomness is a function of (seed, iteration): which images, their augmentation and the
noise. A run resumed from a checkpoint therefore repeats the uninterrupted one bit for bit, with no generator
state to carry, and a run on several devices trains on the same batches as on one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ..models.checkpoint import build_model
from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw
from ..models.growth import grown
from .cuda_graph import CapturedUpdate
from .data.dataset import Dataset
from .objective import Objective, make_objective
from .optimizer import WeightAverage, load_optimizer, make_optimizer, set_rates
from .order import Order, derived_seed
from .settings import Hardware
from .stages import Start
from .write_window import hold_write_windows, start_write_windows

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Inputs = tuple[Tensor, Tensor | None, Tensor | None]  # pictures, labels, noise


class Update:
    """What an update changes: the weights, their average, the optimiser's state; nothing else has state."""

    def __init__(self, start: Start, dataset: Dataset, fabric: Fabric, hardware: Hardware) -> None:
        settings = self.settings = start.settings
        self.dataset, self.fabric = dataset, fabric
        self._first = start.place.first  # schedules count from here
        model = first_model(start)
        self.objective: Objective = make_objective(model, settings.glimpse_loss)
        self._use_graph = hardware.cuda_graph and fabric.device.type == "cuda" and fabric.world_size == 1
        self._plain_optimizer = make_optimizer(self.objective, settings, fabric.device, self._use_graph)
        if settings.compile:
            # Graphs of earlier stages and runs count towards one limit, past which chunks silently run uncompiled.
            torch.compiler.reset()
            model.compile_chunk()
        self._captured: CapturedUpdate | None = None
        self._forward, self.optimizer = fabric.setup(self.objective, self._plain_optimizer)
        self._forward.train()
        self.average = WeightAverage(self.model, settings.ema_decay)
        self._order = Order(dataset.train_size, settings.batch_size, settings.seed, fabric.device)

    @property
    def model(self) -> Draw | GlimpseClassifier:
        """The network being trained, without the wrappers around it."""
        return self.objective.model

    def indices(self, iteration: int) -> Tensor:
        """Which training pictures the update of ``iteration`` sees, on all devices together."""
        return self._order.indices(iteration)

    def inputs(self, iteration: int) -> Inputs:
        """What the update of ``iteration`` is made on, by this process."""
        settings, fabric = self.settings, self.fabric
        seed = derived_seed(settings.seed, 2, iteration)
        generator = torch.Generator(fabric.device).manual_seed(seed)
        batch = self.dataset.batch(self.indices(iteration), generator)
        noise = self.objective.noise(settings.batch_size, generator)
        images, labels = batch.images, batch.labels
        if fabric.world_size > 1:
            # Every rank draws the whole batch and keeps its share: the same training on any number of devices.
            mine = slice(fabric.global_rank, None, fabric.world_size)
            images = images[mine]
            labels = labels[mine] if labels is not None else None
            noise = noise[mine] if noise is not None else None
        return images, labels, noise

    def prepare(self, iteration: int) -> None:
        """Compile what is to be compiled, on the inputs of ``iteration``, and change nothing.

        By this process alone: the gradients go nowhere, and no other process is asked for its own.
        """
        if not self.settings.compile:
            return
        inputs = self.inputs(iteration)
        if self._use_graph:
            self._capture(inputs)  # its warm-up compiles
        else:
            weights = [p for p in self.objective.parameters() if p.requires_grad]
            torch.autograd.grad(self.objective(*inputs)["loss"], weights, allow_unused=True)

    def step(self, iteration: int) -> dict[str, Tensor]:
        """The update of ``iteration``; gives the objective's terms (device tensors: no synchronisation)."""
        inputs = self.inputs(iteration)
        set_rates(self._plain_optimizer, self.settings, iteration - self._first)
        terms = self.on(*inputs)
        self.average.update(self.model, iteration + 1 - self._first)
        return terms

    def on(self, images: Tensor, labels: Tensor | None, noise: Tensor | None) -> dict[str, Tensor]:
        """Forward, backward, clip and step on these inputs, at the rates as they are; the average stays."""
        if not self._use_graph:
            return self._update(images, labels, noise)
        return self._capture((images, labels, noise))(images, labels, noise)

    def _capture(self, inputs: Inputs) -> CapturedUpdate:
        if self._captured is None:
            self._captured = CapturedUpdate(self._update, self._plain_optimizer, *inputs)
        return self._captured

    def _update(self, images: Tensor, labels: Tensor | None, noise: Tensor | None) -> dict[str, Tensor]:
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

    def state(self) -> dict[str, Any]:
        """Of the training alone: the average is the checkpoint's weights."""
        return {"model": dict(self.model.state_dict()), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any], average: dict[str, Tensor]) -> None:
        self.model.load_state_dict(state["model"])
        if not all(bool(torch.isfinite(w).all()) for w in self.model.state_dict().values()):
            raise ValueError("a weight is NaN or infinity")
        self.average.load(average)
        load_optimizer(self._plain_optimizer, state["optimizer"])


def first_model(start: Start) -> Draw | GlimpseClassifier:
    """The model with the weights that a stage begins with: by its seed, or grown from those of ``start``."""
    settings, config, initial = start.settings, start.place.stage.config, start.initial
    torch.manual_seed(settings.seed)  # of the initial weights only
    model = build_model(config)
    if settings.precision == "bf16-mixed":
        model.product_dtype = torch.bfloat16
    if initial is not None:
        # The stage before's are on a GPU.
        weights = {name: weight.cpu() for name, weight in initial.weights.items()}
        model.load_state_dict(grown(weights, initial.config, config, model.state_dict()))
    elif settings.write_window:
        start_write_windows(cast(Draw, model), settings.write_window)
    return model
