"""Fuzzing of weights as safetensors: damage is one line or harmless."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint, save_weights

from ..damage import cut_or_changed
from .small_checkpoints import CONFIGS, make

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def with_header(path: Path, header: Any, tensors: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + tensors)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "whole.safetensors"
    save_weights(path, make(CONFIGS[2]))
    return path


def one_line_or_whole(path: Path) -> None:
    try:
        checkpoint = load_checkpoint(path)
    except DrawError as error:
        assert str(error).isprintable()
    else:
        expected = make(CONFIGS[2])
        assert checkpoint.config == expected.config
        assert all(torch.equal(checkpoint.weights[k], v) for k, v in expected.weights.items())


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes(whole: Path, data: st.DataObject) -> None:
    """The header's SHA-256 finds what the format cannot: a file that loads has the weights that were saved."""
    path = whole.with_name("damaged")
    path.write_bytes(cut_or_changed(data, whole.read_bytes()))
    one_line_or_whole(path)


@settings(max_examples=150)
@given(st.data())
def test_forged_headers(whole: Path, data: st.DataObject) -> None:
    """Any JSON in the place of any part of the header."""
    content = whole.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header, tensors = json.loads(content[8:end]), content[end:]
    target: Any = header
    while isinstance(target, dict) and target:
        key = data.draw(st.sampled_from(sorted(target)))
        if not isinstance(target[key], dict) or data.draw(st.booleans()):
            target[key] = data.draw(JSON | JSON.map(json.dumps))
            break
        target = target[key]
    path = whole.with_name("forged")
    with_header(path, header, tensors)
    one_line_or_whole(path)


@settings(max_examples=80)
@given(JSON, st.binary(max_size=64))
def test_any_header(whole: Path, header: Any, data: bytes) -> None:
    path = whole.with_name("any")
    with_header(path, header, data)
    with pytest.raises(DrawError) as error:
        load_checkpoint(path)
    assert str(error.value).isprintable()
