"""A whole update as one CUDA graph: on a GPU the eager loop is bound by kernel launches, not by arithmetic."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor | None, Tensor | None], dict[str, Tensor]]


class CapturedUpdate:
    """``update`` recorded once and replayed with new inputs of the same shapes.

    Forward, backward, clipping and a capturable optimiser's step are all in the graph.

    Args:
        update: forward, backward, clip and step on (images, labels, noise); gives terms.
        optimizer: its parameters and state are put back to what they were before the recording's warm-up.
        images, labels, noise: a first batch; shapes and dtypes of all later ones.
    """

    def __init__(
        self,
        update: Function,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        labels: Tensor | None,
        noise: Tensor | None,
    ) -> None:
        labels, noise = (None if t is None else t.clone() for t in (labels, noise))
        self._inputs = inputs = (images.clone(), labels, noise)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        weights = [p.detach().clone() for p in parameters]
        states = {p: {k: v.clone() for k, v in optimizer.state.get(p, {}).items()} for p in parameters}
        # What an earlier loss or a compiled chunk still holds of the gradients' nodes belongs to another stream, and a
        # collection in the middle of the capture would free memory, which ends it.
        gc.collect()
        # Warm-up on the stream of the capture: it makes real updates, undone below.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                update(*inputs)
            optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            self._terms = update(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(weight)
                for name, value in optimizer.state[parameter].items():
                    before = states[parameter].get(name)
                    value.zero_() if before is None else value.copy_(before)

    def __call__(self, images: Tensor, labels: Tensor | None, noise: Tensor | None) -> dict[str, Tensor]:
        """One update; gives the terms."""
        for buffer, value in zip(self._inputs, (images, labels, noise), strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value)
        self._graph.replay()
        return {name: value.clone() for name, value in self._terms.items()}
