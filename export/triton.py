"""A model repository for NVIDIA Triton Inference Server: one folder to point ``tritonserver`` at."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from ..errors import DrawError
from ..files import check_folder_writable, make_folder, write_bytes, write_text

MAX_BATCH_SIZE = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def write_repository(root: Path, name: str, data: bytes) -> Path:
    """Write ``root/name/1/model.onnx`` and ``root/name/config.pbtxt``; returns the model's folder.

    Raises:
        DrawError: an unusable name, or a folder that cannot be written.
    """
    check_repository(root, name)
    text = config_text(name, data)
    folder = root / name
    make_folder(folder / "1")
    # The configuration last: Triton takes a folder without one for no model.
    write_bytes(folder / "1" / "model.onnx", data)
    write_text(folder / "config.pbtxt", text)
    return folder


def check_repository(root: Path, name: str) -> None:
    """Raise DrawError where :func:`write_repository` would fail: said before the work."""
    if not _NAME.fullmatch(name):
        raise DrawError(f"{name!r} is no name for a Triton model: letters, digits, '.', '_' and '-' only")
    check_folder_writable(root)


def config_text(name: str, data: bytes) -> str:
    """``config.pbtxt`` for the graph in ``data``: dims without the batch axis, dynamic batching.

    A static first axis of N pictures gives ``max_batch_size: 0``, whole dims and no batching.
    """
    graph = onnx.load_from_string(data).graph
    static = graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {0 if static else MAX_BATCH_SIZE}",
    ]
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim[0 if static else 1 :]]
            # Inputs and outputs are float32 always.
            lines += [f"{kind} {{", f'  name: "{value.name}"', "  data_type: TYPE_FP32"]
            if dims:
                lines.append(f"  dims: {dims}")
            else:
                # One number a picture: Triton wants an axis, and takes it away again for the model.
                lines += ["  dims: [1]", "  reshape { shape: [] }"]
            lines.append("}")
    if not static:
        lines += ["dynamic_batching {", "  max_queue_delay_microseconds: 1000", "}"]
    return "\n".join(lines) + "\n"
