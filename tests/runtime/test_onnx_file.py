"""Reading what a file declares takes time and memory by what is looked at, not by what somebody has put into it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.runtime import onnx_file
from draw_onnx.runtime.onnx_file import graph_sha256, parse

from ..onnx_bytes import proto, with_graph_field


def with_attribute(fake: Path, content: bytes) -> bytes:
    node = proto(2, b"out") + proto(4, b"Transpose") + proto(5, proto(1, b"perm") + content)
    return with_graph_field((fake / "decoder.onnx").read_bytes(), proto(1, node))


@pytest.mark.parametrize("packed", [True, False])
def test_numbers_that_are_looked_at(fake: Path, packed: bool) -> None:
    for perm in ((1, 0, 2), tuple(range(15))):
        content = proto(8, bytes(perm)) if packed else b"".join(bytes([8 << 3, n]) for n in perm)
        declared = parse(with_attribute(fake, content))
        assert declared.transposes["out"].attributes == {"perm": perm}


def test_a_long_list_is_not_kept(fake: Path) -> None:
    data = with_attribute(fake, proto(8, bytes(1_000_000)))
    shape = with_graph_field(data, proto(5, proto(1, bytes(1_000_000)) + proto(8, b"long")))
    tracemalloc.start()
    try:
        declared = parse(shape)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert len(declared.transposes["out"].attributes["perm"]) == 16
    assert len(declared.shapes["long"] or ()) == 16


def test_too_many_parts(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they are: numbers of a list, names of a node, nodes."""
    monkeypatch.setattr(onnx_file, "_MAX_FIELDS", 5000)
    data = (fake / "decoder.onnx").read_bytes()
    assert parse(data).fields < 1000
    long_list = with_attribute(fake, b"\x40\x01" * 5000)
    node = proto(1, proto(1, b"") * 5000)
    for forged in (
        long_list,
        with_graph_field(data, node),
        with_graph_field(data, proto(1, b"") * 5000),
        data + proto(14, b"") * 5000,
    ):
        with pytest.raises(DrawError, match="more than 5,000 fields"):
            parse(forged)


def test_two_graphs_are_none(fake: Path) -> None:
    """ONNX Runtime's reader joins them."""
    with pytest.raises(DrawError, match="it has no graph"):
        parse((fake / "decoder.onnx").read_bytes() + proto(7, proto(2, b"another")))


def test_a_name_that_two_tensors_have_has_no_shape(fake: Path) -> None:
    """Which of them ONNX Runtime takes is not known here."""
    one, other = (proto(5, proto(8, b"mine") + bytes([1 << 3, size])) for size in (3, 4))
    data = (fake / "decoder.onnx").read_bytes()
    assert parse(with_graph_field(data, one)).shapes["mine"] == (3,)
    assert parse(with_graph_field(data, one + other)).shapes["mine"] is None


def test_the_digest_is_of_all_that_is_computed_and_of_nothing_else(fake: Path) -> None:
    data = (fake / "decoder.onnx").read_bytes()
    others = [
        bytes([1 << 3, 7]),  # the version of ONNX
        proto(7, b""),
        proto(8, proto(1, b"x") + bytes([2 << 3, 1])),  # that of an operator set
        proto(25, proto(1, b"f")),  # an operator of its own
    ]
    assert len({graph_sha256(data), *(graph_sha256(data + other) for other in others)}) == 1 + len(others)
    said = proto(2, b"else") + proto(14, proto(1, b"author") + proto(2, b"Ada"))
    assert graph_sha256(data + said) == graph_sha256(data)
    assert graph_sha256(proto(8, b"a") + proto(8, b"bc")) != graph_sha256(proto(8, b"ab") + proto(8, b"c"))
