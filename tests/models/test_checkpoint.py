"""Checkpoints: round trip, identity, and every kind of bad file."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    save_weights,
    weights_sha256,
)
from draw_onnx.models.config import DrawConfig, config_from_dict, config_to_dict

from ..damage import cut_or_changed
from .small_checkpoints import CONFIGS, make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.ckpt"
    save_checkpoint(path, make())
    return path


def expanded(tensor: torch.Tensor) -> torch.Tensor:
    """One number in memory, of the same shape."""
    return torch.zeros(1, 1).expand(tensor.shape)


@pytest.mark.parametrize("forge", [expanded, torch.Tensor.to_sparse, lambda tensor: tensor.to("meta")])
def test_tensors_that_are_no_plain_arrays(
    tmp_path: Path, forge: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """A few bytes that declare any size, or that no operation takes."""
    path = tmp_path / "x.ckpt"
    save_checkpoint(path, make())
    content = torch.load(path, weights_only=True)
    name = next(name for name, tensor in content["weights"].items() if tensor.dim() == 2)
    content["weights"][name] = forge(content["weights"][name])
    torch.save(content, path)
    with pytest.raises(DrawError, match=f"weight {name} is no plain array"):
        load_checkpoint(path)


@pytest.mark.parametrize("config", CONFIGS)
def test_round_trip(tmp_path: Path, config: Any) -> None:
    saved = make(config, training={"settings": {"seed": 3}, "lr": [0.1, None], "done": False})
    save_checkpoint(tmp_path / "a.ckpt", saved)
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.config == config
    assert (loaded.dataset, loaded.iteration, loaded.metrics) == ("digits", 7, {"valid_bound": 1.5})
    assert loaded.training == saved.training
    assert all(torch.equal(loaded.weights[k], v) for k, v in saved.weights.items())
    assert config_from_dict(*_kind(config)) == config


@pytest.mark.parametrize("binary", [True, False, None])
def test_whether_pictures_are_binary_is_kept(tmp_path: Path, binary: bool | None) -> None:
    saved = make()
    saved.binary = binary
    save_checkpoint(tmp_path / "a.ckpt", saved)
    assert load_checkpoint(tmp_path / "a.ckpt").binary is binary
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    torch.save({k: v for k, v in content.items() if k != "binary"}, tmp_path / "older.ckpt")
    assert load_checkpoint(tmp_path / "older.ckpt").binary is None
    for wrong in ("yes", 1, [True]):
        torch.save({**content, "binary": wrong}, tmp_path / "wrong.ckpt")
        with pytest.raises(DrawError, match="binary is neither true nor false"):
            load_checkpoint(tmp_path / "wrong.ckpt")


@pytest.mark.parametrize(
    ("name", "kept", "wrong"),
    [
        ("figure_size", [20, 65536], [0, -1, 65537]),
        ("train_size", [1, 60_000], [0, -1, 10**12 + 1]),
        ("train_checksum", [0, 1, 2**32 - 1], [-1, 2**32]),
    ],
)
def test_what_a_file_may_say_in_numbers(tmp_path: Path, name: str, kept: list[int], wrong: list[int]) -> None:
    for value in (*kept, None):
        saved = dataclasses.replace(make(), **{name: value})
        save_checkpoint(tmp_path / "a.ckpt", saved)
        save_weights(tmp_path / "a.safetensors", saved)
        for file in ("a.ckpt", "a.safetensors"):
            assert getattr(load_checkpoint(tmp_path / file), name) == value
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    torch.save({k: v for k, v in content.items() if k != name}, tmp_path / "older.ckpt")
    assert getattr(load_checkpoint(tmp_path / "older.ckpt"), name) is None
    for value in (*wrong, "20", 20.0, True, [20]):
        torch.save({**content, name: value}, tmp_path / "wrong.ckpt")
        with pytest.raises(DrawError, match=f"{name} is no whole number from"):
            load_checkpoint(tmp_path / "wrong.ckpt")


def test_the_data_are_no_part_of_a_models_identity(tmp_path: Path) -> None:
    """The same weights from other pictures have the same hash, and a file that says nothing has no such key."""
    plain, told = make(), make(train_size=1000, train_checksum=7)
    files = tmp_path / "plain.safetensors", tmp_path / "told.safetensors"
    for file, checkpoint in zip(files, (plain, told), strict=True):
        save_weights(file, checkpoint)
    assert b"train_" not in files[0].read_bytes()
    one, two = map(load_checkpoint, files)
    assert weights_sha256(one.weights, one.config) == weights_sha256(two.weights, two.config)
    assert (two.train_size, two.train_checksum) == (1000, 7)


def _kind(config: Any) -> tuple[str, dict[str, Any]]:
    return ("draw" if isinstance(config, DrawConfig) else "classifier"), config_to_dict(config)


def test_bytes_do_not_depend_on_the_name(tmp_path: Path) -> None:
    for name in ("a.ckpt", "another-name.ckpt"):
        save_checkpoint(tmp_path / name, make())
    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "another-name.ckpt").read_bytes()


def test_identity_is_of_weights_and_config(tmp_path: Path) -> None:
    full, bare = make(training={"x": 1}), make()
    sha = weights_sha256(full.weights, full.config)
    assert sha == weights_sha256(dict(reversed(bare.weights.items())), bare.config)
    bare.weights["mu.bias"] = bare.weights["mu.bias"] + 1
    assert sha != weights_sha256(bare.weights, bare.config)
    wider = DrawConfig(1, 5, 6, 4, 4, 2, 2, 2)
    assert sha != weights_sha256(full.weights, wider)


def test_missing_folder_and_text(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(DrawError, match="is a folder"):
        load_checkpoint(tmp_path)
    (tmp_path / "text.ckpt").write_text("hello\n" * 100)
    with pytest.raises(DrawError, match="not a draw-onnx checkpoint"):
        load_checkpoint(tmp_path / "text.ckpt")
    (tmp_path / "x.onnx").write_bytes(b"\x08\x08\x12\x09draw-onnx")
    with pytest.raises(DrawError, match=r"weights are in the \.ckpt or \.safetensors"):
        load_checkpoint(tmp_path / "x.onnx")


@pytest.mark.skipif(os.name == "nt", reason="no such file there")
def test_a_device_is_not_read() -> None:
    """Nor a pipe, into which nobody may ever write."""
    with pytest.raises(DrawError, match="is a pipe or a device"):
        load_checkpoint(os.devnull)


@pytest.mark.parametrize("at", [0, 7, -1])
def test_a_bit_of_a_weight_that_has_turned(file: Path, at: int) -> None:
    """torch.load checks no sum: the archive's are."""
    weight = make().weights["mu.weight"].numpy().tobytes()
    content = bytearray(file.read_bytes())
    assert content.count(weight) == 1
    content[content.index(weight) + at % len(weight)] ^= 4
    file.write_bytes(content)
    with pytest.raises(DrawError, match="damaged"):
        load_checkpoint(file)


class Bomb:
    """Unpickling this would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (open, (str(self.target), "w"))


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    torch.save({"magic": "draw-onnx checkpoint", "x": Bomb(marker)}, tmp_path / "zip.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Bomb(marker)))
    for name in ("zip.ckpt", "plain.ckpt"):
        with pytest.raises(DrawError, match="not a draw-onnx checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not marker.exists()


def rewrite(path: Path, **changes: Any) -> None:
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save(content, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": "other"}, "not a draw-onnx checkpoint"),
        ({"format_version": 99}, "newer than this package"),
        ({"format_version": "1"}, "damaged"),
        ({"kind": "gan"}, "unknown model kind"),
        ({"config": {}}, "missing or unknown config fields"),
        ({"weights": {}}, "weights do not fit"),
        ({"iteration": "many"}, "wrong types"),
    ],
)
def test_wrong_content(file: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(file, **changes)
    with pytest.raises(DrawError, match=message):
        load_checkpoint(file)


def test_forged_sizes_take_no_memory(file: Path) -> None:
    config = config_to_dict(CONFIGS[0]) | {"hidden_size": 65536, "image_height": 65536, "image_width": 65536}
    rewrite(file, config=config)
    with pytest.raises(DrawError, match="expected float32"):
        load_checkpoint(file)


@pytest.mark.parametrize("name", ["data set", "labels"])
def test_half_letters_are_refused(tmp_path: Path, name: str) -> None:
    """A pickle holds them, and a JSON header escaped; an ONNX file, the card of a hub and a terminal do not."""
    checkpoint, half = make(CONFIGS[2]), "cat\udc80"
    if name == "labels":
        checkpoint.config = dataclasses.replace(CONFIGS[2], labels=("dog", half))
        save_weights(tmp_path / "a.safetensors", checkpoint)
    else:
        checkpoint.dataset = half
    save_checkpoint(tmp_path / "a.ckpt", checkpoint)
    for path in (path for path in tmp_path.iterdir()):
        with pytest.raises(DrawError, match=f"its {name} cannot be written as text"):
            load_checkpoint(path)


def test_weights_are_shipped_with_what_json_has(tmp_path: Path) -> None:
    saved = make()
    saved.metrics = {
        "a": 1.5,
        "b": 2,
        "c": float("nan"),
        "d": torch.zeros(1),
        "e": 10**5000,
        "f": {1: 2, "g": 3},
    }
    save_weights(tmp_path / "a.safetensors", dataclasses.replace(saved, metrics={**saved.metrics, 3: 4}))
    assert load_checkpoint(tmp_path / "a.safetensors").metrics == {"a": 1.5, "b": 2}


def test_nan_weights(file: Path) -> None:
    checkpoint = make()
    checkpoint.weights["mu.bias"] = torch.full((2,), float("nan"))
    rewrite(file, weights=checkpoint.weights)
    with pytest.raises(DrawError, match="NaN"):
        load_checkpoint(file)


def test_deflated_records_are_refused(file: Path, tmp_path: Path) -> None:
    """A zip that unpacks to more than itself could be a bomb; torch never writes one, but reads it."""
    content = torch.load(file, weights_only=True)
    torch.save({**content, "training": {"zeros": torch.zeros(100_000)}}, file)
    load_checkpoint(file)
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(tmp_path / "d.ckpt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(DrawError, match="not a draw-onnx checkpoint"):
        load_checkpoint(tmp_path / "d.ckpt")


def test_no_memory_is_no_damage(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        load_checkpoint(file)


@settings(max_examples=60)
@given(st.data())
def test_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.ckpt"
    save_checkpoint(path, make())
    content = cut_or_changed(data, path.read_bytes())
    path.write_bytes(content)
    try:
        checkpoint = load_checkpoint(path)
    except DrawError as error:
        assert "\n" not in str(error)
    else:
        assert checkpoint.weights.keys() == make().weights.keys()


def test_a_failed_write_keeps_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full_disk(content: Any, handle: Any) -> None:
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(DrawError, match="No space left"):
        save_checkpoint(file, make(CONFIGS[1]))
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("room", [0, 1, 1000, 5000])
def test_a_disk_that_fills_within_the_archive(file: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """PyTorch ends the archive all the same, and raises a RuntimeError about that."""

    @contextmanager
    def small(path: Path) -> Iterator[Any]:
        class Full(io.BytesIO):
            def write(self, data: Any, /) -> int:
                if self.tell() + len(data) > room:
                    raise OSError(28, "No space left on device")
                return super().write(data)

        yield Full()

    monkeypatch.setattr("draw_onnx.models.checkpoint.atomic_write", small)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(file, make(CONFIGS[1]))


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="does not exist"):
        save_checkpoint(tmp_path / "none" / "a.ckpt", make())


@pytest.mark.parametrize(
    "changes",
    [{"time_steps": 0}, {"hidden_size": -1}, {"latent_size": 70000}, {"read_size": 0}, {"attention": False}],
)
def test_sizes_out_of_range(changes: dict[str, Any]) -> None:
    kind, values = _kind(CONFIGS[0])
    with pytest.raises(ValueError, match=r"between 1 and 65536|without attention"):
        config_from_dict(kind, values | changes)
