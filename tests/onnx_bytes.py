"""Changes to a model's bytes, without the onnx package."""

from __future__ import annotations

from collections.abc import Mapping


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def proto(number: int, content: bytes) -> bytes:
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


def with_metadata(data: bytes, changes: Mapping[str, str | None]) -> bytes:
    """A model's bytes with metadata values replaced; None removes the key."""
    out, values = [], {}
    for number, field, content in top_level(data):
        if number == 14:
            (_, _, key), (_, _, value) = top_level(content)
            values[key.decode()] = value.decode()
        else:
            out.append(field)
    for key, value in {**values, **changes}.items():
        if value is not None:
            out.append(proto(14, proto(1, key.encode()) + proto(2, value.encode())))
    return b"".join(out)


def with_graph_field(data: bytes, extra: bytes) -> bytes:
    """A model's bytes with something appended to its GraphProto."""
    return b"".join(
        proto(7, content + extra) if number == 7 else field for number, field, content in top_level(data)
    )
