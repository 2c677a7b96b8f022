"""Checkpoints: one file of tensors and plain values, read with ``weights_only=True`` and nothing else."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DrawError
from ..files import write_atomically
from ..runtime.metadata import COVER, PAD
from .classifier import GlimpseClassifier
from .config import ModelConfig, config_from_dict, config_to_dict, model_kind
from .draw import Draw

FORMAT_VERSION = 1
_MAGIC = "draw-onnx checkpoint"


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
    picture_fit: str = PAD  # how files become its input: "pad" or "cover" (runtime/pictures/reading.py)
    binary: bool | None = None  # whether its pictures are 0 and 1; None in older files, which do not say

    def build(self, dtype: torch.dtype = torch.float32) -> Draw | GlimpseClassifier:
        """The model with ``weights``, in evaluation mode on the CPU."""
        model = build_model(self.config)
        model.load_state_dict(self.weights)
        return model.to(dtype).eval()


def build_model(config: ModelConfig) -> Draw | GlimpseClassifier:
    """A model with fresh weights."""
    return GlimpseClassifier(config) if model_kind(config) == "classifier" else Draw(config)  # type: ignore[arg-type]


def weights_sha256(weights: dict[str, Tensor], config: ModelConfig) -> str:
    """Identity of a model: SHA-256 over names, dtypes, shapes and bytes (sorted by name) and the config's JSON."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    canonical = {"kind": model_kind(config), **config_to_dict(config)}
    digest.update(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode())
    return digest.hexdigest()


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write atomically; the bytes do not depend on the file's name.

    Raises:
        DrawError: the folder is missing or not writable, or the disk is full.
    """
    content = {
        "magic": _MAGIC,
        "format_version": FORMAT_VERSION,
        "kind": model_kind(checkpoint.config),
        "config": config_to_dict(checkpoint.config),
        "dataset": checkpoint.dataset,
        "picture_fit": checkpoint.picture_fit,
        "binary": checkpoint.binary,
        "weights": {k: v.detach().cpu().clone() for k, v in checkpoint.weights.items()},
        "iteration": checkpoint.iteration,
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
    }
    write_atomically(path, lambda handle: torch.save(content, handle))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU. No code in the file is ever run.

    Raises:
        DrawError: missing, truncated, not a checkpoint, of the wrong kind, or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        raise DrawError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise DrawError(f"no checkpoint at {path}")
    broken = f"{path} is not a draw-onnx checkpoint, or it is damaged"
    _check_declared_size(path, broken)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DrawError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises whatever its parsers meet
        raise DrawError(broken) from error
    if not isinstance(content, dict) or content.get("magic") != _MAGIC:
        raise DrawError(f"{path} is not a draw-onnx checkpoint")
    version = content.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise DrawError(broken)
    if version > FORMAT_VERSION:
        raise DrawError(
            f"{path} has checkpoint format {version}, newer than this package reads ({FORMAT_VERSION}); upgrade draw-onnx"
        )
    try:
        config = config_from_dict(content["kind"], content["config"])
        checkpoint = Checkpoint(
            config=config,
            dataset=content["dataset"],
            weights=content["weights"],
            picture_fit=content.get("picture_fit", PAD),  # absent in older files
            binary=content.get("binary"),
            iteration=content["iteration"],
            metrics=content["metrics"],
            training=content["training"],
        )
        _check_weights(checkpoint)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DrawError(f"{broken}: {error}") from error
    return checkpoint


def _check_declared_size(path: Path, broken: str) -> None:
    """A checkpoint is a zip of stored (not deflated) records: what it unpacks to cannot exceed its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(info.file_size for info in archive.infolist())
        if declared > path.stat().st_size:
            raise DrawError(broken)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DrawError(broken) from error
    except OSError as error:
        raise DrawError(f"cannot read {path}: {error.strerror or error}") from error


def _check_weights(checkpoint: Checkpoint) -> None:
    if checkpoint.picture_fit not in (PAD, COVER):
        raise ValueError("unknown picture_fit")
    if not isinstance(checkpoint.binary, bool | None):
        raise ValueError("binary is neither true nor false")
    if not isinstance(checkpoint.dataset, str) or not isinstance(checkpoint.weights, dict):
        raise ValueError("wrong types")
    if not isinstance(checkpoint.iteration, int) or not isinstance(checkpoint.metrics, dict):
        raise ValueError("wrong types")
    with torch.device("meta"):  # shapes without the memory that a forged config might ask for
        model: nn.Module = build_model(checkpoint.config)
    expected = {k: v.shape for k, v in model.state_dict().items()}
    if set(expected) != set(checkpoint.weights):
        wrong = sorted(set(expected) ^ set(checkpoint.weights))
        raise ValueError(f"weights do not fit the model: {', '.join(map(str, wrong[:5]))}")
    for name, shape in expected.items():
        tensor = checkpoint.weights[name]
        if tensor.shape != shape or tensor.dtype != torch.float32:
            raise ValueError(
                f"weight {name} is {tensor.dtype} {tuple(tensor.shape)}, expected float32 {tuple(shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"weight {name} holds NaN or infinity")
