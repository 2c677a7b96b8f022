"""From a checkpoint to the bytes of an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from .. import __version__
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, weights_sha256
from ..models.config import ClassifierConfig, DrawConfig
from ..runtime.metadata import CLASSIFIER, DECODER, LEAN, NOISE_STREAM, SCORER, STEPS, Metadata
from .builder import OPSET, OPSETS, GraphBuilder, to_bytes
from .classifier import build_classifier
from .decoder import build_decoder
from .scorer import build_scorer

MAX_STEPS = 4096
UNCHECKED = "unchecked"

_GRAPHS = {"decoder": DECODER, "classifier": CLASSIFIER, "scorer": SCORER}


@dataclass(frozen=True)
class ExportOptions:
    """What kind of file to write; the fields are draw-export's options."""

    graph: str | None = None  # decoder, classifier or scorer; None: as the checkpoint's model suggests
    outputs: str = STEPS  # steps or image
    time_steps: int | None = None  # T; None: as trained
    recurrence: str = "unrolled"  # unrolled or lstm
    dtype: str = "fp32"  # fp32 or fp16
    batch: int | None = None  # None: dynamic
    opset: int = OPSET
    model_license: str = "MIT"
    model_author: str = "draw-onnx authors"

    def resolve(self, checkpoint: Checkpoint) -> tuple[str, int]:
        """The graph's name and T for ``checkpoint``.

        Raises:
            DrawError: options that contradict one another or the model.
        """
        kind = "classifier" if isinstance(checkpoint.config, ClassifierConfig) else "draw"
        graph = self.graph or ("classifier" if kind == "classifier" else "decoder")
        _one_of("graph", graph, tuple(_GRAPHS))
        if (graph == "classifier") != (kind == "classifier"):
            raise DrawError(
                f"--graph {graph} needs a {'classifier' if graph == 'classifier' else 'DRAW'} checkpoint, "
                f"and this one holds a {'classifier' if kind == 'classifier' else 'DRAW model'}"
            )
        _one_of("outputs", self.outputs, (STEPS, LEAN))
        _one_of("recurrence", self.recurrence, ("unrolled", "lstm"))
        _one_of("dtype", self.dtype, ("fp32", "fp16"))
        if self.recurrence == "lstm" and graph != "decoder":
            raise DrawError(f"--recurrence lstm is for the decoder: the {graph} reads between its steps")
        if self.recurrence == "lstm" and self.dtype == "fp16":
            raise DrawError("--recurrence lstm is fp32 only: few engines have a half-precision LSTM operator")
        steps = checkpoint.config.time_steps if self.time_steps is None else self.time_steps
        if not 1 <= steps <= MAX_STEPS:
            raise DrawError(f"--time-steps must be between 1 and {MAX_STEPS}, not {steps}")
        if self.batch is not None and not 1 <= self.batch <= 65536:
            raise DrawError(f"--batch must be between 1 and 65536, not {self.batch}")
        if self.opset not in OPSETS:
            raise DrawError(f"--opset must be between {OPSETS[0]} and {OPSETS[-1]}, not {self.opset}")
        return graph, steps


def build(
    checkpoint: Checkpoint,
    graph: str | None = None,
    outputs: str = STEPS,
    time_steps: int | None = None,
    recurrence: str = "unrolled",
    dtype: str = "fp32",
    batch: int | None = None,
    opset: int = OPSET,
    model_license: str = "MIT",
    model_author: str = "draw-onnx authors",
) -> bytes:
    """An ONNX file, not compared with torch: its ``parity_atol`` is ``unchecked``. See :class:`ExportOptions`.

    Raises:
        DrawError: options that contradict one another or the model.
    """
    options = ExportOptions(
        graph, outputs, time_steps, recurrence, dtype, batch, opset, model_license, model_author
    )
    model, metadata = build_model(checkpoint, options)
    return to_bytes(model, metadata.to_props())


def build_model(checkpoint: Checkpoint, options: ExportOptions) -> tuple[onnx.ModelProto, Metadata]:
    """The graph, checked by onnx, and its metadata, which still says ``unchecked``."""
    graph, steps = options.resolve(checkpoint)
    config = checkpoint.config
    weights = {name: tensor.double().numpy() for name, tensor in checkpoint.weights.items()}
    b = GraphBuilder(_GRAPHS[graph], opset=options.opset, batch=options.batch, half=options.dtype == "fp16")
    _check_half(weights, b.half)
    if isinstance(config, ClassifierConfig):
        build_classifier(b, config, weights, time_steps=steps, outputs=options.outputs)
    elif graph == "scorer":
        build_scorer(b, config, weights, time_steps=steps, outputs=options.outputs)
    else:
        build_decoder(
            b, config, weights, time_steps=steps, outputs=options.outputs, recurrence=options.recurrence
        )
    return b.model(), _metadata(checkpoint, options, graph, steps)


def _metadata(checkpoint: Checkpoint, options: ExportOptions, graph: str, steps: int) -> Metadata:
    config = checkpoint.config
    draws = isinstance(config, DrawConfig)
    return Metadata(
        model_type=_GRAPHS[graph],
        dataset=checkpoint.dataset,
        time_steps=steps,
        hidden_size=config.hidden_size,
        image_channels=config.image_channels,
        image_height=config.image_height,
        image_width=config.image_width,
        attention=config.attention if draws else True,
        outputs=options.outputs,
        weights_sha256=weights_sha256(checkpoint.weights, config),
        parity_atol=UNCHECKED,
        model_license=options.model_license,
        model_author=options.model_author,
        draw_onnx_version=__version__,
        latent_size=config.latent_size if draws else 0,
        write_size=config.write_size if draws else 0,
        read_size=0 if graph == "decoder" else config.read_size,
        noise_stream=NOISE_STREAM if draws else "",
        labels=() if draws else config.labels,
        picture_fit=checkpoint.picture_fit,
        binary=checkpoint.binary,
        figure_size=checkpoint.figure_size,
    )


def _check_half(weights: dict[str, np.ndarray], half: bool) -> None:
    if half:
        name, largest = max(((k, float(abs(v).max())) for k, v in weights.items()), key=lambda item: item[1])
        if largest > 1000:  # folding multiplies by up to half a picture; float16 ends at 65504
            raise DrawError(f"--dtype fp16 cannot hold this model: {name} has a weight of {largest:.3g}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DrawError(f"--{name} must be {' or '.join(allowed)}, not {value}")
