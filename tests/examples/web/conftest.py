"""The web page in headless Chromium against Python: the same pictures and answers, keys, errors, themes, phone width."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler

WEB = Path(__file__).resolve().parents[3] / "examples" / "web"
TOLERANCE = 1e-5  # of pictures between ONNX Runtime's builds
PATIENCE = 30  # seconds until a wait is given up


class Site:
    """The assembled page behind a server on this machine that knows nothing but files."""

    def __init__(self, folder: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.folder = folder
        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Visit:
    """One browser tab on the page; keeps what went wrong and what was asked for."""

    def __init__(self, page: Any, site: Site) -> None:
        self.page, self.site = page, site
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.refused: list[str] = []  # paths that the server did not have
        self.may_lack = ""  # what a test takes away: a part of such paths
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda response: response.status < 400 or self.refused.append(response.url))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address: str = "") -> Visit:
        self.page.goto(f"{self.site.origin}/{address}")
        return self

    def get(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def array(self, expression: str) -> np.ndarray:
        return np.array(self.get(f"Array.from({expression})"), np.float32)

    def wait(self, expression: str) -> None:
        # Not wait_for_function: it evaluates text inside the page, which the page's own policy forbids.
        end = time.monotonic() + PATIENCE
        while not self.get(expression):
            assert time.monotonic() < end, (
                f"never true: {expression}; {self.complaints}; {self.text('.problem')}"
            )
            self.page.wait_for_timeout(20)

    def wait_drawn(self, seed: int | None = None) -> None:
        """Until all sixteen are there and the drawing has been played to its end."""
        self.wait("window.draw?.writing.model && draw.writing.finished")
        if seed is not None:
            self.wait(f"draw.writing.seed === {seed}n && draw.writing.finished")
        self.wait("draw.writing.drawings.filter(Boolean).length === 16")

    def wait_read(self) -> None:
        self.wait("window.draw?.reading.result && !draw.reading.player.playing")

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).all_inner_texts())

    def choose(self, button: str, file: Path) -> None:
        """Give ``file`` to the chooser that a button opens."""
        with self.page.expect_file_chooser() as chooser:
            self.page.locator(button).click()
        chooser.value.set_files(file)

    def compare_drawings(self, model: Path, seed: int, temperature: float = 1.0) -> None:
        """The sixteen pictures of the page, their steps and windows, with Python's."""
        expected = Sampler(model, "cpu").sample(16, seed, temperature=temperature)
        for ours, theirs in (("images", "image"), ("canvases", "canvases"), ("write_attention", "windows")):
            array = getattr(expected, ours)
            assert self.get(f"Boolean(draw.writing.drawings[0].{theirs})") == (array is not None)
            if array is not None:
                got = self.array(f"draw.writing.drawings.flatMap((d) => Array.from(d.{theirs}))")
                allowed = {"write_attention": 1e-4}.get(ours, TOLERANCE)
                np.testing.assert_allclose(got.reshape(array.shape), array, rtol=allowed / 10, atol=allowed)

    def compare_answer(self, model: Path) -> None:
        """The page's answer for its scene, glimpses and windows, with Python's."""
        classifier = Classifier(model, "cpu")
        scene = self.array("draw.reading.scene").reshape(1, *classifier.metadata.image_shape)
        expected = classifier(scene)
        np.testing.assert_allclose(
            self.array("draw.reading.result.probabilities"), expected.probabilities[0], rtol=0, atol=1e-4
        )
        assert self.text("#looking .answer") == expected.answers[0]
        shown = [float(text.rstrip(" %")) for text in self.page.locator(".bars .percent").all_inner_texts()]
        np.testing.assert_allclose(shown, 100 * expected.probabilities[0], rtol=0, atol=0.06)
        if expected.glimpses is not None and expected.read_attention is not None:
            got = self.array("draw.reading.result.glimpses").reshape(expected.glimpses[0].shape)
            np.testing.assert_allclose(got, expected.glimpses[0], rtol=1e-4, atol=1e-4)
            got = self.array("draw.reading.result.windows").reshape(expected.read_attention[0].shape)
            np.testing.assert_allclose(got, expected.read_attention[0], rtol=1e-4, atol=1e-4)

    def values(self, panel: str) -> np.ndarray:
        """Pixels [H, W, 3] of the picture on a stage."""
        data = self.get(
            f"(() => {{ const c = draw.{panel}.stage.canvas;"
            "return [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; })()"
        )
        return np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)[..., :3]


def missing(reason: str) -> NoReturn:
    """Skip, or fail where DRAW_REQUIRE names chromium."""
    if "chromium" in os.environ.get("DRAW_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def _build_page(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WEB / "build.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def build_page() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs examples/web/build.py."""
    return _build_page


@pytest.fixture(scope="session")
def site(kept: Callable[[str], Path], fake: Path, exported: Path) -> Iterator[Site]:
    """The page with the fake models, and beside them files that a query names: fakes, exported and broken ones."""
    if shutil.which("npm") is None:
        missing("npm is not installed")
    folder = kept("web-example") / "site"
    built = _build_page(
        "--decoder", fake / "decoder.onnx", "--classifier", fake / "classifier.onnx", "--out", folder
    )
    if "npm" in built.stderr and built.returncode != 0:
        missing(f"npm could not install onnxruntime-web: {built.stderr.strip()[-300:]}")
    assert built.returncode == 0, built.stderr
    models = folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    shutil.copytree(fake, models)
    shutil.copytree(exported, models, dirs_exist_ok=True)
    site = Site(folder)
    yield site
    site.server.shutdown()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Callable[..., Visit]]:
    """(browser options) -> a fresh tab. At the end nothing may have complained or asked another server."""
    visits: list[Visit] = []

    def visit(**options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        visits.append(Visit(context.new_page(), site))
        return visits[-1]

    yield visit
    for each in visits:
        each.page.context.close()
        assert [url for url in each.refused if not each.may_lack or each.may_lack not in url] == []
        # The browser's own notes: of such a path, and of a runtime loaded ahead that no model came to use.
        notes = ("Failed to load resource", "was preloaded using link preload but not used")
        assert [text for text in each.complaints if not any(note in text for note in notes)] == []
        foreign = [url for url in each.requests if not url.startswith((site.origin, "data:", "blob:"))]
        assert foreign == []
