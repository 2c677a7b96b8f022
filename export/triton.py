"""A model repository for NVIDIA Triton Inference Server: one folder to point ``tritonserver`` at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DrawError
from ..files import check_folder_writable, make_folder, write_bytes, write_text
from ..runtime.metadata import Metadata, interface

if TYPE_CHECKING:
    from .exported import Exported

MAX_BATCH_SIZE = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def write_repository(root: Path, name: str, exported: Exported) -> Path:
    """Write ``root/name/1/model.onnx`` and ``root/name/config.pbtxt``; returns the model's folder.

    Raises:
        DrawError: an unusable name, or a folder that cannot be written.
    """
    check_repository(root, name)
    text = config_text(name, exported.metadata, exported.batch)
    folder = root / name
    make_folder(folder / "1")
    # The configuration last: Triton takes a folder without one for no model.
    write_bytes(folder / "1" / "model.onnx", exported.data)
    write_text(folder / "config.pbtxt", text)
    return folder


def check_repository(root: Path, name: str) -> None:
    """Raise DrawError where :func:`write_repository` would fail: said before the work."""
    if not _NAME.fullmatch(name):
        raise DrawError(f"{name!r} is no name for a Triton model: letters, digits, '.', '_' and '-' only")
    check_folder_writable(root)


def config_text(name: str, metadata: Metadata, batch: int | None) -> str:
    """``config.pbtxt`` of a file of this metadata: dims without the batch axis, dynamic batching.

    A static first axis of ``batch`` pictures gives ``max_batch_size: 0``, whole dims and no batching.
    """
    first = () if batch is None else (batch,)
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH_SIZE if batch is None else 0}",
    ]
    for kind, arrays in zip(("input", "output"), interface(metadata), strict=True):
        for array, shape in arrays.items():
            dims = [*first, *shape]
            # Inputs and outputs are float32 always.
            lines += [f"{kind} {{", f'  name: "{array}"', "  data_type: TYPE_FP32"]
            if dims:
                lines.append(f"  dims: {dims}")
            else:
                # One number a picture: Triton wants an axis, and takes it away again for the model.
                lines += ["  dims: [1]", "  reshape { shape: [] }"]
            lines.append("}")
    if batch is None:
        lines += ["dynamic_batching {", "  max_queue_delay_microseconds: 1000", "}"]
    return "\n".join(lines) + "\n"
