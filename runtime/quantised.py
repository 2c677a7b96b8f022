"""What an int8 file hands to ONNX Runtime's own operators: sizes, and the sign of weights and pictures.

Many releases of ONNX Runtime (1.20 to 1.27 were tried) take their weights in any shape, and read or write past the end
of short ones. The operators of the default domain are checked there.
"""

from __future__ import annotations

from ..errors import DrawError
from ..processor import has_vnni
from .metadata import NOISE, Metadata
from .onnx_file import Node, OnnxFile, parse, with_signed_tensors

Shape = tuple[int, ...]
_NOISE_BY_STEP = Node("Transpose", (NOISE,), {"perm": (1, 0, 2)})


def check_quantised(declared: OnnxFile, metadata: Metadata) -> None:
    """Raises DrawError unless weights, scales, zero points and biases are stored tensors of shapes that agree."""
    for node in declared.foreign_nodes:
        lstm = node.operator == "DynamicQuantizeLSTM"
        stored = _lstm(metadata) if lstm else _product(declared, node)
        computed = (0, 5, 6) if lstm else (0,)  # what comes in, and an LSTM's first states
        if node.attributes != ({"hidden_size": (metadata.hidden_size,)} if lstm else {}):
            raise DrawError(f"its {node.operator} has other attributes than draw-export writes")
        # What comes in is as wide as W only if it is the noise, whose shape is held against the metadata.
        if lstm and declared.transposes.get("".join(node.inputs[:1])) != _NOISE_BY_STEP:
            raise DrawError(f"its {node.operator} takes something else than the noise")
        for position in range(max(len(node.inputs), *stored) + 1):
            name = "".join(node.inputs[position : position + 1])
            if position in stored:
                fits = declared.shapes.get(name) in stored[position]
            else:
                fits = not name or position in computed
            if not fits:
                raise DrawError(
                    f"input {position} of its {node.operator} ({name or 'none'}) has not the right size"
                )


def for_this_cpu(data: bytes) -> bytes:
    """The file as ONNX Runtime is to see it: on CPUs with VNNI, whose products with signed weights are as exact as those
    with the unsigned ones of an int8 file and three times as fast, with signed ones; else ``data``. A classifier's picture
    becomes signed with them, by the zero point that it is made with.

    Raises:
        DrawError: the bytes are no ONNX model, or they end too early.
    """
    if b"DynamicQuantize" not in data or not has_vnni():
        return data
    declared = parse(data)
    names = {name for node in declared.foreign_nodes for name in node.inputs}
    return with_signed_tensors(data, names | declared.zero_points)


def _lstm(metadata: Metadata) -> dict[int, tuple[Shape, ...]]:
    """Shapes by the input's position: W, R, B, then scale and zero point of W and R."""
    h, z = metadata.hidden_size, metadata.latent_size
    scale, zero = ((1, 4 * h),), ((1,), (1, 4 * h))
    return {
        1: ((1, z, 4 * h),),
        2: ((1, h, 4 * h),),
        3: ((1, 8 * h),),
        8: scale,
        9: zero,
        10: scale,
        11: zero,
    }


def _product(declared: OnnxFile, node: Node) -> dict[int, tuple[Shape, ...]]:
    """B, its scale and zero point, and where there is one the bias."""
    shape = declared.shapes.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or len(shape) != 2 or 0 in shape:
        raise DrawError(f"the weights of its {node.operator} are no stored matrix")
    columns = shape[1]
    shapes: dict[int, tuple[Shape, ...]] = {1: (shape,), 2: ((columns,),), 3: ((1,), (columns,))}
    return shapes | {4: ((columns,),)} if any(node.inputs[4:]) else shapes
