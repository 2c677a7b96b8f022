"""Damage to a file's bytes, as Hypothesis chooses it."""

from __future__ import annotations

from hypothesis import strategies as st


def changed(data: st.DataObject, content: bytes, most: int = 4) -> bytes:
    """From one to ``most`` bytes are others."""
    out = bytearray(content)
    for _ in range(data.draw(st.integers(1, most))):
        out[data.draw(st.integers(0, len(out) - 1))] = data.draw(st.integers(0, 255))
    return bytes(out)


def cut(data: st.DataObject, content: bytes, least: int = 0) -> bytes:
    """The end is missing; ``least`` bytes at the least are left."""
    return content[: data.draw(st.integers(least, len(content)))]


def cut_or_changed(data: st.DataObject, content: bytes) -> bytes:
    """One of the two."""
    return cut(data, content[:-1]) if data.draw(st.booleans()) else changed(data, content)
