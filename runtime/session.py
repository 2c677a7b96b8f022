"""Opening an exported file: found, read, checked against its own metadata, and ready to run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import DrawError, first_line
from ..files import reading
from ..pretrained import find_packaged, packaged_models
from . import metadata as names
from .batches import thread_count
from .metadata import Metadata, interface
from .noise import check_whole
from .onnx_file import OnnxFile, parse
from .providers import CUDA, ProviderError, create_session
from .quantised import check_quantised

MAX_BYTES = 1 << 30  # the largest model of the paper has some 40 MB

# Where time per picture stops falling on a CPU; on a GPU every kernel launch counts.
DEFAULT_BATCH = {"cpu": 32, "cuda": 256}

_COMMANDS = {names.DECODER: "draw-gen", names.CLASSIFIER: "draw-classify", names.SCORER: "draw-score"}
_FLOAT = "tensor(float)"

Floats = NDArray[np.float32]
Source = str | os.PathLike[str] | bytes  # a file's path or its content, or the name of a packaged model


@dataclass(frozen=True)
class Model:
    """An open file. Thread-safe."""

    name: str  # as the user gave it
    metadata: Metadata
    session: Any  # onnxruntime.InferenceSession
    fixed_batch: int | None  # N of a file exported with --batch N

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the outputs, by their names, without the batch axis."""
        return interface(self.metadata)[1]

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Names of the outputs but for those that tell what happened at every step."""
        return tuple(interface(replace(self.metadata, outputs=names.LEAN))[1])

    def run(self, inputs: Mapping[str, Floats], outputs: Sequence[str]) -> dict[str, Floats]:
        """One batch through the graph; first axes are the batch.

        A file of fixed batch size N takes up to N rows and is fed zeros for the others. A single row is
        run as two: some CPUs have a kernel of their own for one row, which sums in another order, and
        picture k must not depend on what else is asked for.

        Raises:
            DrawError: ONNX Runtime fails, or an output holds NaN or infinity or has another shape than its file declares.
        """
        rows = len(next(iter(inputs.values())))
        wanted = self.fixed_batch or max(rows, 2)
        if rows > wanted:
            raise DrawError(f"{self.name} takes batches of {wanted}, not {rows}")
        padded = {
            key: np.ascontiguousarray(value, np.float32)  # a whole batch is not copied
            if rows == wanted
            else np.concatenate(
                [value, np.zeros((wanted - rows, *value.shape[1:]), np.float32)], dtype=np.float32
            )
            for key, value in inputs.items()
        }
        try:
            results = self.session.run(list(outputs), padded)
        except MemoryError:
            raise
        except Exception as error:  # the binding raises half a dozen unrelated classes
            if "bad_alloc" in str(error):
                raise MemoryError from error
            raise DrawError(f"{self.name}: running it failed: {first_line(error)}") from error
        for key, value in zip(outputs, results, strict=True):
            # ONNX Runtime warns of another shape than the declared one, and gives it.
            if value.shape != (wanted, *self.shapes[key]):
                raise DrawError(
                    f"{self.name}: its {key} came out as {list(value.shape)}: the file is damaged"
                )
            if not np.isfinite(value[:rows]).all():
                raise DrawError(f"{self.name}: its {key} is not finite: the file is damaged")
        return {key: value[:rows] for key, value in zip(outputs, results, strict=True)}


class OpenedModel:
    """What Sampler, Classifier and Scorer share: a file of one model type, opened."""

    _model_type: ClassVar[str]

    def __init__(self, path: Source, provider: str = "auto", threads: int | None = None) -> None:
        self._model: Model = open_model(path, self._model_type, provider)
        self.threads = thread_count(threads, self.provider)
        # Another process may stand in another folder.
        name = isinstance(path, bytes) or path in packaged_models(".onnx")
        self._opened_by = (path if name else os.path.abspath(path), provider, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """A session cannot travel: who unpickles, a worker that was spawned for instance, opens the model again."""
        return type(self), self._opened_by

    @property
    def metadata(self) -> Metadata:
        """What the file says of itself."""
        return self._model.metadata

    @property
    def provider(self) -> str:
        """``cpu`` or ``cuda``: where it really runs."""
        return "cuda" if self._model.session.get_providers()[0] == CUDA else "cpu"

    @property
    def has_steps(self) -> bool:
        """Whether the file gives what happens at every step, not the result alone."""
        return self.metadata.outputs == names.STEPS

    def batch_size(self, asked: int | None = None) -> int:
        """Pictures that go through the graph at once.

        Raises:
            DrawError: less than 1, no whole number, or not the size that the file was exported for.
        """
        fixed = self._model.fixed_batch
        if asked is not None and (asked := check_whole(asked, "batch size")) < 1:
            raise DrawError(f"the batch size must be at least 1, not {asked}")
        if fixed is None:
            return asked or DEFAULT_BATCH[self.provider]
        if asked is not None and asked != fixed:
            raise DrawError(
                f"this file was exported for batches of {fixed}, not {asked}: leave the batch size out"
            )
        return fixed

    def _run(self, inputs: Mapping[str, Floats], steps: bool) -> dict[str, Any]:
        """One batch: its results and, where asked for and given, what happened at every step."""
        return self._model.run(inputs, tuple(self._model.shapes) if steps else self._model.results)


def open_model(path: Source, model_type: str, provider: str = "auto") -> Model:
    """Open an exported file, or a packaged model by its name.

    The model is loaded from bytes: given a path, ONNX Runtime would follow references to other files.

    Args:
        path: an ``.onnx`` file, the bare name of a packaged model such as ``mnist``, a folder of
            ``draw-export --hub``, or a file's content.
        model_type: what it must be, e.g. ``draw.decoder``.
        provider: ``auto``, ``cpu`` or ``cuda``, see :mod:`.providers`.

    Raises:
        DrawError: missing, not ours, damaged, of another kind, contradicting itself, or not loadable.
    """
    shown = _shown_name(path)
    data, declared = load(path, model_type)
    try:
        metadata = Metadata.from_props(declared.metadata)
        if metadata.model_type != model_type:
            made = ", which draw-export --graph scorer makes" if model_type == names.SCORER else ""
            raise DrawError(
                f"this is a {metadata.model_type}; use {_COMMANDS[metadata.model_type]}"
                f" ({_COMMANDS[model_type]} needs a {model_type}{made})"
            )
        if declared.external_data:
            raise DrawError("its weights are said to lie in another file, which is never followed")
        if declared.functions:
            raise DrawError("it uses a model-local function, which draw-export never writes")
        if foreign := declared.foreign_ops - metadata.foreign_operators:
            where = "" if metadata.foreign_operators else f" in a file of {metadata.dtype}"
            raise DrawError(f"it uses {'.'.join(min(foreign))}, which draw-export never writes{where}")
        if metadata.foreign_operators and not declared.foreign_ops:
            raise DrawError(f"it has none of the operators of a file of {metadata.dtype}")
        if declared.inner_graphs:
            raise DrawError(
                "it has a graph within the graph, as loops and branches do, which draw-export never writes"
            )
        if declared.sparse_tensors:  # whose values may lie in another file
            raise DrawError("it has a sparse tensor, which draw-export never writes")
        check_quantised(declared, metadata)
        # Of foreign operators only int8's have come this far.
        session = create_session(data, provider, bool(declared.foreign_ops))
        batch = _check_interface(session, metadata)
    except ProviderError:
        raise  # the machine's fault, not the file's
    except UnicodeDecodeError as error:  # names and shapes of the graph come as Python's strings
        raise DrawError(f"{shown}: it is damaged: its texts are not UTF-8") from error
    except DrawError as error:
        raise DrawError(f"{shown}: {error}") from error
    return Model(shown, metadata, session, batch)


def peek(path: Source) -> Metadata:
    """What a file says of itself; needs no ONNX Runtime.

    Raises:
        DrawError: missing, damaged, or not written by draw-export.
    """
    _, declared = load(path)
    try:
        return Metadata.from_props(declared.metadata)
    except DrawError as error:
        raise DrawError(f"{_shown_name(path)}: {error}") from error


def _shown_name(path: Source) -> str:
    return "the model" if isinstance(path, bytes) else os.fspath(path)


def load(path: Source, model_type: str = "") -> tuple[bytes, OnnxFile]:
    """A file's bytes and what they declare; whose file it is has not been looked at.

    ``model_type`` chooses in a folder that ``draw-export --hub`` wrote.

    Raises:
        DrawError: missing, empty, too large, or no ONNX file.
    """
    inside = (f"{model_type.removeprefix('draw.')}.onnx",) if model_type else ()
    data = path if isinstance(path, bytes) else _read(find_packaged(path, ".onnx", "model", inside))
    try:
        return data, parse(data)
    except DrawError as error:
        name = _shown_name(path)
        if name.endswith((".ckpt", ".safetensors")):
            raise DrawError(
                f"{name} is not an ONNX file; make one of a checkpoint: draw-export --ckpt {shlex.quote(name)} -o model.onnx"
            ) from error
        raise DrawError(f"{name} is not an ONNX file, or it is damaged: {error}") from error


def _read(path: Path) -> bytes:
    with reading(path):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DrawError(f"{path} has {size} bytes, more than a model can have ({MAX_BYTES})")
        data = bytearray()
        with path.open("rb") as file:
            # A device or a pipe has no size; read(n) would ask for the memory of n bytes at once.
            while len(data) <= MAX_BYTES and (piece := file.read(1 << 20)):
                data += piece
    if not data:
        raise DrawError(f"{path} is empty")
    if len(data) > MAX_BYTES:
        raise DrawError(f"{path} has more bytes than a model can have ({MAX_BYTES})")
    return bytes(data)


def _check_interface(session: Any, metadata: Metadata) -> int | None:
    """Compare the graph's inputs and outputs with the metadata; the fixed batch size, or None."""
    inputs, outputs = interface(metadata)
    actual_inputs = {value.name: value for value in session.get_inputs()}
    actual_outputs = {value.name: value for value in session.get_outputs()}
    if set(actual_inputs) != set(inputs):
        raise DrawError(
            f"its inputs are {', '.join(sorted(actual_inputs)) or 'none'}, but its metadata says {', '.join(inputs)}"
        )
    batches = set()
    for kind, expected, actual in (("input", inputs, actual_inputs), ("output", outputs, actual_outputs)):
        for name, shape in expected.items():
            if name not in actual:
                raise DrawError(f"it lacks the {kind} {name} that its metadata promises")
            value = actual[name]
            if value.type != _FLOAT:
                raise DrawError(f"its {kind} {name} is {value.type}, not {_FLOAT}")
            if len(value.shape) != len(shape) + 1 or tuple(value.shape[1:]) != shape:
                raise DrawError(
                    f"its {kind} {name} has shape {_shown(value.shape)}, but its metadata says {_shown([None, *shape])}"
                )
            batches.add(value.shape[0] if isinstance(value.shape[0], int) else None)
    if surplus := sorted((names.OF_STEPS & set(actual_outputs)) - set(outputs)):
        raise DrawError(f"it has the output {surplus[0]}, of which its metadata does not know")
    if len(batches) != 1:
        raise DrawError("its inputs and outputs disagree on the batch size")
    batch = batches.pop()
    if batch is not None and not 1 <= batch <= names.MAX_SIZE:
        raise DrawError(f"its batch size is {batch}")
    return batch


def _shown(shape: Sequence[Any]) -> str:
    return "[" + ", ".join(str(n) if isinstance(n, int) else "batch" for n in shape) + "]"
