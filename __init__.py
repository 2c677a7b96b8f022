"""DRAW in PyTorch, unrolled into plain ONNX, and run without PyTorch.

``Sampler``, ``Classifier`` and ``Scorer`` run exported files with ONNX Runtime and NumPy alone.
They are looked up when first used, so that ``import draw_onnx`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime.classifier import Classifier as Classifier
    from .runtime.sampler import Sampler as Sampler
    from .runtime.scorer import Scorer as Scorer

__version__ = "0.1.0"

_LAZY = {
    "Sampler": "runtime.sampler",
    "Classifier": "runtime.classifier",
    "Scorer": "runtime.scorer",
}

__all__ = ["Classifier", "Sampler", "Scorer", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
