"""How it becomes a graph: the builder, the graphs, the parity check, ``draw-export``.

``build(checkpoint, options)`` gives an ONNX file's bytes, ``export(checkpoint, options)`` the bytes and the parity
report. They are looked up when first used, so that ``draw-export --help`` imports neither torch nor onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exported import export as export
    from .graphs import build as build
    from .options import ExportOptions as ExportOptions

_LAZY = {"build": "graphs", "ExportOptions": "options", "export": "exported"}

__all__ = ["ExportOptions", "build", "export"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
