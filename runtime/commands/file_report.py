"""``draw-doctor --onnx``: what a file is, and whether its graph still is the one that draw-export wrote.

A file keeps its metadata when somebody quantises, simplifies or edits its graph afterwards: it would go on saying
``parity_atol 1e-05``. So draw-export writes the digest of the graph into the metadata. Files from before that are
judged by what draw-export never writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ...errors import DrawError
from ...pretrained import find_packaged, hub_models, packaged_models
from ..metadata import CLASSIFIER, DECODER, INT8, SCORER, STANDARD, STEPS, Metadata, interface
from ..onnx_file import IR_VERSION, OPSETS, PRODUCER, OnnxFile, graph_sha256
from ..providers import ProviderError
from ..session import load, open_model

# What draw-export writes; a test holds every kind of export against these.
OPERATORS = {
    *("Abs", "Add", "Cast", "Clip", "Concat", "CumSum", "Div", "Exp", "Expand", "Gather"),
    *("Gemm", "Identity", "LSTM", "Log", "MatMul", "Max", "Mul", "Neg", "ReduceSum", "Relu"),
    *("Reshape", "Round", "Shape", "Sigmoid", "Softmax", "Split", "Sqrt", "Sub", "Tanh"),
    *("Transpose", "Unsqueeze"),
}
_OF_INT8 = {"MatMulInteger", "QuantizeLinear"}
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
_TYPES |= {11: "float64", 16: "bfloat16", 21: "uint4", 22: "int4"}
_WRITTEN_TYPES = ("float32", "int64", "float16")
_HALF_GATE = 1e-3  # no half-precision file passes a narrower one

_USES = {DECODER: "paints from noise: draw-gen", CLASSIFIER: "names pictures: draw-classify"}
_USES[SCORER] = "rates pictures: draw-score"


def report(path: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Lines (label, text) about a file, and what is wrong with it: empty if its graph is as draw-export wrote it.

    Of a folder of ``draw-export --hub`` about every graph in it.

    Raises:
        DrawError: missing, or no ONNX file at all.
    """
    found = find_packaged(path, ".onnx", "model")
    files = hub_models(path)
    if found not in files:  # a file, or a packaged model, which goes before a folder of its name
        return _report(path)
    lines, problems = [], []
    for file in files:
        try:
            about, wrong = _report(str(file))
        except DrawError as error:
            about, wrong = [("file", str(file))], [str(error)]
        lines += about
        problems += wrong if len(files) == 1 else [f"{file.name}: {text}" for text in wrong]
    return lines, problems


def _report(path: str) -> tuple[list[tuple[str, str]], list[str]]:
    data, declared = load(path)
    found = find_packaged(path, ".onnx", "model")
    lines = [
        ("file", f"{found}, {len(data):,} bytes"),
        ("SHA-256", hashlib.sha256(data).hexdigest() + _packaged_as(data)),
    ]
    try:
        metadata = Metadata.from_props(declared.metadata)
    except DrawError as error:
        return [*lines, *_graph(declared)], [str(error)]
    lines += [*_about(metadata), *_graph(declared)]
    problems = []
    try:
        lines.append(("runs", _tried(data, metadata)))
    except ProviderError as error:  # the machine's fault, not the file's
        lines.append(("runs", f"not tried: {error}"))
    except DrawError as error:
        problems.append(str(error).removeprefix("the model: "))
    if metadata.draw_onnx_version:
        lines.append(("written by", f"draw-export {metadata.draw_onnx_version}, {_comparison(metadata)}"))
    changed, digest = list(evidence(declared, metadata)), metadata.graph_sha256
    if digest is None and not changed:
        text = "nothing in it that draw-export does not write; it is from before files carried a digest"
        lines.append(("state", text))
    elif digest == graph_sha256(data):
        text = "its graph is as draw-export wrote it: the digest agrees (it does not cover the metadata)"
        lines.append(("state", text))
    else:
        if digest is not None:
            changed.insert(0, "its graph is not the one of the digest in its metadata")
        problems.append(
            f"changed since draw-export wrote it: {'; '.join(changed)}. What its metadata say of parity and"
            " weights no longer holds: export it again"
        )
    return lines, problems


def evidence(declared: OnnxFile, metadata: Metadata) -> Iterator[str]:
    """What draw-export would not have written."""
    if declared.producer != PRODUCER:
        yield f"it was last saved by {declared.producer or 'a program without a name'}"
    types = (*_WRITTEN_TYPES, "int8", "uint8") if metadata.dtype == INT8 else _WRITTEN_TYPES
    others = {kind: n for kind, n in _weights(declared).items() if kind not in types}
    if others:
        yield "weights of " + ", ".join(f"{kind} ({n})" for kind, n in sorted(others.items()))
    ours = OPERATORS | {operator for _, operator in metadata.foreign_operators}
    if metadata.dtype == INT8:
        ours |= _OF_INT8
    foreign = sorted(
        {f"{domain}.{operator}" for domain, operator in declared.foreign_ops - metadata.foreign_operators}
        | (set(declared.operators) - ours)
    )
    if declared.functions:
        yield "functions of its own"
    if declared.inner_graphs:
        yield "graphs within the graph"
    if declared.sparse_tensors:
        yield "sparse tensors"
    if foreign:
        more = f" and {len(foreign) - 4} more" if len(foreign) > 4 else ""
        yield f"operators {', '.join(foreign[:4])}{more}"
    if "float16" in _weights(declared) and _number(metadata.parity_atol) < _HALF_GATE:
        yield f"float16 weights, which pass no gate of {metadata.parity_atol}"
    if declared.opset not in OPSETS or declared.ir_version != IR_VERSION:
        yield f"opset {declared.opset}, IR version {declared.ir_version}"
    if declared.external_data:
        yield "weights in another file"


def _about(metadata: Metadata) -> Iterator[tuple[str, str]]:
    trained = metadata.dataset + (f" ({metadata.train_size:,} pictures)" if metadata.train_size else "")
    yield "model", f"{metadata.model_type} ({_USES[metadata.model_type]}), trained on {trained}"
    size = " x ".join(map(str, metadata.image_shape))
    prior = f" ({metadata.prior} prior)" if metadata.prior != STANDARD else ""
    latent = f", {metadata.latent_size} latents a step{prior}" if metadata.latent_size else ""
    yield "sizes", f"pictures {size}, {metadata.time_steps} steps, {metadata.hidden_size} units{latent}"
    windows = [("read", metadata.read_size), ("write", metadata.write_size)]
    shown = ", ".join(f"{name} {n} x {n}" for name, n in windows if n)
    yield "windows", shown or "none: no attention"
    if metadata.labels:
        yield "labels", ", ".join(metadata.labels)
    inputs, outputs = interface(metadata)
    steps = "every step" if metadata.outputs == STEPS else "results only (--outputs image)"
    yield "interface", f"{', '.join(inputs)} -> {', '.join(outputs)}; {steps}"
    yield "weights", f"SHA-256 {metadata.weights_sha256}"
    yield (
        "licence",
        f"{metadata.model_license or 'not stated'}; {metadata.model_author or 'no author stated'}",
    )


def _graph(declared: OnnxFile) -> Iterator[tuple[str, str]]:
    common = ", ".join(f"{name} {n}" for name, n in declared.operators.most_common(6))
    more = len(declared.operators) - 6
    yield (
        "graph",
        f"opset {declared.opset}, IR version {declared.ir_version}, {declared.operators.total()} nodes: {common}"
        + (f" and {more} other operators" if more > 0 else ""),
    )
    kinds = ", ".join(f"{n} of {kind}" for kind, n in _weights(declared).items())
    yield "tensors", (kinds or "none") + (", some in another file" if declared.external_data else "")


def _weights(declared: OnnxFile) -> dict[str, int]:
    counted = declared.weights.most_common()
    return {_TYPES.get(number, f"type {number}"): n for number, n in counted}


def _tried(data: bytes, metadata: Metadata) -> str:
    """Opened and run once, on zeros, on the CPU."""
    import numpy as np

    model = open_model(data, metadata.model_type, "cpu")
    inputs, outputs = interface(metadata)
    feeds = {name: np.zeros((1, *shape), np.float32) for name, shape in inputs.items()}
    model.run(feeds, list(outputs))
    batch = f"batches of {model.fixed_batch}" if model.fixed_batch else "batches of any size"
    return f"on the CPU, in {batch}"


def _comparison(metadata: Metadata) -> str:
    if not metadata.compared:
        return "never compared with PyTorch"
    return f"which compared it with PyTorch: {metadata.compared}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _packaged_as(data: bytes) -> str:
    """`` (the packaged NAME)`` if the bytes are those of a packaged model."""
    for name in packaged_models(".onnx"):
        packaged: Path = find_packaged(name, ".onnx", "model")
        if packaged.stat().st_size == len(data) and packaged.read_bytes() == data:
            return f" (the packaged model {name})"
    return ""
