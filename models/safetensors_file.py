"""The safetensors container: a JSON header of names, shapes and strings, then the numbers. Nothing in it can run.

The header's ``__metadata__`` maps strings to strings. What its strings mean is :mod:`.checkpoint`'s business.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..files import atomic_write, reading

# Our headers have 3 kB. The format allows 100 MB, which a forged file would have us parse.
MAX_HEADER = 1 << 20


def is_safetensors(path: Path) -> bool:
    """Whether a file looks like one: byte 8 opens the header. (A ``.ckpt`` is a zip file.)

    Raises:
        DrawError: the file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and not start.startswith(b"PK")


def write_safetensors(path: str | Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write atomically. The same weights and metadata give the same bytes.

    Raises:
        DrawError: the folder is missing or not writable, or the disk is full.
    """
    content = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in weights.items()}, metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    # The library writes the metadata in a hash table's order, another one every time.
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(content)[8 + length :])


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...]]]]:
    """What a file says of itself, checked against its size before any tensor is read.

    Returns:
        Its metadata, and of each tensor the dtype (as in "F32") and the shape, by name.

    Raises:
        DrawError: the file cannot be read.
        ValueError: sizes that are not the file's, bad JSON, a name that occurs twice, wrong types.
    """
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ValueError("the size of its header is wrong")
        header = strict_json(file.read(length).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not strings")
    tensors, end = {}, 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"weight {name} is not described as safetensors are")
        numbers = [*_whole_numbers(entry["shape"]), *_whole_numbers(entry["data_offsets"])]
        tensors[name] = (str(entry["dtype"]), tuple(numbers[:-2]))
        end = max(end, numbers[-1])
    if 8 + length + end != size:
        raise ValueError("its weights do not end where the file does")
    return metadata, tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU.

    Raises:
        DrawError: the file cannot be read.
        ValueError: tensors that overlap, leave gaps or contradict their shapes.
    """
    try:
        with reading(path):
            return safetensors.torch.load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def strict_json(text: str) -> Any:
    """JSON without what its parsers disagree on: names that occur twice, NaN and infinity.

    Raises:
        ValueError: it is no such JSON, or nested too deeply.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name occurs twice in its JSON")
        return result

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error


def _whole_numbers(values: Any) -> list[int]:
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise ValueError("its shapes and offsets are not lists of whole numbers")
    return values
