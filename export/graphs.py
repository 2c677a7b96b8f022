"""From a checkpoint to the bytes of an ONNX file."""

from __future__ import annotations

import onnx

from .. import __version__
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, weights_sha256
from ..models.config import ClassifierConfig, DrawConfig, prior_of
from ..runtime.metadata import (
    CLASSIFIER,
    DECODER,
    FLOAT16,
    FLOAT32,
    INT8,
    NOISE_STREAM,
    SCORER,
    UNCHECKED,
    Metadata,
)
from .builder import GraphBuilder, to_bytes
from .classifier import build_classifier
from .decoder import build_decoder
from .options import ExportOptions, Graph
from .scorer import build_scorer
from .terms import packaged_terms

_GRAPHS = {"decoder": DECODER, "classifier": CLASSIFIER, "scorer": SCORER}

_DTYPES = {"fp32": FLOAT32, "fp16": FLOAT16, "int8": INT8}


def build(checkpoint: Checkpoint, options: ExportOptions | None = None) -> bytes:
    """An ONNX file, not compared with torch: its ``parity_atol`` is ``unchecked``.

    Raises:
        DrawError: options that contradict one another or the model.
    """
    model, metadata = build_model(checkpoint, options or ExportOptions())
    return to_bytes(model, metadata.to_props())


def build_model(checkpoint: Checkpoint, options: ExportOptions) -> tuple[onnx.ModelProto, Metadata]:
    """The graph, checked by onnx, and its metadata, which still says ``unchecked``."""
    graph, steps, recurrence = options.resolve(checkpoint)
    config = checkpoint.config
    weights = {name: tensor.double().numpy() for name, tensor in checkpoint.weights.items()}
    b = GraphBuilder(_GRAPHS[graph], opset=options.opset, batch=options.batch, dtype=options.dtype)
    if b.half:
        name, largest = max(((k, float(abs(v).max())) for k, v in weights.items()), key=lambda item: item[1])
        if largest > 1000:  # folding multiplies by up to half a picture; float16 ends at 65504
            raise DrawError(f"--dtype fp16 cannot hold this model: {name} has a weight of {largest:.3g}")
    if isinstance(config, ClassifierConfig):
        build_classifier(b, config, weights, time_steps=steps, outputs=options.outputs)
    elif graph == "scorer":
        build_scorer(b, config, weights, time_steps=steps, outputs=options.outputs)
    else:
        build_decoder(b, config, weights, time_steps=steps, outputs=options.outputs, recurrence=recurrence)
    return b.model(), _metadata(checkpoint, options, graph, steps)


def _metadata(checkpoint: Checkpoint, options: ExportOptions, graph: Graph, steps: int) -> Metadata:
    config = checkpoint.config
    draws = isinstance(config, DrawConfig)
    sha = weights_sha256(checkpoint.weights, config)
    licence, author = packaged_terms(sha)
    metadata = Metadata(
        model_type=_GRAPHS[graph],
        dataset=checkpoint.dataset,
        time_steps=steps,
        hidden_size=config.hidden_size,
        image_channels=config.image_channels,
        image_height=config.image_height,
        image_width=config.image_width,
        attention=config.attention if draws else True,
        outputs=options.outputs,
        weights_sha256=sha,
        parity_atol=UNCHECKED,
        model_license=licence if options.model_license is None else options.model_license,
        model_author=author if options.model_author is None else options.model_author,
        draw_onnx_version=__version__,
        latent_size=config.latent_size if draws else 0,
        write_size=config.write_size if draws else 0,
        read_size=0 if graph == "decoder" else config.read_size,
        noise_stream=NOISE_STREAM if draws else "",
        labels=() if draws else config.labels,
        picture_fit=checkpoint.picture_fit,
        binary=checkpoint.binary,
        dtype=_DTYPES[options.dtype],
        figure_size=checkpoint.figure_size,
        prior=prior_of(config),
        train_size=checkpoint.train_size,
        train_checksum=checkpoint.train_checksum,
    )
    Metadata.from_props(metadata.to_props())  # what no reader would take is not written
    return metadata
