"""What kind of file to write. Imports neither torch nor onnx: ``draw-export --help`` takes its choices from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from ..errors import DrawError
from ..models.config import LEARNED, ClassifierConfig, prior_of
from ..runtime.metadata import MAX_SIZE
from ..runtime.onnx_file import OPSETS

if TYPE_CHECKING:
    from ..models.checkpoint import Checkpoint

Graph = Literal["decoder", "scorer", "classifier"]
Outputs = Literal["steps", "image"]
Recurrence = Literal["unrolled", "lstm"]
Precision = Literal["fp32", "fp16", "int8"]

OPSET = 17
MAX_STEPS = 4096
MAX_BATCH = MAX_SIZE

_CHOICES = {"graph": Graph, "outputs": Outputs, "recurrence": Recurrence, "dtype": Precision}


class Resolved(NamedTuple):
    """What was left open in :class:`ExportOptions`, for one checkpoint."""

    graph: Graph
    time_steps: int
    recurrence: Recurrence


@dataclass(frozen=True)
class ExportOptions:
    """What kind of file to write; the fields are draw-export's options."""

    graph: Graph | None = None  # None: as the checkpoint's model suggests
    outputs: Outputs = "steps"
    time_steps: int | None = None  # T; None: as trained
    recurrence: Recurrence | None = None  # None: unrolled; for a decoder in int8 lstm
    dtype: Precision = "fp32"
    batch: int | None = None  # None: dynamic
    opset: int = OPSET
    # None: a packaged model's own where the weights are its, else "", which is not stated.
    model_license: str | None = None
    model_author: str | None = None

    def resolve(self, checkpoint: Checkpoint) -> Resolved:
        """The graph's name, T and the kind of recurrence for ``checkpoint``.

        Raises:
            DrawError: options that contradict one another or the model.
        """
        for name, choices in _CHOICES.items():
            value, allowed = getattr(self, name), get_args(choices)
            if value not in allowed and not (name in ("graph", "recurrence") and value is None):
                raise DrawError(f"--{name} must be {' or '.join(allowed)}, not {value}")
        classifies = isinstance(checkpoint.config, ClassifierConfig)
        graph = self.graph or ("classifier" if classifies else "decoder")
        if (graph == "classifier") != classifies:
            raise DrawError(
                f"--graph {graph} needs a {'classifier' if graph == 'classifier' else 'DRAW'} checkpoint, "
                f"and this one holds a {'classifier' if classifies else 'DRAW model'}"
            )
        if self.recurrence == "lstm" and graph != "decoder":
            raise DrawError(f"--recurrence lstm is for the decoder: the {graph} reads between its steps")
        lstm = graph == "decoder" and (self.dtype == "int8" or self.recurrence == "lstm")
        if lstm and prior_of(checkpoint.config) == LEARNED:
            given = "--dtype int8" if self.dtype == "int8" else "--recurrence lstm"
            raise DrawError(
                f"{given} makes one LSTM operator of all steps, and with a learned prior each step's state scales the"
                " next one's noise: leave it out"
            )
        if self.dtype == "int8" and graph == "scorer":
            raise DrawError(
                "--dtype int8 is for decoders and classifiers: a bound in nats needs exact weights"
            )
        if self.dtype == "int8" and graph == "decoder" and self.recurrence == "unrolled":
            raise DrawError(
                "--dtype int8 makes a decoder of one LSTM operator: leave out --recurrence unrolled"
            )
        if self.recurrence == "lstm" and self.dtype == "fp16":
            raise DrawError(
                "--dtype fp16 is for --recurrence unrolled: few engines have a half-precision LSTM operator"
            )
        steps = checkpoint.config.time_steps if self.time_steps is None else self.time_steps
        for name, value, largest in (("time-steps", steps, MAX_STEPS), ("batch", self.batch, MAX_BATCH)):
            if value is not None and not 1 <= value <= largest:
                raise DrawError(f"--{name} must be between 1 and {largest}, not {value}")
        for name, text in (("license", self.model_license), ("author", self.model_author)):
            if text is not None and not _is_text(text):
                raise DrawError(f"--model-{name} is not UTF-8 text")
        if self.opset not in OPSETS:
            raise DrawError(f"--opset must be between {OPSETS[0]} and {OPSETS[-1]}, not {self.opset}")
        return Resolved(graph, steps, self.recurrence or ("lstm" if lstm else "unrolled"))


def _is_text(text: str) -> bool:
    """Whether a file can hold it: command lines may have bytes of any encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
