"""Fake models, a way to run commands in this process, and an editor of ONNX bytes that needs no onnx."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

FAKE = Path(__file__).resolve().parent.parent / "fake"


@pytest.fixture(scope="session")
def fake() -> Path:
    """Folder of the fake models, see make_fake_models.py there."""
    return FAKE


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("gen", "--gif", path)``: draw-gen with these arguments, in this process."""

    def call(command: str, *arguments: object) -> Ran:
        module = importlib.import_module(f"draw_onnx.runtime.commands.{command}")
        monkeypatch.setattr(sys, "argv", [f"draw-{command}", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            module.main()
        captured = capsys.readouterr()
        code = exit_.value.code
        return Ran(code if isinstance(code, int) else 1, captured.out, captured.err)

    return call


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def top_level(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """(number, the whole field, its content) of a ModelProto."""

    def read(position: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, position

    found, position = [], 0
    while position < len(data):
        begin = position
        key, position = read(position)
        if key & 7 == 2:
            length, position = read(position)
            content = data[position : position + length]
            position += length
        else:
            _, position = read(position)
            content = b""
        found.append((key >> 3, data[begin:position], content))
    return found


@pytest.fixture(scope="session")
def with_metadata() -> Callable[[bytes, Mapping[str, str | None]], bytes]:
    """A model's bytes with metadata values replaced; None removes the key."""

    def edit(data: bytes, changes: Mapping[str, str | None]) -> bytes:
        out, values = [], {}
        for number, field, content in top_level(data):
            if number == 14:
                (_, _, key), (_, _, value) = top_level(content)
                values[key.decode()] = value.decode()
            else:
                out.append(field)
        for key, value in {**values, **changes}.items():
            if value is not None:
                out.append(message(14, message(1, key.encode()) + message(2, value.encode())))
        return b"".join(out)

    return edit


@pytest.fixture(scope="session")
def with_graph_field() -> Callable[[bytes, bytes], bytes]:
    """A model's bytes with something appended to its GraphProto."""

    def edit(data: bytes, extra: bytes) -> bytes:
        return b"".join(
            message(7, content + extra) if number == 7 else field
            for number, field, content in top_level(data)
        )

    return edit


@pytest.fixture(scope="session")
def proto() -> Callable[[int, bytes], bytes]:
    """Encodes one length-delimited field."""
    return message
