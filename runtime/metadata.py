"""The metadata an exported file carries: what the exporter writes and the runtime reads.

All values are plain strings, integers in decimal, as ONNX ``metadata_props`` demand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import DrawError

FORMAT_VERSION = 1
NOISE_STREAM = "splitmix64-boxmuller-1"

DECODER = "draw.decoder"
CLASSIFIER = "draw.classifier"
SCORER = "draw.scorer"

# Names of graph inputs and outputs: public API, the same in every language.
NOISE, IMAGE, CANVASES = "noise", "image", "canvases"
READ_ATTENTION, WRITE_ATTENTION = "read_attention", "write_attention"
LOGITS, PROBABILITIES, GLIMPSES = "logits", "probabilities", "glimpses"
BOUND, RECONSTRUCTION = "bound", "reconstruction"
OF_STEPS = {CANVASES, GLIMPSES, READ_ATTENTION, WRITE_ATTENTION}  # outputs that not every file has
BATCH_AXIS = "batch_size"

STEPS, LEAN = "steps", "image"  # values of the `outputs` key

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"  # values of the `dtype` key
# (domain, operator) that a file of `dtype` int8 may hold besides those of the default domain. Scorers are never int8.
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
_PRODUCT, _LSTM = (MICROSOFT, "DynamicQuantizeMatMul"), (MICROSOFT, "DynamicQuantizeLSTM")
INT8_OPERATORS = {DECODER: frozenset({_PRODUCT, _LSTM}), CLASSIFIER: frozenset({_PRODUCT})}

STANDARD, LEARNED = "standard", "learned"  # values of the `prior` key

# How picture files become the model's input: values of the `picture_fit` key.
PAD, COVER = "pad", "cover"

MAX_SIZE = 65536  # of anything that a file counts: units, pixels, filters, pictures of a fixed batch
MAX_PICTURES = 10**12  # that a model was trained on
MAX_VALUES = 1 << 28  # of one picture in an input or output: a gigabyte
UNCHECKED = "unchecked"  # value of the `parity_atol` key
_INTEGER = re.compile(r"0|[1-9][0-9]{0,12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class PictureRule(NamedTuple):
    """How picture files become a model's input."""

    shape: tuple[int, int, int]  # channels, height, width of the input
    # Longer side of a figure's ink in pixels, for models of figures; None: nothing is cropped.
    figure_size: int | None
    picture_fit: str = PAD  # where there is no figure_size: PAD or COVER


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
    parity_atol: str  # see `compared`; or UNCHECKED
    model_license: str
    model_author: str
    draw_onnx_version: str
    latent_size: int = 0  # decoder and scorer
    write_size: int = 0  # decoder and scorer; 0 without attention
    read_size: int = 0  # classifier and scorer; 0 without attention
    noise_stream: str = ""  # decoder and scorer
    labels: tuple[str, ...] = ()  # classifier
    picture_fit: str = PAD  # scorer and classifier: what the training pictures were made with
    binary: bool | None = None  # scorer: whether they are 0 and 1; None: nobody has said
    graph_sha256: str | None = None  # of the graph as it was written; None: a file from before the key
    dtype: str = FLOAT32  # of the weights; inputs and outputs are float32 always
    figure_size: int | None = None  # classifier: longer side of a light figure's ink on black, in pixels
    prior: str = STANDARD  # decoder and scorer: of the latents; "learned" is not the paper's model
    # Classifier and scorer: how many pictures it was trained on, and the CRC-32 of their bytes; None: nobody has said.
    train_size: int | None = None
    train_checksum: int | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.image_channels, self.image_height, self.image_width

    @property
    def compared(self) -> str:
        """What is how near to PyTorch in float64, as the export found it; empty where nothing was compared.

        Other outputs have gates of their own, which the file does not name.
        """
        if self.parity_atol == UNCHECKED:
            return ""
        if self.dtype != INT8:
            return f"{'probabilities' if self.model_type == CLASSIFIER else 'pictures'} within {self.parity_atol}"
        if self.model_type == CLASSIFIER:
            return f"the same answers but for {100 * float(self.parity_atol):g} % at most"
        return f"pictures within {self.parity_atol} on average"

    @property
    def foreign_operators(self) -> frozenset[tuple[str, str]]:
        """(domain, operator) outside the default domain that such a file may hold."""
        return INT8_OPERATORS[self.model_type] if self.dtype == INT8 else frozenset()

    @property
    def picture_rule(self) -> PictureRule:
        """How picture files become its input."""
        return PictureRule(self.image_shape, self.figure_size, self.picture_fit)

    def to_props(self) -> dict[str, str]:
        """``metadata_props``, in the order of docs/embedding.md."""
        values = {key: getattr(self, key) for key in _KEYS[self.model_type]}
        if self.dtype == FLOAT32:
            del values["dtype"]  # the default: files from before the key read the same
        if self.model_type != CLASSIFIER and self.prior == STANDARD:
            del values["prior"]
        if self.model_type == CLASSIFIER and self.picture_fit == PAD:
            del values["picture_fit"]
        shown = {key: _shown(value) for key, value in values.items() if value is not None}
        return {"format_version": str(FORMAT_VERSION), **shown}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read and check ``metadata_props``.

        Raises:
            DrawError: no draw-onnx file, a newer format, a missing key, or a value out of range.
        """
        if "model_type" not in props or "format_version" not in props:
            raise DrawError("not a file that draw-export wrote: it has no draw-onnx metadata")
        version = _integer("format_version", props["format_version"])
        if version < 1:
            raise DrawError(f"metadata key format_version is out of range: {version}")
        if version > FORMAT_VERSION:
            raise DrawError(
                f"format_version {version} is newer than this package reads ({FORMAT_VERSION}); upgrade draw-onnx"
            )
        keys = _KEYS.get(props["model_type"])
        if keys is None:
            raise DrawError(f"unknown model_type {props['model_type']!r} in the metadata")
        values: dict[str, Any] = {}
        for key in keys:
            if key in props:
                values[key] = _READ[key](key, props[key]) if key in _READ else props[key]
            elif key not in _OPTIONAL:
                raise DrawError(f"the metadata lacks the key {key}")
        metadata = cls(**values)
        if "noise_stream" in keys and metadata.noise_stream != NOISE_STREAM:
            raise DrawError(
                f"unknown noise_stream {metadata.noise_stream!r} in the metadata; this package makes {NOISE_STREAM}"
            )
        if metadata.model_type == CLASSIFIER and (len(metadata.labels) < 2 or not all(metadata.labels)):
            raise DrawError("metadata key labels must list at least two names")
        if len(set(metadata.labels)) < len(metadata.labels):
            raise DrawError("metadata key labels names a class twice")
        if (metadata.figure_size or 0) > max(metadata.image_height, metadata.image_width):
            raise DrawError(
                f"metadata key figure_size is out of range: {metadata.figure_size}, more than a picture"
            )
        reads = metadata.attention or metadata.model_type == CLASSIFIER  # which has no other way to read
        for key in ("read_size", "write_size"):
            value = getattr(metadata, key)
            if key in keys and (value > 0) != reads:
                without = "" if reads else " without attention"
                raise DrawError(f"metadata key {key} is out of range{without}: {value}")
        if metadata.image_channels not in (1, 3):
            raise DrawError(f"metadata key image_channels must be 1 or 3, not {metadata.image_channels}")
        for arrays in interface(metadata):
            for name, shape in arrays.items():
                if math.prod(shape) > MAX_VALUES:
                    raise DrawError(
                        f"its {name} would have {math.prod(shape):,} numbers a picture, more than {MAX_VALUES:,}"
                    )
        if metadata.dtype == INT8 and metadata.model_type not in INT8_OPERATORS:
            raise DrawError(f"metadata key dtype: there is no {metadata.model_type} in {INT8}")
        return metadata


def interface(metadata: Metadata) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Inputs and outputs that a file of this metadata has: name to shape without the batch axis."""
    image, steps, kind = metadata.image_shape, metadata.time_steps, metadata.model_type
    inputs: dict[str, tuple[int, ...]] = {} if kind == DECODER else {IMAGE: image}
    outputs: dict[str, tuple[int, ...]]
    if kind == CLASSIFIER:
        outputs = dict.fromkeys((LOGITS, PROBABILITIES), (len(metadata.labels),))
        each = {GLIMPSES: (image[0], metadata.read_size, metadata.read_size), READ_ATTENTION: (5,)}
    else:
        inputs[NOISE] = (steps, metadata.latent_size)
        outputs = {IMAGE: image} if kind == DECODER else {BOUND: (), RECONSTRUCTION: image}
        windows = (WRITE_ATTENTION,) if kind == DECODER else (WRITE_ATTENTION, READ_ATTENTION)
        each = {CANVASES: image, **dict.fromkeys(windows if metadata.attention else (), (5,))}
    if metadata.outputs == STEPS:
        outputs |= {name: (steps, *shape) for name, shape in each.items()}
    return inputs, outputs


def _shown(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _integer(key: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise DrawError(f"metadata key {key} must be a decimal number, not {text!r}")
    return int(text)


def _within(least: int, most: int = MAX_SIZE) -> Callable[[str, str], int]:
    def read(key: str, text: str) -> int:
        value = _integer(key, text)
        if not least <= value <= most:
            raise DrawError(f"metadata key {key} is out of range: {value}")
        return value

    return read


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(key: str, text: str) -> str:
        if text not in allowed:
            raise DrawError(f"metadata key {key} must be {' or '.join(allowed)}, not {text!r}")
        return text

    return read


def _gate(key: str, text: str) -> str:
    try:
        good = text == UNCHECKED or 0 <= float(text) < math.inf
    except ValueError:
        good = False
    if not good:
        raise DrawError(f"metadata key {key} must be {UNCHECKED} or a number from 0, not {text!r}")
    return text


def _sha256(key: str, text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise DrawError(f"metadata key {key} must be 64 hexadecimal digits, not {text[:70]!r}")
    return text


def _flag(key: str, text: str) -> bool:
    return _one_of("true", "false")(key, text) == "true"


# Keys in the order of docs/embedding.md. Those that came later are optional.
_IMAGE = ("image_channels", "image_height", "image_width")
_ALL = (
    "model_type",
    "draw_onnx_version",
    "dataset",
    "time_steps",
    "hidden_size",
    *_IMAGE,
    "attention",
    "outputs",
)
_ALL += ("weights_sha256", "parity_atol", "model_license", "model_author")
_LATENT = ("latent_size", "write_size", "noise_stream", "prior")
_TRAINED_ON = ("train_size", "train_checksum")
_KEYS = {
    DECODER: (*_ALL, *_LATENT, "dtype", "graph_sha256"),
    CLASSIFIER: (
        *_ALL,
        "read_size",
        "labels",
        "picture_fit",
        "figure_size",
        *_TRAINED_ON,
        "dtype",
        "graph_sha256",
    ),
    SCORER: (*_ALL, *_LATENT, "read_size", "picture_fit", "binary", *_TRAINED_ON, "dtype", "graph_sha256"),
}
_OPTIONAL = ("prior", "picture_fit", "binary", "figure_size", *_TRAINED_ON, "dtype", "graph_sha256")
# How they are read, where not as plain text.
_READ: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(("time_steps", "hidden_size", *_IMAGE, "latent_size", "figure_size"), _within(1)),
    **dict.fromkeys(("write_size", "read_size"), _within(0)),  # 0: no attention
    "train_size": _within(1, MAX_PICTURES),
    "train_checksum": _within(0, 0xFFFFFFFF),
    **dict.fromkeys(("attention", "binary"), _flag),
    "outputs": _one_of(STEPS, LEAN),
    "parity_atol": _gate,
    **dict.fromkeys(("weights_sha256", "graph_sha256"), _sha256),
    "picture_fit": _one_of(PAD, COVER),
    "prior": _one_of(STANDARD, LEARNED),
    "labels": lambda _, text: tuple(text.split(",")),
    "dtype": _one_of(FLOAT32, FLOAT16, INT8),
}
