"""draw-doctor on a folder that draw-export --hub wrote: every graph in it is judged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from draw_onnx import pretrained
from draw_onnx.runtime import providers
from draw_onnx.runtime.onnx_file import graph_sha256

from ...onnx_bytes import with_metadata


@pytest.fixture
def hub(fake: Path, tmp_path: Path) -> Path:
    """A decoder and a scorer with their digests, in a folder that says what it is."""
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for name in ("decoder", "scorer"):
        data = (fake / f"{name}.onnx").read_bytes()
        (folder / f"{name}.onnx").write_bytes(with_metadata(data, {"graph_sha256": graph_sha256(data)}))
    return folder


def test_every_graph_is_reported(run, hub: Path) -> None:
    got = run("doctor", "--onnx", hub)
    assert (got.code, got.err) == (0, ""), got.out
    lines = [line.split(maxsplit=1) for line in got.out.splitlines()]
    files = [text.split(",")[0] for label, text in lines if label == "file"]
    assert files == [str(hub / "decoder.onnx"), str(hub / "scorer.onnx")]
    states = [text for label, text in lines if label == "state"]
    agrees = "its graph is as draw-export wrote it: the digest agrees (it does not cover the metadata)"
    assert states == [agrees, agrees]


@pytest.mark.parametrize("name", ["decoder", "scorer"])
def test_one_that_was_changed(run, hub: Path, name: str) -> None:
    path = hub / f"{name}.onnx"
    path.write_bytes(with_metadata(path.read_bytes(), {"graph_sha256": "0" * 64}))
    got = run("doctor", "--onnx", hub)
    assert got.code == 1
    (problem,) = [line for line in got.out.splitlines() if line.startswith("PROBLEM")]
    assert problem.split(maxsplit=1)[1].startswith(f"{name}.onnx: changed since draw-export wrote it")


def test_one_that_is_no_model(run, hub: Path) -> None:
    (hub / "scorer.onnx").write_bytes(b"no model")
    got = run("doctor", "--onnx", hub)
    assert (got.code, got.err) == (1, "")
    assert got.out.count("\nfile ") + got.out.startswith("file ") == 2
    assert "scorer.onnx is not an ONNX file, or it is damaged" in got.out.splitlines()[-1]


def test_labels_are_not_covered(run, fake: Path, tmp_path: Path) -> None:
    data = (fake / "classifier.onnx").read_bytes()
    path = tmp_path / "x.onnx"
    path.write_bytes(with_metadata(data, {"graph_sha256": graph_sha256(data), "labels": "line,circle,cross"}))
    got = run("doctor", "--onnx", path)
    assert got.code == 0
    assert "does not cover the metadata" in got.out


def test_a_conflict_of_wheels_is_a_problem(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "wheel_conflict", lambda: "two wheels are both installed")
    got = run("doctor")
    assert (got.code, got.err) == (1, "")
    assert got.out.splitlines()[-1] == f"{'PROBLEM':<16}two wheels are both installed"


def test_a_provider_that_computes_something_else_does_not_work(run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SimpleNamespace(run=lambda *_: [np.array([2.0, 1.01])])
    monkeypatch.setattr(providers, "create_session", lambda *_: wrong)
    got = run("doctor")
    assert got.code == 1
    expected = "the CPU provider does not work: MatMul gave [2.0, 1.01], not [2.0, 1.0]"
    assert got.out.splitlines()[-1] == f"{'PROBLEM':<16}{expected}"


def test_a_version_without_models_says_so(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "packaged_models", lambda _: [])
    got = run("doctor")
    assert got.code == 0, got.out
    assert got.out.splitlines()[-1] == f"{'models':<16}none are packaged with this version"
