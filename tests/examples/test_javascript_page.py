"""The JavaScript package in a page of a stranger's: as its README says, and through a bundler."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.pictures.drawing import to_rgb

pytestmark = pytest.mark.examples

JS = Path(__file__).resolve().parents[2] / "examples" / "js"
ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@pytest.fixture
def page(browser: Any, packed: Path, fake: Path, tmp_path: Path) -> Iterator[tuple[Any, Path, str]]:
    """(tab, folder, address): a folder behind a server, with models and ONNX Runtime's files in it."""
    for name, model in (("mnist", "decoder"), ("cluttered-mnist", "classifier")):
        shutil.copyfile(fake / f"{model}.onnx", tmp_path / f"{name}.onnx")
    (tmp_path / "ort").mkdir()
    for name in ORT_FILES:
        shutil.copyfile(packed / "node_modules" / "onnxruntime-web" / "dist" / name, tmp_path / "ort" / name)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab, tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    assert errors == []


def test_readme(page: tuple[Any, Path, str], packed: Path, fake: Path) -> None:
    """The block of HTML as it stands draws the picture of Python."""
    tab, folder, address = page
    text = (JS / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```html\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shutil.copytree(packed / "node_modules" / "draw-onnx", folder / "js")
    (folder / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{block}")
    tab.goto(address)
    pixels = "document.getElementById('picture').getContext('2d').getImageData(0, 0, 6, 7).data"
    tab.wait_for_function(f"{pixels}.some((v) => v > 0)")
    got = np.array(tab.evaluate(f"Array.from({pixels})")).reshape(7, 6, 4)[..., :3]
    expected = to_rgb(Sampler(fake / "decoder.onnx", "cpu").sample(1, 7).images[0])
    assert np.abs(got - expected.astype(int)).max() <= 1


PROGRAM = """
import { Classifier, readPicture } from "draw-onnx";
const classifier = await Classifier.open("cluttered-mnist.onnx");
const canvas = new OffscreenCanvas(30, 40), context = canvas.getContext("2d");
context.fillStyle = "white";
context.fillRect(5, 6, 7, 20);
const { image: picture } = await readPicture(await canvas.convertToBlob(), classifier.info);
const { answers, probabilities } = await classifier.classify(picture);
window.result = { answers, picture: Array.from(picture), probabilities: Array.from(probabilities) };
"""


def test_bundled(page: tuple[Any, Path, str], packed: Path, fake: Path) -> None:
    """esbuild finds the entry for pages and onnxruntime-web by themselves."""
    tab, folder, address = page
    (packed / "program.js").write_text(PROGRAM)
    command = ["node_modules/.bin/esbuild", "program.js", "--bundle", "--format=esm", f"--outdir={folder}"]
    done = subprocess.run([*command, "--log-level=warning"], cwd=packed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ORT_FILES:  # a bundled runtime looks for its files beside itself
        shutil.copyfile(folder / "ort" / name, folder / name)
    (folder / "index.html").write_text('<script type="module" src="program.js"></script>')
    tab.goto(address)
    tab.wait_for_function("window.result")
    got = tab.evaluate("window.result")
    classifier = Classifier(fake / "classifier.onnx", "cpu")
    picture = np.array(got["picture"], np.float32).reshape(1, *classifier.metadata.image_shape)
    assert 0.9 < picture.max() <= 1
    expected = classifier(picture)
    assert got["answers"] == expected.answers
    np.testing.assert_allclose(got["probabilities"], expected.probabilities[0], rtol=0, atol=1e-4)
