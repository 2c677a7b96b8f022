"""Just enough of the ONNX file format to judge a file before ONNX Runtime is let near it.

ONNX is protobuf: fields of (number, wire type, value). Only the few fields that matter here are
looked at; the rest is skipped. Reading them costs some ten milliseconds for a thousand nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import DrawError

# As draw-export writes them.
PRODUCER, IR_VERSION = "draw-onnx", 8
OPSETS = range(13, 19)  # 13: Split and ReduceSum as they are used there; 18: the last that IR version 8 knows

# Field numbers of onnx.proto.
_MODEL_IR_VERSION, _MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_OPSET = 1, 2, 7, 8
_MODEL_METADATA, _MODEL_FUNCTIONS = 14, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 3, 8
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE_TENSOR, _ATTRIBUTE_SPARSE_TENSORS = 22, 23
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW_DATA = 1, 2, 8, 9
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_UINT8, _INT8 = 2, 3
_128_LESS = bytes(number ^ 128 for number in range(256))  # of an unsigned byte, as a signed one

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ORT_FORMAT = b"ORTM"  # in a flatbuffer's place for its kind
# What runs: the graph and the meaning of its operators. Who wrote it, and the metadata, may change.
_DIGESTED = (_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS)
_MAX_DEPTH = 4  # graphs in attributes of nodes of graphs; exported files have none at all
_MAX_FIELDS = 1 << 20  # of a file: a second to read; the largest packaged one has 12,000
_MAX_NUMBERS = 16  # kept of a list, in which whoever looks expects fewer


class Node(NamedTuple):
    operator: str
    inputs: tuple[str, ...]  # names; empty for one that is left out
    attributes: dict[str, tuple[int, ...]]  # whole numbers; empty for others


@dataclass
class OnnxFile:
    """What a file declares."""

    fields: int = 0  # protobuf's, however deep, as far as they were read
    ir_version: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    external_data: bool = False  # some weight lies in another file
    # (domain, operator) outside the default domain
    foreign_ops: set[tuple[str, str]] = field(default_factory=set)
    functions: bool = False  # it brings operators of its own
    inner_graphs: bool = False  # loops and branches
    sparse_tensors: bool = False
    producer: str = ""  # the program that wrote it
    opset: int = 0  # version of the default domain
    operators: Counter[str] = field(default_factory=Counter)  # nodes by operator
    # stored tensors by onnx.proto's number of their type
    weights: Counter[int] = field(default_factory=Counter)
    foreign_nodes: list[Node] = field(default_factory=list)
    transposes: dict[str, Node] = field(default_factory=dict)  # the graph's own, by what comes out
    zero_points: set[str] = field(default_factory=set)  # of the graph's own QuantizeLinear
    # of the graph's own stored tensors by name; None where a name is there twice
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)


def parse(data: bytes) -> OnnxFile:
    """Read the declarations of an ONNX file.

    Raises:
        DrawError: the bytes are no ONNX model, or they end too early.
    """
    if data[4:8] == _ORT_FORMAT:
        raise DrawError("it is in ONNX Runtime's own format, or might be taken for it")
    result = OnnxFile()
    graphs = 0
    for number, value in _fields(memoryview(data), result):
        if isinstance(value, int):
            if number == _MODEL_IR_VERSION:
                result.ir_version = value
        elif number == _MODEL_PRODUCER:
            result.producer = _text(value)
        elif number == _MODEL_OPSET:
            opset = dict(_fields(value, result))
            domain = opset.get(_OPSET_DOMAIN)
            if domain is None or (isinstance(domain, memoryview) and bytes(domain) in (b"", b"ai.onnx")):
                version = opset.get(_OPSET_VERSION, 0)
                result.opset = version if isinstance(version, int) else 0
        elif number == _MODEL_GRAPH:
            graphs += 1
            _graph(value, result, 0)
        elif number == _MODEL_METADATA:
            entry = dict(_messages(value, result))
            result.metadata[_text(entry.get(_ENTRY_KEY))] = _text(entry.get(_ENTRY_VALUE))
        elif number == _MODEL_FUNCTIONS:
            result.functions = True
    if not result.ir_version or graphs != 1:
        raise DrawError("it has no graph")
    return result


def graph_sha256(data: bytes) -> str:
    """Digest of all that decides what a file computes: graph with weights, operator versions, functions.

    Raises:
        DrawError: the bytes are no ONNX model, or they end too early.
    """
    digest = hashlib.sha256()
    for number, value in _fields(memoryview(data)):
        if number in _DIGESTED:
            content = str(value).encode() if isinstance(value, int) else value
            digest.update(f"{number} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()


def with_signed_tensors(data: bytes, names: Set[str]) -> bytes:
    """The file with its graph's stored uint8 tensors as int8, 128 less in each number, if all are among ``names`` and are
    stored as draw-export stores them; else ``data``.

    Raises:
        DrawError: the bytes are no ONNX model, or they end too early.
    """
    edited = bytearray(data)
    graphs = (value for number, value in _messages(memoryview(edited)) if number == _MODEL_GRAPH)
    for tensor in (
        value for graph in graphs for number, value in _messages(graph) if number == _GRAPH_INITIALIZER
    ):
        fields = dict(_fields(tensor))
        name, raw = fields.get(_TENSOR_NAME), fields.get(_TENSOR_RAW_DATA)
        if fields.get(_TENSOR_TYPE) != _UINT8:
            continue
        position = 0
        while tensor[position] == _TENSOR_DIMS << 3 | _VARINT:  # ends: the type is somewhere
            _, position = _varint(tensor, position + 1)
        declared = tensor[position : position + 2]
        if not isinstance(name, memoryview) or not isinstance(raw, memoryview):
            return data
        if _text(name) not in names or declared != bytes([_TENSOR_TYPE << 3 | _VARINT, _UINT8]):
            return data
        declared[1] = _INT8
        raw[:] = bytes(raw).translate(_128_LESS)
    return bytes(edited)


def _graph(view: memoryview, result: OnnxFile, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise DrawError("its graphs are nested too deeply")
    result.inner_graphs |= depth > 0
    for number, value in _messages(view, result):
        if number == _GRAPH_NODE:
            _node(value, result, depth)
        elif number == _GRAPH_INITIALIZER:
            name, shape = _tensor(value, result)
            if depth == 0:
                result.shapes[name] = None if name in result.shapes else shape
        elif number == _GRAPH_SPARSE_INITIALIZER:
            result.sparse_tensors = True


def _node(view: memoryview, result: OnnxFile, depth: int) -> None:
    op_type = domain = ""
    inputs: list[str] = []
    output = ""
    attributes: dict[str, tuple[int, ...]] = {}
    for number, value in _messages(view, result):
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            output = _text(value)
        elif number == _NODE_OP_TYPE:
            op_type = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            name, numbers = "", []
            for inner, content in _fields(value, result):
                if inner == _ATTRIBUTE_INTS or (inner == _ATTRIBUTE_INT and isinstance(content, int)):
                    _keep(numbers, content)
                elif isinstance(content, int):
                    continue
                elif inner == _ATTRIBUTE_NAME:
                    name = _text(content)
                elif inner in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                    _tensor(content, result)
                elif inner in (_ATTRIBUTE_SPARSE_TENSOR, _ATTRIBUTE_SPARSE_TENSORS):
                    result.sparse_tensors = True
                elif inner in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                    _graph(content, result, depth + 1)
            attributes[name] = tuple(numbers)
    result.operators[op_type] += 1
    if domain not in ("", "ai.onnx"):
        result.foreign_ops.add((domain, op_type))
        result.foreign_nodes.append(Node(op_type, tuple(inputs), attributes))
    elif op_type == "Transpose" and depth == 0:
        result.transposes[output] = Node(op_type, tuple(inputs), attributes)
    elif op_type == "QuantizeLinear" and depth == 0:
        result.zero_points.update(inputs[2:3])


def _tensor(view: memoryview, result: OnnxFile) -> tuple[str, tuple[int, ...]]:
    """Its name and shape."""
    name, shape = "", []
    for number, value in _fields(view, result):
        if number == _TENSOR_DIMS:
            _keep(shape, value)
        elif number == _TENSOR_NAME and isinstance(value, memoryview):
            name = _text(value)
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            result.external_data = True
        elif number == _TENSOR_TYPE and isinstance(value, int):
            result.weights[value] += 1
    return name, tuple(shape)


def _keep(numbers: list[int], value: int | memoryview) -> None:
    """Append one number, or several packed ones, up to as many as are kept."""
    if isinstance(value, int):
        if len(numbers) < _MAX_NUMBERS:
            numbers.append(value)
        return
    position = 0
    while position < len(value) and len(numbers) < _MAX_NUMBERS:
        number, position = _varint(value, position)
        numbers.append(number)


def _messages(view: memoryview, of: OnnxFile | None = None) -> Iterator[tuple[int, memoryview]]:
    """Those of the fields that are messages, texts or bytes."""
    return ((number, value) for number, value in _fields(view, of) if isinstance(value, memoryview))


def _fields(view: memoryview, of: OnnxFile | None = None) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of one message: bytes where the field has a length, numbers where it is a varint.

    They are counted where it is said ``of`` which file they are.
    """
    position, end = 0, len(view)
    while position < end:
        start = position
        if of is not None:
            of.fields += 1
            if of.fields > _MAX_FIELDS:
                raise DrawError(f"it has more than {_MAX_FIELDS:,} fields")
        key, position = _varint(view, position)
        number, wire = key >> 3, key & 7
        # ONNX Runtime's reader keeps 32 bits of a key: what has more would be one field here and another one there.
        if number == 0 or key >= 1 << 32 or position - start > 5:
            raise DrawError("it is not in ONNX's format")
        if wire == _VARINT:
            value, position = _varint(view, position)
            yield number, value
            continue
        if wire not in (_BYTES, _FIXED64, _FIXED32):
            raise DrawError("it is not in ONNX's format")
        if wire == _BYTES:
            length, position = _varint(view, position)
        else:
            length = 8 if wire == _FIXED64 else 4
        if length > end - position:
            raise DrawError("it ends too early")
        # Nothing that is looked at has a fixed length: to ONNX Runtime such a field is unknown.
        if wire == _BYTES:
            yield number, view[position : position + length]
        position += length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(view):
            raise DrawError("it ends too early")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value < 1 << 64:
            return value, position
    raise DrawError("it is not in ONNX's format")


def _text(value: memoryview | None) -> str:
    try:
        return bytes(value or b"").decode()
    except UnicodeDecodeError:
        raise DrawError("its texts are not UTF-8") from None
