"""Opening files: what opens, by which name, and what comes out; the wrong kind names the right command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_onnx import pretrained
from draw_onnx.errors import DrawError
from draw_onnx.runtime import session as session_module
from draw_onnx.runtime.metadata import CLASSIFIER, DECODER, SCORER, interface
from draw_onnx.runtime.session import open_model, peek

from .conftest import TYPES

ALL = sorted(p.name for p in (Path(__file__).parent.parent / "fake").glob("*.onnx"))


@pytest.mark.parametrize("name", ALL)
def test_every_fake_model_opens(fake: Path, name: str) -> None:
    model = open_model(fake / name, TYPES[name.split("-")[0].removesuffix(".onnx")], "cpu")
    assert model.session.get_providers() == ["CPUExecutionProvider"]
    assert model.fixed_batch == (4 if "batch4" in name else None)
    assert model.metadata == peek(fake / name)
    steps = "canvases" if "classifier" not in name else "glimpses"
    assert (steps in (value.name for value in model.session.get_outputs())) == ("lean" not in name)


@pytest.mark.parametrize(
    ("name", "wanted", "advice"),
    [
        ("classifier.onnx", DECODER, "this is a draw.classifier; use draw-classify"),
        ("scorer.onnx", DECODER, "this is a draw.scorer; use draw-score"),
        ("decoder.onnx", CLASSIFIER, "this is a draw.decoder; use draw-gen"),
        ("decoder.onnx", SCORER, "this is a draw.decoder; use draw-gen"),
    ],
)
def test_the_wrong_kind_names_the_right_command(fake: Path, name: str, wanted: str, advice: str) -> None:
    with pytest.raises(DrawError, match=advice):
        open_model(fake / name, wanted, "cpu")


def test_no_name_is_not_the_current_folder(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may be one that draw-export --hub wrote."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "decoder.onnx").write_bytes((fake / "decoder.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    open_model(".", DECODER, "cpu")
    with pytest.raises(DrawError, match="the name of the model is empty"):
        open_model("", DECODER, "cpu")


def test_missing_folder_empty_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DrawError, match=r"no model at .*nothing\.onnx"):
        open_model(tmp_path / "nothing.onnx", DECODER, "cpu")
    with pytest.raises(DrawError, match="is a folder"):
        open_model(tmp_path, DECODER, "cpu")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(DrawError, match="is empty"):
        open_model(tmp_path / "empty.onnx", DECODER, "cpu")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(session_module.MAX_BYTES + 1)  # sparse: nothing is written, nothing may be read
    with pytest.raises(DrawError, match="more than a model can have"):
        open_model(tmp_path / "large.onnx", DECODER, "cpu")


def test_a_device_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    monkeypatch.setattr(session_module, "MAX_BYTES", 1000)
    with pytest.raises(DrawError, match="more bytes than a model can have"):
        open_model("/dev/zero", DECODER, "cpu")


def test_an_unknown_name_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "packaged_models", lambda _: ["cluttered-mnist", "mnist"])
    with pytest.raises(DrawError, match=r"no model minst \(packaged models: cluttered-mnist, mnist\)"):
        open_model("minst", DECODER, "cpu")


def test_weights_that_the_package_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.onnx").write_bytes(b"")
    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    with pytest.raises(
        DrawError, match=r"big are too large for the package.* path of pretrained/big.safetensors"
    ):
        pretrained.find_packaged("big", ".ckpt", "checkpoint")


def test_packaged_names_win_and_paths_are_paths(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boxed.onnx").write_bytes((fake / "decoder.onnx").read_bytes())
    (tmp_path / "boxed.ckpt").write_bytes(b"")
    (tmp_path / "boxed").mkdir()  # a folder of data with the name of a model
    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert pretrained.packaged_models(".onnx") == pretrained.packaged_models(".ckpt") == ["boxed"]
    assert pretrained.find_packaged("boxed", ".onnx", "model") == tmp_path / "boxed.onnx"
    assert pretrained.find_packaged("boxed", ".ckpt", "checkpoint") == tmp_path / "boxed.ckpt"
    (tmp_path / "boxed.safetensors").write_bytes(b"")
    assert pretrained.packaged_models(".ckpt") == ["boxed"]
    assert pretrained.find_packaged("boxed", ".ckpt", "checkpoint") == tmp_path / "boxed.safetensors"
    for name in ("boxed.ckpt", "boxed.safetensors"):
        assert pretrained.find_packaged(name, ".ckpt", "checkpoint") == Path(name)
    assert pretrained.find_packaged("boxed.onnx", ".onnx", "model") == Path("boxed.onnx")
    with pytest.raises(DrawError, match="is a folder"):
        pretrained.find_packaged("./boxed", ".onnx", "model")
    assert open_model("boxed", DECODER, "cpu").metadata.dataset == "fake"


@dataclass(frozen=True)
class _Session:
    """A session that gives what it is told to."""

    session: Any
    name: str
    change: Callable[[np.ndarray], np.ndarray]

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        results = self.session.run(outputs, feeds)
        return [self.change(v) if n == self.name else v for n, v in zip(outputs, results, strict=True)]


def nan_in(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size).reshape(values.shape) == 0, np.nan, values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[:1], "came out as"),
        (lambda v: v[..., None], "came out as"),
        (nan_in, "not finite"),
    ],
)
@pytest.mark.parametrize("output", ["logits", "probabilities", "glimpses", "read_attention"])
def test_what_comes_out_is_checked(fake: Path, output: str, change: Any, words: str) -> None:
    """ONNX Runtime only warns where a graph gives another shape than it declares."""
    model = open_model(fake / "classifier.onnx", CLASSIFIER, "cpu")
    forged = replace(model, session=_Session(model.session, output, change))
    images = np.zeros((3, *model.metadata.image_shape), np.float32)
    wanted = list(interface(model.metadata)[1])
    assert model.run({"image": images}, wanted).keys() == set(wanted)
    with pytest.raises(DrawError, match=f"its {output} .*{words}"):
        forged.run({"image": images}, wanted)


def test_one_picture_is_run_as_two(fake: Path) -> None:
    """A product of one row has a kernel of its own on some CPUs, with other sums."""
    model, seen = open_model(fake / "classifier.onnx", CLASSIFIER, "cpu"), []

    class Watched:
        def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(feeds["image"])
            return model.session.run(outputs, feeds)

    image = np.ones((1, *model.metadata.image_shape), np.float32)
    assert len(replace(model, session=Watched()).run({"image": image}, ["logits"])["logits"]) == 1
    (fed,) = seen
    assert (len(fed), fed[0].min(), fed[1].max()) == (2, 1.0, 0.0)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (MemoryError(), MemoryError),
        (RuntimeError("std::bad_alloc"), MemoryError),  # as ONNX Runtime says it
        (RuntimeError("a node\nfailed"), DrawError),
    ],
)
def test_what_goes_wrong_while_it_runs(fake: Path, error: Exception, becomes: type[Exception]) -> None:
    class Failing:
        def run(self, *_: object) -> None:
            raise error

    model = open_model(fake / "classifier.onnx", CLASSIFIER, "cpu")
    with pytest.raises(becomes):
        replace(model, session=Failing()).run(
            {"image": np.ones((2, *model.metadata.image_shape), np.float32)}, ["logits"]
        )
