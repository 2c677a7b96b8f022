"""The web page in headless Chromium against Python: the same pictures and answers, keys, errors, themes, phone width."""

from __future__ import annotations

import functools
import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.check_line import CheckLine
from draw_onnx.runtime.pictures.drawing import to_rgb
from draw_onnx.runtime.pictures.reading import read_picture

pytestmark = pytest.mark.examples

WEB = Path(__file__).resolve().parents[2] / "examples" / "web"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOLERANCE = 1e-5  # of pictures between ONNX Runtime's builds
PATIENCE = 30  # seconds until a wait is given up
LARGEST = 2**64 - 1


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


def build_page(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WEB / "build.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        missing(f"{CHROMIUM} is not installed")
    try:
        api = import_module("playwright.sync_api")
    except ImportError:
        missing("playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(kept: Callable[[str], Path], fake: Path, exported: Path) -> Iterator[Site]:
    """The page with the fake models, and beside them files that a query names: fakes, exported and broken ones."""
    if shutil.which("npm") is None:
        missing("npm is not installed")
    folder = kept("web-example") / "site"
    built = build_page(
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


def compare_drawings(page: Visit, model: Path, seed: int) -> None:
    """The sixteen pictures of the page, their steps and windows, with Python's."""
    expected = Sampler(model, "cpu").sample(16, seed)
    for ours, theirs in (("images", "image"), ("canvases", "canvases"), ("write_attention", "windows")):
        array = getattr(expected, ours)
        assert page.get(f"Boolean(draw.writing.drawings[0].{theirs})") == (array is not None)
        if array is not None:
            got = page.array(f"draw.writing.drawings.flatMap((d) => Array.from(d.{theirs}))")
            allowed = {"write_attention": 1e-4}.get(ours, TOLERANCE)
            np.testing.assert_allclose(got.reshape(array.shape), array, rtol=allowed / 10, atol=allowed)


def compare_answer(page: Visit, model: Path) -> None:
    """The page's answer for its scene, glimpses and windows, with Python's."""
    classifier = Classifier(model, "cpu")
    scene = page.array("draw.reading.scene").reshape(1, *classifier.metadata.image_shape)
    expected = classifier(scene)
    np.testing.assert_allclose(
        page.array("draw.reading.result.probabilities"), expected.probabilities[0], rtol=0, atol=1e-4
    )
    assert page.text("#looking .answer") == expected.answers[0]
    shown = [float(text.rstrip(" %")) for text in page.page.locator(".bars .percent").all_inner_texts()]
    np.testing.assert_allclose(shown, 100 * expected.probabilities[0], rtol=0, atol=0.06)
    if expected.glimpses is not None and expected.read_attention is not None:
        got = page.array("draw.reading.result.glimpses").reshape(expected.glimpses[0].shape)
        np.testing.assert_allclose(got, expected.glimpses[0], rtol=1e-4, atol=1e-4)
        got = page.array("draw.reading.result.windows").reshape(expected.read_attention[0].shape)
        np.testing.assert_allclose(got, expected.read_attention[0], rtol=1e-4, atol=1e-4)


def test_typed_seed(visit: Callable[..., Visit], fake: Path) -> None:
    page = visit().open()
    page.wait_drawn(0)
    compare_drawings(page, fake / "decoder.onnx", 0)
    page.page.get_by_label("Seed", exact=True).fill("7")
    page.wait_drawn(7)
    compare_drawings(page, fake / "decoder.onnx", 7)
    page.wait("location.hash === '#seed=7&picture=0'")

    expected = Sampler(fake / "decoder.onnx", "cpu").sample(1, 7)
    assert np.abs(page.values("writing").astype(int) - to_rgb(expected.images[0])).max() <= 1
    line = CheckLine()
    line.add(expected)
    page.page.locator("#drawing summary").click()
    word, digest, *numbers = page.text(".check-line").split()
    their_word, their_digest, *their_numbers = str(line).split()
    assert (word, digest) == (their_word, their_digest)
    np.testing.assert_allclose([*map(float, numbers)], [*map(float, their_numbers)], rtol=0, atol=1.1e-5)
    assert "--seed 7 --start 0 -n 1" in page.text(".command")
    assert sum(url.endswith("decoder.onnx") for url in page.requests) == 1
    assert sum(url.endswith(".wasm") for url in page.requests) == 1


def test_seeds(visit: Callable[..., Visit], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open(f"#seed={LARGEST}&picture=15")
    page.wait_drawn(LARGEST)
    assert page.get("draw.writing.chosen") == 15
    compare_drawings(page, fake / "decoder.onnx", LARGEST)
    page.page.get_by_label("Next seed").click()
    page.wait_drawn(0)
    page.page.get_by_label("Previous seed").click()
    page.wait_drawn(LARGEST)
    field = page.page.get_by_label("Seed", exact=True)
    for wrong in ("-1", "1.5", "seven", "", str(LARGEST + 1)):
        field.fill(wrong)
        field.press("Enter")
        assert field.get_attribute("aria-invalid") == "true"
        assert str(LARGEST) in page.text("#seed-problem")
    assert page.get(f"draw.writing.seed === {LARGEST}n")
    field.fill("12")
    field.press("Enter")
    page.wait_drawn(12)
    assert field.get_attribute("aria-invalid") == "false"
    field.press("ArrowUp")
    page.wait_drawn(13)
    page.get("location.hash = '#seed=3&picture=2'")
    page.wait_drawn(3)
    assert page.get("draw.writing.chosen") == 2
    page.page.get_by_text("Surprise me").click()
    page.wait("draw.writing.seed !== 3n && draw.writing.finished")


@pytest.mark.parametrize(
    ("decoder", "classifier"),
    [
        ("decoder5", "classifier2"),  # the exporter's, with trained-like weights
        ("decoder-colour", "classifier-colour"),
        ("decoder-no-attention-colour", "classifier"),
        ("decoder-batch4", "classifier-batch4"),
        ("decoder-lean", "classifier-lean"),
        ("lstm", "classifier3"),
    ],
)
def test_every_kind(visit: Callable[..., Visit], site: Site, decoder: str, classifier: str) -> None:
    page = visit(reduced_motion="reduce").open(
        f"?decoder=models/{decoder}.onnx&classifier=models/{classifier}.onnx#seed=5"
    )
    page.wait_drawn(5)
    page.wait_read()
    compare_drawings(page, site.folder / "models" / f"{decoder}.onnx", 5)
    compare_answer(page, site.folder / "models" / f"{classifier}.onnx")
    metadata = Sampler(site.folder / "models" / f"{decoder}.onnx", "cpu").metadata
    windows = metadata.attention and metadata.outputs == "steps"
    assert page.page.get_by_text("Show the write window").is_visible() == windows
    for panel, steps in (("drawing", metadata.outputs == "steps"), ("looking", "lean" not in classifier)):
        assert page.page.locator(f"#{panel} .player").is_visible() == steps
        assert ("--outputs steps" in page.text(f"#{panel} .status")) != steps
    if metadata.outputs == "steps":
        page.get("draw.writing.player.seek(1)")
        assert page.get("draw.writing.stage.rows.length") == int(windows)
        expected = Sampler(site.folder / "models" / f"{decoder}.onnx", "cpu").sample(1, 5)
        assert expected.canvases is not None
        assert np.abs(page.values("writing").astype(int) - to_rgb(expected.canvases[0, 0])).max() <= 1


def test_player_and_sheet_keys(visit: Callable[..., Visit], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open("?decoder=models/decoder.onnx")
    page.wait_drawn(0)
    keyboard, slider = page.page.keyboard, page.page.locator("#drawing .steps")
    count = page.get("draw.writing.player.count")
    assert count == 4  # three steps, and the finished picture without its window
    slider.focus()
    keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 1 of 3"
    frame = page.page.locator("#drawing .stage rect.now")
    row = Sampler(fake / "decoder.onnx", "cpu").sample(1, 0).write_attention[0, 0]  # type: ignore[index]
    x, y, delta, sigma, _ = map(float, row)
    attributes = {name: float(frame.get_attribute(name)) for name in ("x", "width", "y", "height")}
    scale = page.get("draw.writing.stage.scale")
    line = max(min(sigma / 2, 1) * min(1, 8 / scale), 1 / scale)
    for start, size, centre, limit in (("x", "width", x, 6), ("y", "height", y, 7)):
        low, high = (min(max(centre + side * delta - 0.5, line / 2), limit - line / 2) for side in (-1, 1))
        assert attributes[start] == pytest.approx(low, abs=1e-3)
        assert attributes[start] + attributes[size] == pytest.approx(high, abs=1e-3)
    keyboard.press("ArrowRight")
    assert page.get("draw.writing.player.step") == 2
    keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "finished"
    assert frame.count() == 0
    keyboard.press("Space")
    assert page.get("draw.writing.player.playing")
    assert page.page.locator("#drawing .play").get_attribute("aria-label") == "Pause"
    page.wait("draw.writing.finished && !draw.writing.player.playing")

    # One stop for the sheet; arrows go from picture to picture.
    tiles = page.page.get_by_role("radio")
    assert tiles.count() == 16
    assert page.get("document.querySelectorAll('.sheet [tabindex=\"0\"]').length") == 1
    tiles.first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        keyboard.press(key)
    assert page.get("draw.writing.chosen") == 4
    assert page.get("document.activeElement.getAttribute('aria-label')") == "Picture 4"
    assert page.get("document.activeElement.getAttribute('aria-checked')") == "true"
    assert "picture 4" in page.text("#drawing .status")
    expected = Sampler(fake / "decoder.onnx", "cpu").sample(1, 0, 4)
    assert np.abs(page.values("writing").astype(int) - to_rgb(expected.images[0])).max() <= 1


def test_tab_order_shows_focus(visit: Callable[..., Visit]) -> None:
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    named = []
    for _ in range(24):
        page.page.keyboard.press("Tab")
        name, outline = page.get(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.getAttribute('aria-label') ?? e.labels?.[0]?.innerText ?? e.innerText,"
            "s.outlineStyle + s.outlineWidth]; })()"
        )
        assert name.strip()
        assert outline.startswith(("solid3", "auto")), f"{name} has no visible focus: {outline}"
        named.append(name.strip())
        if "model" in name and "Clear and draw" in named:
            break
    order = [
        "Skip to the drawing",
        "Play",
        "Step",
        "Previous seed",
        "Seed",
        "Next seed",
        "Surprise me",
        "Picture 0",
    ]
    assert named[: len(order)] == order
    assert named.index("Save PNG") < named.index("Glimpse") < named.index("New puzzle")


def test_pictures_and_puzzles(visit: Callable[..., Visit], fake: Path, tmp_path: Path) -> None:
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    model = fake / "classifier.onnx"
    compare_answer(page, model)  # the puzzle that the page starts with
    scene = page.array("draw.reading.scene")
    assert 0 <= scene.min() < scene.max() <= 1

    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (12, 9), np.uint8)
    files = {
        "grey.png": Image.fromarray(grey),
        "large.png": Image.fromarray(rng.integers(0, 256, (75, 61), np.uint8)),
        "colour.png": Image.fromarray(rng.integers(0, 256, (333, 212, 3), np.uint8)),
        "clear.png": Image.fromarray(rng.integers(0, 256, (30, 30, 4), np.uint8)),
    }
    shape = Classifier(model, "cpu").metadata.image_shape
    for ink in ("light", "dark"):
        page.page.get_by_label("Ink").select_option(ink)
        for name, picture in files.items():
            picture.save(tmp_path / name)
            with page.page.expect_file_chooser() as chooser:
                page.page.get_by_text("Choose a picture").click()
            chooser.value.set_files(tmp_path / name)
            page.wait(f"draw.reading.status.textContent.startsWith('{name} is read.')")
            expected = read_picture(tmp_path / name, shape, ink == "dark")
            got = page.array("draw.reading.scene").reshape(shape)
            # A canvas keeps transparent pixels with less precision.
            allowed = 2.5 / 255 if name == "clear.png" else 1.1 / 255 if name == "colour.png" else 1e-6
            np.testing.assert_allclose(got, expected, rtol=0, atol=allowed)
            compare_answer(page, model)

    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with page.page.expect_file_chooser() as chooser:
        page.page.get_by_text("Choose a picture").click()
    chooser.value.set_files(tmp_path / "broken.png")
    page.wait("draw.reading.status.textContent === 'broken.png is no picture that this browser can read.'")

    page.page.get_by_label("Ink").select_option("auto")
    for kind, event in (("drop", "DragEvent"), ("paste", "ClipboardEvent")):
        page.get(
            "(async () => { const t = new DataTransfer(), canvas = new OffscreenCanvas(5, 4);"
            "const g = canvas.getContext('2d'); g.fillStyle = 'white'; g.fillRect(1, 0, 2, 4);"
            f"t.items.add(new File([await canvas.convertToBlob()], '{kind}.png'));"
            f"document.body.dispatchEvent(new {event}('{kind}',"
            "{ dataTransfer: t, clipboardData: t, bubbles: true, cancelable: true })); })()"
        )
        page.wait(f"draw.reading.status.textContent.startsWith('{kind}.png is read.')")
        expected = np.zeros(
            shape, np.float32
        )  # 5 x 4 pixels in the middle of 24 x 20, transparent but for a bar
        expected[:, 8:12, 10:12] = 1
        np.testing.assert_array_equal(page.array("draw.reading.scene").reshape(shape), expected)

    before = page.array("draw.reading.scene")
    page.page.get_by_text("New puzzle").click()
    page.wait("draw.reading.status.textContent.startsWith('Puzzle 1.')")
    compare_answer(page, model)
    assert not np.array_equal(page.array("draw.reading.scene"), before)


def test_pictures_of_ink_are_prepared(visit: Callable[..., Visit], fake: Path, tmp_path: Path) -> None:
    """A model of figures of a known size: what a visitor drops becomes what draw-classify makes of it."""
    page = visit(reduced_motion="reduce").open(
        "?decoder=models/decoder.onnx&classifier=models/classifier-figures.onnx"
    )
    page.wait_drawn()
    page.wait_read()
    model = Classifier(fake / "classifier-figures.onnx", "cpu")
    ink = np.zeros((200, 150))
    ink[40:160, 60:75] = ink[40:55, 60:110] = ink[95:110, 60:100] = 1
    shade = np.linspace(110, 250, 150)
    pictures = {
        "paper.png": 240 - 200 * ink,
        "shade.png": shade * (1 - 0.8 * ink),
        "red.png": np.dstack([240 - 20 * ink, 240 - 200 * ink, 240 - 200 * ink]),
        "clear.png": np.dstack([0 * ink, 0 * ink, 0 * ink, 255 * ink]),
        "blank.png": np.full((90, 90), 250.0),
    }
    for name, levels in pictures.items():
        Image.fromarray(levels.astype(np.uint8)).save(tmp_path / name)
        with page.page.expect_file_chooser() as chooser:
            page.page.get_by_text("Choose a picture").click()
        chooser.value.set_files(tmp_path / name)
        page.wait(f"draw.reading.status.textContent.startsWith('{name} is read.')")
        expected = model.prepare(tmp_path / name)
        got = page.array("draw.reading.scene").reshape(expected.image.shape)
        np.testing.assert_allclose(got, expected.image, rtol=0, atol=1e-5)
        said = page.text("#looking .status")
        assert (f"Prepared: {expected}." in said) == bool(expected.steps)
        assert ("blank: no ink was found" in said) == (name == "blank.png")
        compare_answer(page, fake / "classifier-figures.onnx")


def test_hidden_drawing(visit: Callable[..., Visit], site: Site) -> None:
    """The chosen drawing lies whole in the puzzle: nothing is darker than it there."""
    page = visit(reduced_motion="reduce").open(
        "?decoder=models/decoder5.onnx&classifier=models/classifier2.onnx#picture=3"
    )
    page.wait_drawn()
    page.wait_read()
    page.page.get_by_text("Hide it in clutter").click()
    page.wait("draw.reading.status.textContent.startsWith('Puzzle 1.')")
    scene = page.array("draw.reading.scene").reshape(40, 40)
    digit = Sampler(site.folder / "models" / "decoder5.onnx", "cpu").sample(1, 0, 3).images[0, 0]
    places = np.lib.stride_tricks.sliding_window_view(scene, (28, 28))
    assert (places >= digit - TOLERANCE).all((2, 3)).any()


def test_pen(visit: Callable[..., Visit], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    page.page.get_by_text("Clear and draw").click()
    assert page.get("draw.reading.scene.every((value) => value === 0) && draw.reading.result === null")
    assert page.text("#looking .answer") == "–"
    canvas = page.page.locator("#looking .stage canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    across, down = box["width"] / 24, box["height"] / 20
    mouse = page.page.mouse
    mouse.move(box["x"] + 5.5 * across, box["y"] + 4.5 * down)
    mouse.down()
    mouse.move(box["x"] + 15.5 * across, box["y"] + 4.5 * down, steps=7)
    mouse.up()
    page.wait("draw.reading.status.textContent.startsWith('Your drawing.')")
    scene = page.array("draw.reading.scene").reshape(20, 24)
    assert scene[4, 5:16].min() > 0.9  # a line from pixel (5, 4) to (15, 4)
    assert scene[:3].max() == scene[7:].max() == scene[:, :3].max() == scene[:, 18:].max() == 0
    compare_answer(page, fake / "classifier.onnx")


def test_saved_png(visit: Callable[..., Visit], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open("?decoder=models/decoder-colour.onnx#seed=2&picture=1")
    page.wait_drawn()
    expected = to_rgb(Sampler(fake / "decoder-colour.onnx", "cpu").sample(1, 2, 1).images[0])
    with page.page.expect_download() as download:
        page.page.get_by_text("Save PNG").click()
    assert download.value.suggested_filename == "draw-seed2-picture1-step3.png"
    picture = np.asarray(Image.open(io.BytesIO(Path(download.value.path()).read_bytes())).convert("RGB"))
    scale = picture.shape[0] // expected.shape[0]
    assert picture.shape == (expected.shape[0] * scale, expected.shape[1] * scale, 3)
    assert np.abs(picture[scale // 2 :: scale, scale // 2 :: scale].astype(int) - expected).max() <= 1
    with page.page.expect_download() as download:
        page.page.get_by_text("Save the sheet").click()
    assert download.value.suggested_filename == "draw-seed2-step3.png"


@pytest.fixture
def broken(site: Site, edited: Callable[..., Path]) -> dict[str, str]:
    """Files that cannot be used: name -> what the page must say."""
    good = (site.folder / "models" / "decoder.onnx").read_bytes()
    contents = {
        "truncated.onnx": (good[: len(good) // 2], "not an ONNX file, or it is damaged"),
        "empty.onnx": (b"", "the file is empty"),
        "text.onnx": (b"<!doctype html><title>no</title>", "not an ONNX file, or it is damaged"),
        "foreign.onnx": (
            edited("decoder", model_type=None, format_version=None).read_bytes(),
            "not a file that draw-export wrote",
        ),
        "newer.onnx": (edited("decoder", format_version="2").read_bytes(), "newer than this program reads"),
        "liar.onnx": (edited("decoder", image_width="9").read_bytes(), "but its metadata says"),
        "noise.onnx": (edited("decoder", noise_stream="other").read_bytes(), "unknown noise_stream other"),
    }
    for name, (content, _) in contents.items():
        (site.folder / "models" / name).write_bytes(content)
    return {name: text for name, (_, text) in contents.items()} | {
        "missing.onnx": "is not there (the server says 404)",
        "classifier.onnx": "this is a draw.classifier, and a draw.decoder is needed",
    }


def choose(page: Visit, button: str, file: Path) -> None:
    with page.page.expect_file_chooser() as chooser:
        page.page.locator(button).click()
    chooser.value.set_files(file)


def test_broken_models(visit: Callable[..., Visit], site: Site, broken: dict[str, str], fake: Path) -> None:
    for name in ("missing", "truncated", "classifier"):
        page = visit()
        page.may_lack = "models/missing.onnx"
        page.open(f"?decoder=models/{name}.onnx")
        page.wait("window.draw?.reading.root.dataset.state === 'error'")
        shown = page.text("#drawing .problem")
        assert f"models/{name}.onnx: " in shown
        assert broken.pop(f"{name}.onnx") in shown
        assert not page.page.locator("#drawing .stage").is_visible()
        assert "No classifier came with this page" in page.text("#looking .problem")
    for name, says in broken.items():  # one after the other, as a visitor tries them
        choose(page, "#drawing .problem button", site.folder / "models" / name)
        page.wait(f"draw.writing.root.querySelector('.problem').innerText.includes('{name}: ')")
        assert says in page.text("#drawing .problem")

    choose(page, "#drawing .problem button", fake / "decoder.onnx")  # and the way on works
    page.wait_drawn(0)
    assert not page.page.locator("#drawing .problem").is_visible()
    page.page.locator("#drawing summary").click()
    choose(page, "#drawing [data-action=open-model]", fake / "classifier.onnx")
    page.wait("!draw.writing.root.querySelector('.problem').hidden")
    assert page.page.locator("#drawing .stage").is_visible()  # a wrong file is refused, the open model stays


def test_incomplete_site(visit: Callable[..., Visit], site: Site) -> None:
    """Without models.json, and without ONNX Runtime, the page says what to do."""
    page = visit()
    page.may_lack = "models.json"
    page.page.route("**/models.json", lambda route: route.fulfill(status=404))
    page.open()
    page.wait("window.draw?.reading.root.dataset.state === 'error'")
    assert "models.json: it is not there (the server says 404). Assemble the page with build.py" in page.text(
        "#drawing .problem"
    )
    page = visit()
    page.may_lack = "/ort/"
    page.page.route("**/ort/*", lambda route: route.fulfill(status=404))
    page.open()
    page.wait("window.draw?.reading.root.dataset.state === 'error'")
    assert "ONNX Runtime's files are not in the folder ort" in page.text("#drawing .problem")


def test_themes_and_phone(visit: Callable[..., Visit], tmp_path: Path) -> None:
    papers = {}
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme, reduced_motion="reduce").open()
        page.wait_drawn()
        page.wait_read()
        paper = page.get("getComputedStyle(document.body).backgroundColor")
        papers[scheme] = np.mean([int(n) for n in re.findall(r"\d+", paper)[:3]])
        page.page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    assert papers["light"] > 230 > 40 > papers["dark"]
    phone = visit(viewport={"width": 360, "height": 740}, device_scale_factor=2, has_touch=True).open()
    phone.wait_drawn()
    phone.wait_read()
    for summary in phone.page.locator("summary").all():
        summary.click()
    assert phone.get("document.documentElement.scrollWidth") <= 360
    overflowing = phone.get(
        "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 360.5"
        " && !e.closest('pre, svg')).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert overflowing == []
    small = phone.get(
        "[...document.querySelectorAll('button, input[type=range], .check')].filter((e) => e.offsetParent &&"
        " Math.min(e.offsetHeight, e.offsetWidth) < 24).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert small == []  # fingers hit them
    phone.page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_reduced_motion(visit: Callable[..., Visit]) -> None:
    still = visit(reduced_motion="reduce").open()
    still.wait("window.draw?.writing.drawings[0]")
    assert still.get("draw.writing.finished && !draw.writing.player.playing")
    moving = visit(reduced_motion="no-preference").open()
    moving.wait("window.draw?.writing.player.playing")
    moving.wait_drawn()


def test_build_errors(fake: Path, tmp_path: Path) -> None:
    for arguments, says in (
        ((), "give --decoder, --classifier or both"),
        (("--decoder", "no-such-model"), "no model no-such-model"),
        (("--decoder", fake / "decoder.onnx", "--classifier", fake / "decoder.onnx"), "different file names"),
        (("--decoder", fake / "decoder.onnx", "--ort", tmp_path), "ort.wasm.min.mjs"),
    ):
        done = build_page(*arguments, "--out", tmp_path / "site")
        assert done.returncode == 1
        assert done.stderr.startswith("build.py: error: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
