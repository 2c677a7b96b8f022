"""The front matter of a model's card: what a hub's index is made from.

Cards are Markdown behind YAML. Figures come from a checkpoint's metrics, under the names that draw-eval's figures have.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ..models.checkpoint import Checkpoint
from ..models.config import DrawConfig

SETS = {  # by data set: its name, and what a hub calls the set that its pictures come from
    "mnist": ("MNIST, fixed binarised", "ylecun/mnist"),
    "mnist-dynamic": ("MNIST, binarised afresh in every batch", "ylecun/mnist"),
    "mnist-two-digit": ("Two MNIST digits, 60x60", "ylecun/mnist"),
    "cluttered-mnist": ("Cluttered MNIST, 100x100", "ylecun/mnist"),
    "svhn": ("Street View House Numbers, 54x54 crops", "ufldl-stanford/svhn"),
    "cifar10": ("CIFAR-10", "uoft-cs/cifar10"),
}
# Licences that hubs know by these names; another one is `other`, with its own words.
_LICENCES = (
    "mit",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "gpl-3.0",
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./,%()-]*(?: [A-Za-z0-9_./,%()-]+)*")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")  # which YAML takes for something else

Figures = Mapping[str, Any]


def front_matter(name: str, checkpoint: Checkpoint, figures: Figures, licence: str) -> str:
    """The YAML between two lines of dashes.

    Args:
        figures: ``test_bound``, ``test_error`` and the others that :func:`metrics` knows.
        licence: of the weights, as in the ONNX file's metadata; empty: not stated.
    """
    draw = isinstance(checkpoint.config, DrawConfig)
    title, source = SETS.get(checkpoint.dataset, (checkpoint.dataset, checkpoint.dataset))
    task = "unconditional-image-generation" if draw else "image-classification"
    found = metrics(figures)
    known = licence.lower() in _LICENCES
    content: dict[str, Any] = {"license": licence.lower() if known else "other"}
    if not known:
        content["license_name"] = licence or "not stated"
    content |= {
        "library_name": "draw-onnx",
        "pipeline_tag": task,
        "tags": ["draw", "onnx", "safetensors", "pytorch", "attention", "vae" if draw else "glimpses"],
        "datasets": [source],
    }
    if found:
        content["metrics"] = [metric["type"] for metric in found]
        result = {
            "task": {"type": task},
            "dataset": {"type": checkpoint.dataset, "name": title, "split": "test"},
            "metrics": found,
        }
        content["model-index"] = [{"name": name, "results": [result]}]
    return f"---\n{''.join(_yaml(content, 0))}---\n"


def metrics(figures: Figures) -> list[dict[str, Any]]:
    """Test figures as a hub lists them; validation figures are none."""
    found: list[dict[str, Any]] = []

    def add(kind: str, name: str, key: str, **arguments: str) -> None:
        value = _finite(figures.get(f"test_{key}"))
        if value is None:
            return
        given = {k: _finite(figures.get(f"test_{v}")) for k, v in arguments.items()}
        beside = {k: v for k, v in given.items() if v is not None}
        metric: dict[str, Any] = {"type": kind, "name": name, "value": value}
        if beside:
            metric["args"] = beside
        found.append(metric)

    add(
        "negative_log_likelihood_bound",
        "test bound, nats per image (mean and standard error)",
        "bound",
        standard_error="standard_error",
        images="images",
    )
    add(
        "importance_weighted_bound",
        "importance-weighted test bound, nats per image",
        "importance_bound",
        standard_error="importance_standard_error",
        samples="importance_samples",
        images="importance_images",
    )
    add(
        "recognisability",
        "samples that a classifier of real digits can read, % (real and torn digits beside them)",
        "recognised",
        samples="recognised_samples",
        real="recognised_real",
        torn="recognised_torn",
    )
    error = _finite(figures.get("test_error"))
    if error is not None:
        found.append({"type": "accuracy", "name": "test accuracy", "value": round(1 - error / 100, 6)})
    add(
        "error_rate",
        "test error, % (95 % interval)",
        "error",
        low="error_low",
        high="error_high",
        images="images",
    )
    return found


def _finite(value: Any) -> float | None:
    """A number as it is; None for whatever else a checkpoint may hold under a figure's name."""
    # An int beyond float's range would be an OverflowError wherever it is shown.
    largest = sys.float_info.max
    return value if type(value) in (int, float) and -largest <= value <= largest else None


def _yaml(content: Any, depth: int) -> Iterator[str]:
    """Mappings, lists and scalars as YAML in blocks, lists not indented: what PyYAML reads and hubs write."""
    indent = "  " * depth
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(value, (Mapping, list)):
                yield f"{indent}{key}:\n"
                yield from _yaml(value, depth + (1 if isinstance(value, Mapping) else 0))
            else:
                yield f"{indent}{key}: {_scalar(value)}\n"
        return
    for item in content:
        lines = "".join(_yaml(item, depth + 1)) if isinstance(item, Mapping) else f"{_scalar(item)}\n"
        yield f"{indent}- {lines.lstrip()}"


def _scalar(value: Any) -> str:
    """A text that YAML could take for something else is quoted as in JSON, which is YAML too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
