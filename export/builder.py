"""A small graph builder: every node says where in the model it is, every weight is stored once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from ..runtime.metadata import BATCH_AXIS, MICROSOFT
from ..runtime.onnx_file import IR_VERSION, PRODUCER, graph_sha256
from .options import OPSET, Precision
from .quantisation import ZERO_POINT, quantised

_REPEATED = 1 << 16  # numbers of a constant that is stored as often as there are pictures: 256 kB

Attribute = int | float | str | Sequence[int] | Sequence[float]


class Matrix(NamedTuple):
    """A constant matrix [inputs, outputs] for :meth:`GraphBuilder.product`."""

    values: ir.Value
    scale: ir.Value | None  # [outputs] of an int8 matrix
    zero_point: ir.Value | None


class GraphBuilder:
    """Nodes are appended in the order in which they run; values are objects, so that none can dangle.

    Args:
        name: name of the graph.
        opset: version of the default operator domain, one of ``onnx_file.OPSETS``.
        batch: size of the first axis of inputs and outputs; None for the symbol ``batch_size``.
        dtype: fp16 makes weights given to :meth:`weight` float16, and :meth:`to_half` casts;
            int8 quantises those given to :meth:`matrix`, :meth:`quantised` and :meth:`head`.
    """

    def __init__(
        self, name: str, *, opset: int = OPSET, batch: int | None = None, dtype: Precision = "fp32"
    ) -> None:
        self.opset = opset
        self.batch = batch
        self.half, self.int8 = dtype == "fp16", dtype == "int8"
        versions = {"": opset, MICROSOFT: 1} if self.int8 else {"": opset}
        self._graph = ir.Graph([], [], nodes=[], opset_imports=versions, name=name)
        self._scopes: list[str] = []
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    # Names

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Nodes and values made inside are named ``…/name/…``."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def _name(self, name: str) -> str:
        path = "/" + "/".join([*self._scopes, name])
        count = self._names.get(path, 0)
        self._names[path] = count + 1
        return f"{path}_{count}" if count else path

    # Inputs, outputs, constants

    def input(self, name: str, shape: Sequence[int]) -> ir.Value:
        """A float32 input; ``shape`` is without the batch axis."""
        value = ir.Value(name=name, shape=self._batched(shape), type=ir.TensorType(ir.DataType.FLOAT))
        self._graph.inputs.append(value)
        return value

    def output(self, name: str, value: ir.Value, shape: Sequence[int]) -> None:
        """Give ``value``, float32, as the output ``name``; ``shape`` is without the batch axis."""
        value.name = name
        value.shape = self._batched(shape)
        value.type = ir.TensorType(ir.DataType.FLOAT)
        self._graph.outputs.append(value)

    def output_steps(self, name: str, steps: Sequence[ir.Value], shape: Sequence[int]) -> None:
        """Give one value a step, [batch, …] of ``shape``, together as the output ``name`` [batch, T, *shape]."""
        every = [len(steps), *shape]
        self.output(name, self.reshape(self.concat(steps, 1), [-1, *every]), every)

    def _batched(self, shape: Sequence[int]) -> ir.Shape:
        return ir.Shape([BATCH_AXIS if self.batch is None else self.batch, *shape])

    def constant(self, name: str, array: ArrayLike, dtype: type[np.generic] = np.float32) -> ir.Value:
        """An initializer, folded in float64 by the caller and rounded here, once. Equal content is stored once."""
        content: NDArray[np.generic] = np.asarray(array).astype(dtype, order="C")
        key = (content.dtype.str, content.shape, content.tobytes())
        if key not in self._constants:
            path = self._name(name)
            tensor = ir.tensor(content, name=path)
            value = ir.Value(
                name=path, shape=ir.Shape(content.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self._graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def weight(self, name: str, array: ArrayLike) -> ir.Value:
        """A constant in the precision of the recurrence: float16 with ``half``."""
        return self.constant(name, array, np.float16 if self.half else np.float32)

    def matrix(self, name: str, array: NDArray[np.float64]) -> Matrix:
        """A weight [inputs, outputs] of the recurrence, for :meth:`product`."""
        return self.quantised(name, array) if self.int8 else Matrix(self.weight(name, array), None, None)

    def quantised(self, name: str, array: NDArray[np.float64]) -> Matrix:
        """``array`` [inputs, outputs] in eight bits with a scale for each output."""
        values, scale = quantised(array)
        # Stored from 0 to 255 around 128. CPUs without VNNI add pairs of products with signed weights in 16 bits, which
        # saturate; unsigned ones they add exactly. For those with VNNI the runtime makes them signed again.
        return Matrix(
            self.constant(name, values + np.int16(ZERO_POINT), np.uint8),
            self.constant(f"{name}_scale", scale),
            self.constant("zero_point", [ZERO_POINT], np.uint8),
        )

    def head(self, name: str, array: NDArray[np.float64]) -> ir.Value:
        """A matrix [inputs, outputs] of a float32 product: with int8 only its storage has eight bits."""
        if not self.int8:
            return self.constant(name, array)
        values, scale = quantised(array)
        stored, scales = self.constant(name, values, np.int8), self.constant(f"{name}_scale", scale)
        # Folded when a session opens the file. Of DequantizeLinear ONNX Runtime makes a product that unpacks the
        # weights in every call, which takes twice as long in bulk.
        return self.op(
            "Mul", self.op("Cast", stored, to=int(ir.DataType.FLOAT)), scales, name=f"{name}_float"
        )

    def product(self, x: ir.Value, matrix: Matrix, addend: ir.Value, name: str | None = None) -> ir.Value:
        """x W + addend for x [batch, inputs]; ``addend`` is a constant [outputs], or a value [batch, outputs]."""
        if matrix.scale is None:
            return self.op("Gemm", x, matrix.values, addend, name=name)
        bias = addend if addend.const_value is not None else None
        inputs = (x, *matrix, bias) if bias else (x, *matrix)
        total = self.op("DynamicQuantizeMatMul", *inputs, name=name if bias else None, domain=MICROSOFT)
        return total if bias else self.op("Add", total, addend, name=name)

    def integers(self, name: str, values: int | Sequence[int]) -> ir.Value:
        """An int64 constant: axes, shapes and split sizes."""
        return self.constant(name, values, np.int64)

    # Nodes

    def op(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        name: str | None = None,
        domain: str = "",
        **attributes: Attribute,
    ) -> ir.Value:
        """A node with one output, called ``name`` in the scope, or after the node."""
        return self.ops(op_type, *inputs, names=[name], domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        names: Sequence[str | None],
        domain: str = "",
        **attributes: Attribute,
    ) -> tuple[ir.Value, ...]:
        """A node with one output for each of ``names``."""
        path = self._name(op_type)
        outputs = [
            ir.Value(name=self._name(name) if name else f"{path}_output_{i}") for i, name in enumerate(names)
        ]
        self._graph.append(ir.node(op_type, inputs, attributes, domain=domain, outputs=outputs, name=path))
        return tuple(outputs)

    def split(
        self, value: ir.Value, sizes: Sequence[int], axis: int, names: Sequence[str]
    ) -> tuple[ir.Value, ...]:
        """Pieces of the given ``sizes``; a single one is ``value`` itself."""
        if len(sizes) == 1:
            return (value,)
        return self.ops("Split", value, self.integers("sizes", sizes), names=names, axis=axis)

    def split_equal(self, value: ir.Value, axis: int, names: Sequence[str]) -> tuple[ir.Value, ...]:
        """One equal piece for each name; the axis may be dynamic."""
        if len(names) == 1:
            return (value,)
        if self.opset >= 18:
            return self.ops("Split", value, names=names, axis=axis, num_outputs=len(names))
        return self.ops("Split", value, names=names, axis=axis)

    def reshape(self, value: ir.Value, shape: Sequence[int], name: str | None = None) -> ir.Value:
        """``shape`` may hold one -1."""
        return self.op("Reshape", value, self.integers("shape", shape), name=name)

    def unsqueeze(self, value: ir.Value, axis: int) -> ir.Value:
        return self.op("Unsqueeze", value, self.integers("axes", [axis]))

    def concat(self, values: Sequence[ir.Value], axis: int, name: str | None = None) -> ir.Value:
        """``values`` joined along ``axis``; a single one is itself."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis, name=name)

    def to_half(self, value: ir.Value) -> ir.Value:
        """Into the recurrence: float16 with ``half``."""
        return self.op("Cast", value, to=int(ir.DataType.FLOAT16)) if self.half else value

    def to_single(self, value: ir.Value) -> ir.Value:
        """Out of the recurrence, to float32."""
        return self.op("Cast", value, to=int(ir.DataType.FLOAT)) if self.half else value

    def expand_to_batch(self, name: str, row: NDArray[np.float64], like: ir.Value, axis: int) -> ir.Value:
        """A constant with a 1 at ``axis``, repeated there for every picture in ``like`` [batch, …]."""
        if self.batch is not None:
            if self.batch * row.size <= _REPEATED:
                return self.constant(name, np.repeat(row, self.batch, axis))
            shape = [self.batch if k == axis else size for k, size in enumerate(row.shape)]
            return self.op(
                "Expand", self.constant(name, row), self.integers("shape", shape), name=f"{name}_batch"
            )
        batch = self.op("Gather", self.op("Shape", like), self.integers("first", [0]), axis=0)
        parts = [batch if k == axis else self.integers("one", [size]) for k, size in enumerate(row.shape)]
        return self.op("Expand", self.constant(name, row), self.concat(parts, 0), name=f"{name}_batch")

    # The file

    def model(self) -> onnx.ModelProto:
        """The finished model without metadata, through onnx.checker with full shape inference."""
        model = ir.Model(
            self._graph, ir_version=IR_VERSION, producer_name=PRODUCER, producer_version=__version__
        )
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        return proto


def to_bytes(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The file's bytes, the same for the same model and metadata; they say the digest of their own graph."""
    digest = graph_sha256(model.SerializeToString(deterministic=True))  # of all but the metadata
    onnx.helper.set_model_props(model, {**metadata, "graph_sha256": digest})
    return model.SerializeToString(deterministic=True)
