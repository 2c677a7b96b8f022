"""build.py assembles the page: its mistakes, names, and what a second build renews. Needs no browser."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

pytestmark = pytest.mark.examples

# Writes ONNX Runtime's three files where npm would, and counts how often it is asked.
NPM = """#!/bin/sh
echo x >> "$COUNT"
folder=
while [ $# -gt 0 ]; do [ "$1" = --prefix ] && folder=$2; last=$1; shift; done
mkdir -p "$folder/node_modules/onnxruntime-web/dist"
for name in ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm; do
  echo "$last" > "$folder/node_modules/onnxruntime-web/dist/$name"
done
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often npm was asked; a script stands for it."""
    count, folder = tmp_path / "count", tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(NPM)
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COUNT", str(count))
    return lambda: len(count.read_text().split()) if count.exists() else 0


def test_build_errors(build_page: Callable[..., Any], fake: Path, tmp_path: Path) -> None:
    same = tmp_path / "decoder.onnx"
    same.write_bytes((fake / "classifier.onnx").read_bytes())
    part = tmp_path / "main.js"
    part.write_bytes((fake / "decoder.onnx").read_bytes())
    for arguments, says in (
        ((), "give --decoder, --classifier or both"),
        (("--decoder", "no-such-model"), "no model no-such-model"),
        (
            ("--decoder", fake / "decoder.onnx", "--classifier", fake / "decoder.onnx"),
            "is no draw.classifier",
        ),
        (("--decoder", fake / "decoder.onnx", "--classifier", same), "different file names"),
        (("--decoder", fake / "classifier.onnx"), "classifier.onnx is no draw.decoder"),
        (("--classifier", fake / "scorer.onnx"), "scorer.onnx is no draw.classifier"),
        (("--decoder", fake / "decoder.onnx", "--ort", tmp_path), f"{tmp_path} has no ort.wasm.min.mjs"),
        (("--decoder", part), "main.js is the name of a part of the page"),
    ):
        done = build_page(*arguments, "--out", tmp_path / "site")
        assert done.returncode == 1
        assert done.stderr.startswith("build.py: error: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "site").exists()


def test_the_runtime_is_renewed(
    build_page: Callable[..., Any], asked: Callable[[], int], fake: Path, tmp_path: Path
) -> None:
    """Where it is of another version, or its copy broke off; else npm is left alone."""
    site = tmp_path / "site"

    def build(*more: object) -> None:
        done = build_page("--decoder", fake / "decoder.onnx", "--out", site, *more)
        assert done.returncode == 0, done.stderr

    build()
    build()
    assert asked() == 1
    wasm = site / "ort" / "ort-wasm-simd-threaded.wasm"
    whole = wasm.read_bytes()
    assert whole.startswith(b"onnxruntime-web@")
    (site / "ort" / "version.txt").write_text("1.29.0")
    wasm.write_bytes(b"onnxruntime-web@1.29.0")
    build()
    assert (asked(), wasm.read_bytes()) == (2, whole)
    (site / "ort" / "version.txt").unlink()  # as where a copy broke off, and of older builds
    wasm.write_bytes(whole[:3])
    build()
    assert (asked(), wasm.read_bytes()) == (3, whole)
    wasm.unlink()
    build()
    assert (asked(), wasm.read_bytes()) == (4, whole)
    build("--ort", site / "ort")  # one's own files are of no known version
    assert asked() == 4
    build()
    assert asked() == 5


def test_models_of_the_site_itself(
    build_page: Callable[..., Any], asked: Callable[[], int], fake: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    for decoder in (fake / "decoder.onnx", site / "decoder.onnx"):
        done = build_page("--decoder", decoder, "--out", site)
        assert done.returncode == 0, done.stderr
        assert (site / "decoder.onnx").read_bytes() == (fake / "decoder.onnx").read_bytes()
    licence = Path(__file__).resolve().parents[3] / "LICENSE"
    assert (site / "LICENSE").read_bytes() == licence.read_bytes()


@pytest.mark.parametrize("name", [b"run#3.onnx", b"what?.onnx", b"mnist:best.onnx", b"100% \xff.onnx"])
def test_names_are_addresses(
    build_page: Callable[..., Any], asked: Callable[[], int], fake: Path, tmp_path: Path, name: bytes
) -> None:
    model = tmp_path / os.fsdecode(name)
    model.write_bytes((fake / "decoder.onnx").read_bytes())
    done = build_page("--decoder", model, "--out", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    address = json.loads((tmp_path / "site" / "models.json").read_text())["decoder"]
    assert not set(address) & set("#?: ")
    assert unquote_to_bytes(address) == name
    assert (tmp_path / "site" / os.fsdecode(name)).exists()


def test_a_port_that_is_none(
    build_page: Callable[..., Any], asked: Callable[[], int], fake: Path, tmp_path: Path
) -> None:
    done = build_page("--decoder", fake / "decoder.onnx", "--out", tmp_path / "site", "--serve", 65536)
    assert done.returncode == 1
    assert done.stderr.startswith("build.py: error: ")
    assert done.stderr.count("\n") == 1
