"""The page reads what Python reads: files, dropped and pasted pictures, puzzles, the pen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler
from draw_onnx.runtime.pictures.reading import read_picture

pytestmark = pytest.mark.examples

TOLERANCE = 1e-5  # of pictures between ONNX Runtime's builds


def test_pictures_and_puzzles(visit: Callable[..., Any], fake: Path, tmp_path: Path) -> None:
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    model = fake / "classifier.onnx"
    page.compare_answer(model)  # the puzzle that the page starts with
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
            page.compare_answer(model)

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
    page.compare_answer(model)
    assert not np.array_equal(page.array("draw.reading.scene"), before)


def test_pictures_of_ink_are_prepared(visit: Callable[..., Any], fake: Path, tmp_path: Path) -> None:
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
        page.compare_answer(fake / "classifier-figures.onnx")


def test_what_a_visitor_does_meanwhile_counts_more(
    visit: Callable[..., Any], fake: Path, tmp_path: Path
) -> None:
    """A picture that is still being decoded neither comes back later nor spoils another model; a bad file neither."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "slow.png")
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(tmp_path / "small.png")
    page.get(
        "void (window.decode = createImageBitmap, window.createImageBitmap = async (...given) =>"
        " { await new Promise((run) => { window.goOn = run; }); return decode(...given); })"
    )
    page.choose("text=Choose a picture", tmp_path / "slow.png")
    page.wait("Boolean(window.goOn)")
    assert page.text("#looking .status") == "Reading slow.png …"
    page.page.get_by_text("Clear and draw").click()
    page.get("void (window.createImageBitmap = decode)")
    page.choose("text=Choose a picture", tmp_path / "small.png")
    page.wait("draw.reading.status.textContent.startsWith('small.png is read.')")
    page.get("goOn()")
    page.page.wait_for_timeout(300)
    assert page.get("draw.reading.status.textContent").startswith("small.png is read.")
    page.compare_answer(fake / "classifier.onnx")


def test_links_within_the_page_change_nothing(visit: Callable[..., Any]) -> None:
    page = visit(reduced_motion="reduce").open("#seed=7&picture=3&temperature=0.8")
    page.wait_drawn(7)
    page.get("location.hash = '#drawing'")
    page.page.wait_for_timeout(200)
    assert page.get("[String(draw.writing.seed), draw.writing.chosen, draw.writing.temperature]") == [
        "7",
        3,
        0.8,
    ]
    page.get("location.hash = '#seed=99999999999999999999'")
    page.page.wait_for_timeout(200)
    assert page.get("String(draw.writing.seed)") == "7"
    page.get("location.hash = '#seed=8&picture=16'")  # there are sixteen, from 0
    page.wait_drawn(8)
    assert page.get("draw.writing.chosen") == 0


def test_a_file_of_the_query_and_the_page_s_own(visit: Callable[..., Any]) -> None:
    page = visit(reduced_motion="reduce").open("?decoder=models/decoder-colour.onnx")
    page.wait_drawn()
    page.wait_read()


def test_hidden_drawing(visit: Callable[..., Any], site: Any) -> None:
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


def test_pen(visit: Callable[..., Any], fake: Path) -> None:
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
    page.compare_answer(fake / "classifier.onnx")


def test_a_lifted_pen_lets_the_glimpses_play(visit: Callable[..., Any]) -> None:
    """What the last stroke asked for came after the answer, and stopped them."""
    page = visit(reduced_motion="no-preference").open()
    page.wait_drawn()
    page.wait_read()
    page.page.get_by_text("Clear and draw").click()
    canvas = page.page.locator("#looking .stage canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    # The browser's next frame comes when the test says so, after the pen is lifted.
    page.get("void (window.held = [], window.requestAnimationFrame = (run) => held.push(run))")
    mouse = page.page.mouse
    mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    mouse.up()
    page.wait("held.length > 0 && draw.reading.status.textContent.startsWith('Your drawing.')")
    page.get("(draw.reading.player.play(1), held.forEach((run) => run()))")
    page.page.wait_for_timeout(50)
    assert page.get("draw.reading.player.playing")
