"""Checkpoints: one file of tensors and plain values. No code in it is ever run.

Two containers hold them. A ``.ckpt`` has everything that training needs to go on and is read with
``weights_only=True`` and nothing else; a ``.safetensors`` has the weights to ship, and the same facts as strings in
its header. One judge reads both.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DrawError
from ..files import atomic_write, check_ordinary, reading
from .classifier import GlimpseClassifier
from .config import ClassifierConfig, ModelConfig, config_from_dict, config_to_dict, model_kind
from .draw import Draw
from .safetensors_file import is_safetensors, read_header, read_tensors, strict_json, write_safetensors

FORMAT_VERSION = 1
# How pictures of other sizes become a model's input: runtime/metadata.py has the same names.
PAD, COVER = "pad", "cover"
_MAGIC = "draw-onnx checkpoint"
_FLAGS = {"true": True, "false": False}
# Facts that a file may have, and the whole numbers that each may be.
_OPTIONAL_NUMBERS = {
    "figure_size": range(1, 65537),
    "train_size": range(1, 10**12 + 1),
    "train_checksum": range(1 << 32),
}


@dataclass
class Checkpoint:
    """A trained model and, unless it is weights-only, what training needs to go on.

    ``weights`` are the ones to evaluate, sample and export: the EMA where one is kept.
    """

    config: ModelConfig
    dataset: str  # name of the data set, e.g. "mnist"
    weights: dict[str, Tensor]
    iteration: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None  # None in a weights-only file
    picture_fit: str = PAD  # how files become its input: PAD or COVER (runtime/pictures/reading.py, cover.py)
    binary: bool | None = None  # whether its pictures are 0 and 1; None in older files, which do not say
    figure_size: int | None = None  # longer side of its figures' ink in pixels; None: of no one size
    # How many pictures it was trained on and the CRC-32 of their bytes; None in files that do not say.
    train_size: int | None = None
    train_checksum: int | None = None

    def build(self, dtype: torch.dtype = torch.float32) -> Draw | GlimpseClassifier:
        """The model with ``weights``, in evaluation mode on the CPU."""
        model = build_model(self.config)
        model.load_state_dict(self.weights)
        return model.to(dtype).eval()


def build_model(config: ModelConfig) -> Draw | GlimpseClassifier:
    """A model with fresh weights."""
    return GlimpseClassifier(config) if isinstance(config, ClassifierConfig) else Draw(config)


def weights_sha256(weights: dict[str, Tensor], config: ModelConfig) -> str:
    """Identity of a model: SHA-256 over names, dtypes, shapes and bytes (sorted by name) and the config's JSON."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    canonical = {"kind": model_kind(config), **config_to_dict(config)}
    digest.update(_canonical_json(canonical).encode())
    return digest.hexdigest()


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a ``.ckpt`` atomically; the bytes do not depend on the file's name.

    Raises:
        DrawError: the folder is missing or not writable, or the disk is full.
    """
    content = {
        **_facts(checkpoint),
        "weights": {k: v.detach().cpu().clone() for k, v in checkpoint.weights.items()},
        "training": checkpoint.training,
    }
    with atomic_write(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # PyTorch ends its archive after a failed write as after any, and complains of that.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def save_weights(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write the weights alone as ``.safetensors``, atomically: what is shipped, and what model hubs read.

    The header's strings are the facts of a checkpoint (JSON where they are nested) and ``weights_sha256``. The
    same weights and facts give the same bytes.

    Raises:
        DrawError: the folder is missing or not writable, or the disk is full.
    """
    facts = _facts(checkpoint)
    figures = {k: v for k, v in checkpoint.metrics.items() if isinstance(k, str) and _in_json(v)}
    facts |= {"config": _canonical_json(facts["config"]), "metrics": _canonical_json(figures)}
    if checkpoint.binary is not None:
        facts["binary"] = _canonical_json(checkpoint.binary)
    facts["weights_sha256"] = weights_sha256(checkpoint.weights, checkpoint.config)
    write_safetensors(path, checkpoint.weights, {k: str(v) for k, v in facts.items() if v is not None})


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What both containers say beside the weights."""
    return {
        "magic": _MAGIC,
        "format_version": FORMAT_VERSION,
        "kind": model_kind(checkpoint.config),
        "config": config_to_dict(checkpoint.config),
        "dataset": checkpoint.dataset,
        "picture_fit": checkpoint.picture_fit,
        "binary": checkpoint.binary,
        **{name: getattr(checkpoint, name) for name in _OPTIONAL_NUMBERS},
        "iteration": checkpoint.iteration,
        "metrics": checkpoint.metrics,
    }


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a ``.ckpt`` or a ``.safetensors`` onto the CPU: the content decides which, not the name.

    Raises:
        DrawError: missing, truncated, not a checkpoint, of the wrong kind, or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        raise DrawError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise DrawError(f"no checkpoint at {path}")
    check_ordinary(path)
    broken = f"{path} is not a draw-onnx checkpoint, or it is damaged"
    if path.suffix == ".onnx":
        broken += " (weights are in the .ckpt or .safetensors that the .onnx file was made of)"
    try:
        ships = is_safetensors(path)
        content = _read_safetensors(path) if ships else _read_ckpt(path, broken)
        if not isinstance(content, dict) or content.get("magic") != _MAGIC:
            raise DrawError(f"{path} is not a draw-onnx checkpoint")
        version = content.get("format_version")
        if not isinstance(version, int) or version < 1:
            raise DrawError(broken)
        if version > FORMAT_VERSION:
            raise DrawError(
                f"{path} has checkpoint format {version}, newer than this package reads ({FORMAT_VERSION});"
                " upgrade draw-onnx"
            )
        checkpoint = Checkpoint(
            config=config_from_dict(content["kind"], content["config"]),
            dataset=content["dataset"],
            weights=content["weights"],
            picture_fit=content.get("picture_fit", PAD),  # absent in older files
            binary=content.get("binary"),
            **{name: content.get(name) for name in _OPTIONAL_NUMBERS},
            iteration=content["iteration"],
            metrics=content["metrics"],
            training=content["training"],
        )
        _check_facts(checkpoint)
        if ships:
            _check_shapes(content["declared"], checkpoint.config)
            checkpoint.weights = read_tensors(path)
        _check_weights(checkpoint)
        if content.get("weights_sha256", "") not in (
            "",
            weights_sha256(checkpoint.weights, checkpoint.config),
        ):
            raise ValueError("the weights are not those that its header names")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Names in a forged file may hold anything, line ends and a terminal's control characters too.
        reason = "".join(c if c.isprintable() else " " for c in str(error))
        raise DrawError(f"{broken}: {reason[:300]}") from error
    return checkpoint


def _read_ckpt(path: Path, broken: str) -> Any:
    try:
        with reading(path), path.open("rb") as file:  # of a path, torch.load asks the name what the file is
            # A zip of stored (not deflated) records: what it unpacks to cannot exceed its size.
            with zipfile.ZipFile(file) as archive:
                declared = sum(info.file_size for info in archive.infolist())
                # torch.load does not look at the records' sums.
                if declared > path.stat().st_size or archive.testzip() is not None:
                    raise DrawError(broken)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except (DrawError, MemoryError):
        raise
    except Exception as error:  # torch.load raises whatever its parsers meet
        raise DrawError(broken) from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    """The facts of a header and the shapes that it declares; the tensors stay on the disk until these are judged."""
    metadata, tensors = read_header(path)
    content: dict[str, Any] = dict(metadata)
    if content.get("magic") != _MAGIC:
        raise DrawError(
            f"{path} is a safetensors file, but not a draw-onnx checkpoint: its header does not say so"
        )
    for name in ("format_version", "iteration", *_OPTIONAL_NUMBERS):
        if name in _OPTIONAL_NUMBERS and name not in content:
            continue
        if not re.fullmatch("[0-9]{1,18}", content[name]):
            raise ValueError(f"{name} is not a whole number")
        content[name] = int(content[name])
    if "binary" in content:
        content["binary"] = _FLAGS.get(content["binary"], content["binary"])
    for name in ("config", "metrics"):
        content[name] = strict_json(content[name])
    dtypes = {"F32": torch.float32}
    declared = {k: (dtypes.get(dtype, dtype), shape) for k, (dtype, shape) in tensors.items()}
    return {**content, "training": None, "weights": {}, "declared": declared}


def _check_facts(checkpoint: Checkpoint) -> None:
    if checkpoint.picture_fit not in (PAD, COVER):
        raise ValueError("unknown picture_fit")
    if not isinstance(checkpoint.binary, bool | None):
        raise ValueError("binary is neither true nor false")
    for name, numbers in _OPTIONAL_NUMBERS.items():
        value = getattr(checkpoint, name)
        # True and 20.0 are in such ranges too.
        if value is not None and not (type(value) is int and value in numbers):
            raise ValueError(f"{name} is no whole number from {numbers[0]} to {numbers[-1]:,}")
    if not isinstance(checkpoint.dataset, str) or not isinstance(checkpoint.weights, dict):
        raise ValueError("wrong types")
    if not isinstance(checkpoint.iteration, int) or not isinstance(checkpoint.metrics, dict):
        raise ValueError("wrong types")
    if checkpoint.iteration < 0:
        raise ValueError("its iteration is below 0")
    labels = checkpoint.config.labels if isinstance(checkpoint.config, ClassifierConfig) else ()
    for name, texts in (("data set", (checkpoint.dataset,)), ("labels", labels)):
        # Half a letter, which a pickle can hold and neither an ONNX file nor a terminal.
        if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
            raise ValueError(f"its {name} cannot be written as text")


def _check_weights(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.weights.items():
        # Sparse, on no device, or one number shown many times: tensors that a file of any size may declare.
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(f"weight {name} is no plain array")
    declared = {k: (tensor.dtype, tuple(tensor.shape)) for k, tensor in checkpoint.weights.items()}
    _check_shapes(declared, checkpoint.config)
    for name, tensor in checkpoint.weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"weight {name} holds NaN or infinity")


def _check_shapes(declared: dict[str, tuple[Any, tuple[int, ...]]], config: ModelConfig) -> None:
    """Raises ValueError unless names, dtypes and shapes are those of the config's model."""
    with torch.device("meta"):  # shapes without the memory that a forged config might ask for
        model: nn.Module = build_model(config)
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    if set(expected) != set(declared):
        wrong = sorted(set(expected) ^ set(declared))
        raise ValueError(f"weights do not fit the model: {', '.join(map(str, wrong[:5]))}")
    for name, shape in expected.items():
        if declared[name] != (torch.float32, shape):
            dtype, theirs = declared[name]
            raise ValueError(f"weight {name} is {dtype} {theirs}, expected float32 {shape}")


def _in_json(value: Any) -> bool:
    """Whether JSON has such a value: it has no NaN, no infinity, and nothing that is not plain."""
    try:
        json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
