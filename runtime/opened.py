"""What Sampler, Classifier and Scorer have in common: an opened file, where it runs, how it is batched."""

from __future__ import annotations

import os
from typing import ClassVar

from .batches import batch_size, thread_count
from .metadata import Metadata
from .session import Model, open_model


class OpenedModel:
    """A file of one model type, opened. May be used from many threads.

    Args:
        path: an ``.onnx`` file, or the name of a packaged model.
        provider: ``auto``, ``cpu`` or ``cuda``.
        threads: batches run at the same time; the CPUs at hand unless given.

    Raises:
        DrawError: the file or the provider is not to be had; the message says why.
    """

    _model_type: ClassVar[str]
    _step_output: ClassVar[str]  # what files with `--outputs steps` have and others have not

    def __init__(
        self, path: str | os.PathLike[str], provider: str = "auto", threads: int | None = None
    ) -> None:
        self._model: Model = open_model(path, self._model_type, provider)
        self.threads = thread_count(threads, self._model.provider)

    @property
    def metadata(self) -> Metadata:
        """What the file says of itself."""
        return self._model.metadata

    @property
    def provider(self) -> str:
        """``cpu`` or ``cuda``: where it really runs."""
        return self._model.provider

    @property
    def has_steps(self) -> bool:
        """Whether the file gives what happens at every step, not the result alone."""
        return self._model.has(self._step_output)

    def batch_size(self, asked: int | None = None) -> int:
        """Pictures that go through the graph at once.

        Raises:
            DrawError: less than 1, or not the size that the file was exported for.
        """
        return batch_size(asked, self._model.fixed_batch, self.provider)
