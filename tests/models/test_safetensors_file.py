"""Weights as safetensors: round trip, the library's own reader, and every kind of bad file."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    save_weights,
    weights_sha256,
)

from .small_checkpoints import CONFIGS, make

DAMAGED = "is not a draw-onnx checkpoint, or it is damaged"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(path, make())
    return path


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """A file's header and its tensors' bytes."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path: Path, header: dict[str, Any] | str | bytes, data: bytes) -> None:
    text = json.dumps(header) if isinstance(header, dict) else header
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def refused(path: Path) -> str:
    """What is said of a file that must not load: one line."""
    with pytest.raises(DrawError) as error:
        load_checkpoint(path)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_round_trip(tmp_path: Path, config: Any) -> None:
    saved = make(config, training={"settings": {}})
    save_weights(tmp_path / "a.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.training is None
    for name in ("config", "dataset", "iteration", "metrics", "picture_fit"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert loaded.weights.keys() == saved.weights.keys()
    assert all(torch.equal(loaded.weights[k], v) for k, v in saved.weights.items())
    assert weights_sha256(loaded.weights, loaded.config) == weights_sha256(saved.weights, saved.config)


def test_the_library_reads_what_is_written(file: Path) -> None:
    """The header is put in order by us; the format's own reader is the judge of it."""
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    weights = make().weights
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[k], v) for k, v in weights.items())
    assert metadata == {
        "magic": "draw-onnx checkpoint",
        "format_version": "1",
        "kind": "draw",
        "config": '{"attention":true,"hidden_size":4,"image_channels":1,"image_height":5,"image_width":6,'
        '"latent_size":2,"read_size":2,"time_steps":3,"write_size":2}',
        "dataset": "digits",
        "picture_fit": "cover",
        "iteration": "7",
        "metrics": '{"valid_bound":1.5}',
        "weights_sha256": weights_sha256(weights, CONFIGS[0]),
    }


def test_the_same_weights_and_facts_give_the_same_bytes(tmp_path: Path) -> None:
    contents = set()
    for k in range(6):  # the library's own order of the metadata differs from one call to the next
        checkpoint = make()
        checkpoint.weights = dict(reversed(checkpoint.weights.items()))
        save_weights(tmp_path / f"{k}.bin", checkpoint)
        contents.add((tmp_path / f"{k}.bin").read_bytes())
    assert len(contents) == 1
    (content,) = contents
    assert struct.unpack("<Q", content[:8])[0] % 8 == 0


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.ckpt", make())
    save_checkpoint(tmp_path / "b.safetensors", make(training={"x": 1}))
    assert load_checkpoint(tmp_path / "a.ckpt").training is None
    assert load_checkpoint(tmp_path / "b.safetensors").training == {"x": 1}


def test_figures_that_json_cannot_hold_are_left_out(tmp_path: Path) -> None:
    save_weights(tmp_path / "a", make(metrics={"a": float("nan"), "b": float("-inf"), "c": 2}))
    assert load_checkpoint(tmp_path / "a").metrics == {"c": 2}


def test_a_failed_write_keeps_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DrawError, match="No space left"):
        save_weights(file, make(CONFIGS[1]))
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": "other"}, "its header does not say so"),
        ({"magic": None}, "its header does not say so"),
        ({"format_version": "99"}, "newer than this package reads"),
        ({"format_version": "9" * 5000}, "format_version is not a whole number"),
        ({"format_version": "0"}, DAMAGED),
        ({"format_version": "１"}, "format_version is not a whole number"),
        ({"iteration": "-1"}, "iteration is not a whole number"),
        ({"iteration": None}, DAMAGED),
        ({"kind": "gan"}, "unknown model kind"),
        ({"config": "{}"}, "missing or unknown config fields"),
        ({"config": "[]"}, DAMAGED),
        ({"config": "3"}, DAMAGED),
        ({"config": "{"}, DAMAGED),
        ({"config": "[" * 100_000}, "nested too deeply"),
        ({"config": '{"a\\n\\u001b[31m":1}'}, "missing or unknown config fields"),
        ({"metrics": "[]"}, "wrong types"),
        ({"metrics": '{"a":NaN}'}, "NaN is no JSON"),
        ({"metrics": '{"a":1,"a":2}'}, "a name occurs twice"),
        ({"picture_fit": "stretch"}, "unknown picture_fit"),
        ({"figure_size": "large"}, "figure_size is not a whole number"),
        ({"figure_size": "0"}, "figure_size is no whole number from 1 to 65,536"),
        ({"train_size": "0"}, "train_size is no whole number from 1 to"),
        ({"train_size": "1e3"}, "train_size is not a whole number"),
        ({"train_checksum": "4294967296"}, "train_checksum is no whole number from 0 to 4,294,967,295"),
        ({"train_checksum": "-1"}, "train_checksum is not a whole number"),
        ({"weights_sha256": "0" * 64}, "the weights are not those that its header names"),
        ({"iteration": 7}, "its metadata are not strings"),
    ],
)
def test_wrong_facts(file: Path, changes: dict[str, Any], message: str) -> None:
    header, data = split(file)
    facts = header["__metadata__"] | changes
    header["__metadata__"] = {k: v for k, v in facts.items() if v is not None}
    join(file, header, data)
    assert message in refused(file)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "a safetensors file, but not a draw-onnx checkpoint" in refused(tmp_path / "other.safetensors")


def renamed(header: dict[str, Any]) -> None:
    header["mu.bias\n\x1b[2J"] = header.pop("mu.bias")


def reshaped(header: dict[str, Any]) -> None:
    header["mu.weight"]["shape"].reverse()


def other_dtype(header: dict[str, Any]) -> None:
    header["mu.bias"] |= {"dtype": "F16", "shape": [4]}


def overlapping(header: dict[str, Any]) -> None:
    header["mu.bias"]["data_offsets"] = header["log_sigma.bias"]["data_offsets"]


def swapped_ends(header: dict[str, Any]) -> None:
    header["mu.weight"]["data_offsets"].reverse()


def beyond(header: dict[str, Any]) -> None:
    header["mu.bias"]["data_offsets"] = [1 << 62, (1 << 62) + 8]


def negative(header: dict[str, Any]) -> None:
    header["mu.bias"]["data_offsets"] = [-8, 0]


def fractional(header: dict[str, Any]) -> None:
    header["mu.bias"]["shape"] = [2.0]


def missing_part(header: dict[str, Any]) -> None:
    del header["mu.bias"]["dtype"]


def no_object(header: dict[str, Any]) -> None:
    header["mu.bias"] = [1]


def no_offsets(header: dict[str, Any]) -> None:
    header["mu.bias"]["data_offsets"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "weights do not fit the model"),
        (reshaped, r"weight mu.weight is torch.float32 \(4, 2\), expected float32 \(2, 4\)"),
        (other_dtype, r"weight mu.bias is F16 \(4,\), expected float32 \(2,\)"),
        (overlapping, DAMAGED),
        (swapped_ends, DAMAGED),
        (beyond, "do not end where the file does"),
        (negative, "not lists of whole numbers"),
        (fractional, "not lists of whole numbers"),
        (missing_part, "not described as safetensors are"),
        (no_object, "not described as safetensors are"),
        (no_offsets, DAMAGED),
    ],
)
def test_wrong_tensors(file: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    header, data = split(file)
    change(header)
    join(file, header, data)
    assert re.search(message, refused(file))


def test_a_gap_between_tensors(file: Path) -> None:
    """Every byte belongs to one tensor: nothing can hide in a file."""
    header, data = split(file)
    last = max((v for k, v in header.items() if k != "__metadata__"), key=lambda v: v["data_offsets"])
    last["data_offsets"] = [n + 8 for n in last["data_offsets"]]
    join(file, header, data + bytes(8))
    assert DAMAGED in refused(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    checkpoint = make()
    checkpoint.weights["mu.bias"] = torch.tensor([0.0, value])
    save_weights(tmp_path / "a", checkpoint)
    assert "weight mu.bias holds NaN or infinity" in refused(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", DAMAGED),
        (b"\x02\0\0\0\0\0\0\0", DAMAGED),
        (b"hello {\n" * 100, DAMAGED),
        (b"hello 8 {\n" * 100, DAMAGED),
        (struct.pack("<Q", (1 << 63) + 5) + b"{}", "the size of its header is wrong"),
        (struct.pack("<Q", 1 << 20) + b"{}", "the size of its header is wrong"),
        (struct.pack("<Q", 3) + b"{}", "the size of its header is wrong"),
        (struct.pack("<Q", 4) + b'{"a"', DAMAGED),
        (struct.pack("<Q", 4) + b'{"\xff"', DAMAGED),
        (struct.pack("<Q", 100_005) + b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (struct.pack("<Q", 2) + b"{}", "its header does not say so"),
        (struct.pack("<Q", 19) + b'{"__metadata__":[]}', "its metadata are not strings"),
    ],
)
def test_files_that_are_no_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert message in refused(tmp_path / "a.safetensors")


def test_names_that_occur_twice(file: Path) -> None:
    """Parsers disagree on which of the two counts."""
    header, data = split(file)
    text = json.dumps(header)
    again = json.dumps({"mu.bias": header["mu.bias"]})[1:-1]
    join(file, f"{text[:-1]}, {again}}}", data)
    assert "a name occurs twice" in refused(file)
    join(file, text.replace('"kind": "draw"', '"kind": "draw", "kind": "classifier"'), data)
    assert "a name occurs twice" in refused(file)


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files and kilobytes of ru_maxrss")
def test_forged_sizes_take_no_memory(file: Path) -> None:
    """A header of 900 MB, and a sparse file with a tensor as large as it says: neither is read."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header, data = split(file)
    large = 8 << 30
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", 900 << 20) + b"{")
        opened.truncate(1 << 30)
    assert "the size of its header is wrong" in refused(file)
    end = max(v["data_offsets"][1] for k, v in header.items() if k != "__metadata__")
    header["extra"] = {"dtype": "F32", "shape": [large // 4], "data_offsets": [end, end + large]}
    join(file, header, data)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size + large)
    assert "weights do not fit the model: extra" in refused(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
