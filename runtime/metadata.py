"""The metadata an exported file carries: what the exporter writes and the runtime reads.

All values are plain strings, integers in decimal, as ONNX ``metadata_props`` demand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import DrawError

FORMAT_VERSION = 1
NOISE_STREAM = "splitmix64-boxmuller-1"

DECODER = "draw.decoder"
CLASSIFIER = "draw.classifier"
SCORER = "draw.scorer"
MODEL_TYPES = (DECODER, CLASSIFIER, SCORER)

# Names of graph inputs and outputs: public API, the same in every language.
NOISE, IMAGE, CANVASES = "noise", "image", "canvases"
READ_ATTENTION, WRITE_ATTENTION = "read_attention", "write_attention"
LOGITS, PROBABILITIES, GLIMPSES = "logits", "probabilities", "glimpses"
BOUND, RECONSTRUCTION = "bound", "reconstruction"
BATCH_AXIS = "batch_size"

STEPS, LEAN = "steps", "image"  # values of the `outputs` key

# How picture files become the model's input: values of the `picture_fit` key.
PAD, COVER = "pad", "cover"

_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself. Sizes that a model type lacks are 0, texts empty."""

    model_type: str
    dataset: str
    time_steps: int
    hidden_size: int
    image_channels: int
    image_height: int
    image_width: int
    attention: bool
    outputs: str  # "steps" or "image"
    weights_sha256: str
    parity_atol: str  # the gate that was passed, or "unchecked"
    model_license: str
    model_author: str
    draw_onnx_version: str
    latent_size: int = 0  # decoder and scorer
    write_size: int = 0  # decoder and scorer; 0 without attention
    read_size: int = 0  # classifier and scorer; 0 without attention
    noise_stream: str = ""  # decoder and scorer
    labels: tuple[str, ...] = ()  # classifier
    picture_fit: str = PAD  # scorer: what the training pictures were made with

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.image_channels, self.image_height, self.image_width

    def to_props(self) -> dict[str, str]:
        """``metadata_props``, in the order of the design."""
        props = {
            "format_version": str(FORMAT_VERSION),
            "model_type": self.model_type,
            "draw_onnx_version": self.draw_onnx_version,
            "dataset": self.dataset,
            "time_steps": str(self.time_steps),
            "hidden_size": str(self.hidden_size),
            "image_channels": str(self.image_channels),
            "image_height": str(self.image_height),
            "image_width": str(self.image_width),
            "attention": "true" if self.attention else "false",
            "outputs": self.outputs,
            "weights_sha256": self.weights_sha256,
            "parity_atol": self.parity_atol,
            "model_license": self.model_license,
            "model_author": self.model_author,
        }
        if self.model_type in (DECODER, SCORER):
            props["latent_size"] = str(self.latent_size)
            props["write_size"] = str(self.write_size)
            props["noise_stream"] = self.noise_stream
        if self.model_type in (CLASSIFIER, SCORER):
            props["read_size"] = str(self.read_size)
        if self.model_type == CLASSIFIER:
            props["labels"] = ",".join(self.labels)
        if self.model_type == SCORER:
            props["picture_fit"] = self.picture_fit
        return props

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read and check ``metadata_props``.

        Raises:
            DrawError: no draw-onnx file, a newer format, a missing key, or a value out of range.
        """
        if "model_type" not in props or "format_version" not in props:
            raise DrawError("not a file that draw-export wrote: it has no draw-onnx metadata")
        version = _integer(props, "format_version")
        if version > FORMAT_VERSION:
            raise DrawError(
                f"format_version {version} is newer than this package reads ({FORMAT_VERSION}); upgrade draw-onnx"
            )
        model_type = _text(props, "model_type")
        if model_type not in MODEL_TYPES:
            raise DrawError(f"unknown model_type {model_type!r} in the metadata")
        attention = _text(props, "attention")
        if attention not in ("true", "false"):
            raise DrawError(f"metadata key attention must be true or false, not {attention!r}")
        outputs = _text(props, "outputs")
        if outputs not in (STEPS, LEAN):
            raise DrawError(f"metadata key outputs must be {STEPS} or {LEAN}, not {outputs!r}")
        latent = model_type in (DECODER, SCORER)
        reads = model_type in (CLASSIFIER, SCORER)
        noise_stream = _text(props, "noise_stream") if latent else ""
        if latent and noise_stream != NOISE_STREAM:
            raise DrawError(
                f"unknown noise_stream {noise_stream!r} in the metadata; this package makes {NOISE_STREAM}"
            )
        labels = tuple(_text(props, "labels").split(",")) if model_type == CLASSIFIER else ()
        # Older files have no such key.
        picture_fit = props.get("picture_fit", PAD) if model_type == SCORER else PAD
        if picture_fit not in (PAD, COVER):
            raise DrawError(f"metadata key picture_fit must be {PAD} or {COVER}, not {picture_fit!r}")
        metadata = cls(
            model_type=model_type,
            dataset=_text(props, "dataset"),
            time_steps=_size(props, "time_steps"),
            hidden_size=_size(props, "hidden_size"),
            image_channels=_size(props, "image_channels"),
            image_height=_size(props, "image_height"),
            image_width=_size(props, "image_width"),
            attention=attention == "true",
            outputs=outputs,
            weights_sha256=_text(props, "weights_sha256"),
            parity_atol=_text(props, "parity_atol"),
            model_license=_text(props, "model_license"),
            model_author=_text(props, "model_author"),
            draw_onnx_version=_text(props, "draw_onnx_version"),
            latent_size=_size(props, "latent_size") if latent else 0,
            write_size=_integer(props, "write_size") if latent else 0,
            read_size=_integer(props, "read_size") if reads else 0,
            noise_stream=noise_stream,
            labels=labels,
            picture_fit=picture_fit,
        )
        if model_type == CLASSIFIER and (len(labels) < 2 or not all(labels)):
            raise DrawError("metadata key labels must list at least two names")
        return metadata


def interface(metadata: Metadata) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Inputs and outputs that a file of this metadata has: name to shape without the batch axis."""
    image, steps = metadata.image_shape, metadata.time_steps
    noise = (steps, metadata.latent_size)
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    if metadata.model_type == CLASSIFIER:
        classes = (len(metadata.labels),)
        inputs = {IMAGE: image}
        outputs = {LOGITS: classes, PROBABILITIES: classes}
        if metadata.outputs == STEPS:
            patch = (metadata.image_channels, metadata.read_size, metadata.read_size)
            outputs[GLIMPSES] = (steps, *patch)
            outputs[READ_ATTENTION] = (steps, 5)
        return inputs, outputs
    if metadata.model_type == DECODER:
        inputs, outputs = {NOISE: noise}, {IMAGE: image}
    else:
        inputs = {IMAGE: image, NOISE: noise}
        outputs = {BOUND: (), RECONSTRUCTION: image}
    if metadata.outputs == STEPS:
        outputs[CANVASES] = (steps, *image)
        if metadata.attention:
            outputs[WRITE_ATTENTION] = (steps, 5)
            if metadata.model_type == SCORER:
                outputs[READ_ATTENTION] = (steps, 5)
    return inputs, outputs


def _text(props: Mapping[str, str], key: str) -> str:
    if key not in props:
        raise DrawError(f"the metadata lacks the key {key}")
    return props[key]


def _integer(props: Mapping[str, str], key: str) -> int:
    text = _text(props, key)
    if not _INTEGER.fullmatch(text):
        raise DrawError(f"metadata key {key} must be a decimal number, not {text!r}")
    return int(text)


def _size(props: Mapping[str, str], key: str) -> int:
    value = _integer(props, key)
    if not 1 <= value <= 65536:
        raise DrawError(f"metadata key {key} is out of range: {value}")
    return value
