"""The torch side of the parity check: the inputs to compare on, and what torch computes from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..models.attention import window_from
from ..models.checkpoint import Checkpoint
from ..models.classifier import GlimpseClassifier
from ..models.config import DrawConfig, ModelConfig
from ..models.draw import Draw
from ..runtime.metadata import (
    BOUND,
    CANVASES,
    GLIMPSES,
    IMAGE,
    LOGITS,
    NOISE,
    PROBABILITIES,
    READ_ATTENTION,
    RECONSTRUCTION,
    WRITE_ATTENTION,
)
from ..runtime.noise import noise as noise_stream
from ..runtime.noise import raw, uniform
from .options import Graph

Arrays = dict[str, NDArray[np.float64]]
Feeds = dict[str, NDArray[np.float32]]

BATCHES = (1, 2, 5)
CASES = 4  # of a batch size
PARITY_CASES = CASES * len(BATCHES)
SEED = 20150516
_NOISES = {"drawn": None, "zero": 0.0, "+4": 4.0, "-4": -4.0}  # kind: what fills it, or the stream
_IMAGES = ("binary", "black", "white", "grey")
_MOST = 1 << 26  # numbers in one array: half a gigabyte in torch's float64
_CHUNK = 1 << 20  # pixels made at once


def pictures_at_once(config: ModelConfig, time_steps: int) -> int:
    """How many pictures a run may have for none of its arrays to be larger than ``_MOST``; one at least.

    A checkpoint of a kilobyte may declare pictures of a gigabyte.
    """
    image = math.prod(config.image)
    if isinstance(config, DrawConfig):
        each = time_steps * max(image, config.latent_size)
    else:
        each = max(image, time_steps * config.image_channels * config.read_size**2)
    return max(1, _MOST // each)


def cases(
    checkpoint: Checkpoint, graph: Graph, time_steps: int, batches: tuple[int, ...] = BATCHES
) -> Iterator[tuple[str, Feeds]]:
    """Inputs to compare on, with a name for each; one at a time, since those of a large batch take much room."""
    config = checkpoint.config
    for batch in batches:
        for (noise, fill), image in zip(_NOISES.items(), _IMAGES, strict=True):
            feeds, label = {}, f"batch {batch}"
            if isinstance(config, DrawConfig):
                feeds[NOISE] = _noise(fill, batch, time_steps, config.latent_size)
                label += f", {noise} noise"
            if graph != "decoder":
                feeds[IMAGE] = _image(image, (batch, *config.image))
                label += f", {image} image"
            yield label, feeds


def _noise(fill: float | None, *shape: int) -> NDArray[np.float32]:
    return noise_stream(SEED, 0, *shape) if fill is None else np.full(shape, fill, np.float32)


def _image(kind: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if kind in ("black", "white"):
        return np.full(shape, kind == "white", np.float32)
    values = np.empty(math.prod(shape), np.float32)
    for start in range(0, len(values), _CHUNK):
        part = values[start : start + _CHUNK]
        numbers = np.arange(start, start + len(part), dtype=np.uint64)
        grey = uniform(raw(SEED, numbers)).astype(np.float32)
        part[:] = grey if kind == "grey" else grey < 0.2
    return values.reshape(shape)


def reference(model: Draw | GlimpseClassifier, graph: Graph, feeds: Feeds, time_steps: int) -> Arrays:
    """Every output that the file may have, from torch in the model's own precision."""
    dtype = next(model.parameters()).dtype
    inputs = {name: torch.from_numpy(values).to(dtype) for name, values in feeds.items()}
    _, height, width = model.config.image

    def rows(params: Tensor | None, n: int) -> Tensor | None:
        return None if params is None else window_from(params, n, width, height).stack()

    values: dict[str, Tensor | None]
    with torch.no_grad():
        if isinstance(model, GlimpseClassifier):
            output = model(inputs[IMAGE], time_steps)
            values = {
                LOGITS: output.answer,
                PROBABILITIES: torch.softmax(output.answer, -1),
                GLIMPSES: output.glimpses,
                READ_ATTENTION: rows(output.attention, model.config.read_size),
            }
        elif graph == "scorer":
            output = model(inputs[IMAGE], inputs[NOISE], keep_steps=True)
            values = {
                BOUND: output.bound,
                RECONSTRUCTION: torch.sigmoid(output.canvas),
                CANVASES: torch.sigmoid(output.steps.canvases),
                READ_ATTENTION: rows(output.steps.read_params, model.config.read_size),
                WRITE_ATTENTION: rows(output.steps.write_params, model.config.write_size),
            }
        else:
            samples = model.generate(inputs[NOISE])
            values = {
                IMAGE: samples.image,
                CANVASES: torch.sigmoid(samples.canvases),
                WRITE_ATTENTION: rows(samples.write_params, model.config.write_size),
            }
    return {name: value.double().numpy() for name, value in values.items() if value is not None}


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Models this small gain nothing from a second thread, and on a busy machine it costs a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class OtherKernels(TorchDispatchMode):
    """Equal products of matrices by other kernels: what is on the right is laid out by columns where it was laid out by
    rows, and the other way round. Its sums are then taken in another order."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            *before, right = args
            by_rows = right.stride(-1) == 1
            args = (*before, right.mT.contiguous().mT if by_rows else right.contiguous())
        return func(*args, **(kwargs or {}))


_PRODUCTS = {getattr(torch.ops.aten, name).default for name in ("mm", "addmm", "bmm", "baddbmm")}
