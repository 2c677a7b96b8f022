"""The page draws what Python draws: seeds, every kind of file, the player, what is saved."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Sampler
from draw_onnx.runtime.check_line import CheckLine
from draw_onnx.runtime.pictures.drawing import to_rgb

pytestmark = pytest.mark.examples

LARGEST = 2**64 - 1


def test_typed_seed(visit: Callable[..., Any], fake: Path) -> None:
    page = visit().open()
    page.wait_drawn(0)
    page.compare_drawings(fake / "decoder.onnx", 0)
    page.page.get_by_label("Seed", exact=True).fill("7")
    page.wait_drawn(7)
    page.compare_drawings(fake / "decoder.onnx", 7)
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


def test_seeds(visit: Callable[..., Any], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open(f"#seed={LARGEST}&picture=15")
    page.wait_drawn(LARGEST)
    assert page.get("draw.writing.chosen") == 15
    page.compare_drawings(fake / "decoder.onnx", LARGEST)
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


def test_temperature(visit: Callable[..., Any], fake: Path) -> None:
    page = visit(reduced_motion="reduce").open("#seed=4&temperature=0.5")
    page.wait_drawn(4)
    page.compare_drawings(fake / "decoder.onnx", 4, 0.5)
    page.page.locator("#drawing summary").click()
    assert "--temperature 0.5" in page.text(".command")
    slider = page.page.get_by_label("Temperature")
    assert slider.input_value() == page.text("output[for=temperature]") == "0.5"
    slider.press("ArrowRight")
    page.wait("location.hash === '#seed=4&picture=0&temperature=0.55'")
    page.wait_drawn(4)
    page.compare_drawings(fake / "decoder.onnx", 4, 0.55)
    slider.fill("1")
    page.wait("location.hash === '#seed=4&picture=0'")
    page.wait_drawn(4)
    page.compare_drawings(fake / "decoder.onnx", 4)
    assert "--temperature" not in page.text(".command")
    for seed, wrong in ((5, "-1"), (6, "warm"), (7, "9"), (8, "")):
        page.get(f"location.hash = '#seed={seed}&temperature={wrong}'")
        page.wait(f"location.hash === '#seed={seed}&picture=0'")
        assert page.get("draw.writing.temperature") == 1
    page.page.get_by_label("Seed", exact=True).fill("11")  # and at once, before it has been taken:
    slider.fill("0.25")
    page.wait("location.hash === '#seed=11&picture=0&temperature=0.25'")
    page.wait_drawn(11)
    page.compare_drawings(fake / "decoder.onnx", 11, 0.25)


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
def test_every_kind(visit: Callable[..., Any], site: Any, decoder: str, classifier: str) -> None:
    page = visit(reduced_motion="reduce").open(
        f"?decoder=models/{decoder}.onnx&classifier=models/{classifier}.onnx#seed=5"
    )
    page.wait_drawn(5)
    page.wait_read()
    page.compare_drawings(site.folder / "models" / f"{decoder}.onnx", 5)
    page.compare_answer(site.folder / "models" / f"{classifier}.onnx")
    metadata = Sampler(site.folder / "models" / f"{decoder}.onnx", "cpu").metadata
    windows = metadata.attention and metadata.outputs == "steps"
    assert page.page.get_by_text("Show the write window").is_visible() == windows
    for panel, steps in (("drawing", metadata.outputs == "steps"), ("looking", "lean" not in classifier)):
        assert page.page.locator(f"#{panel} .player").is_visible() == steps
        assert ("--outputs steps" in page.text(f"#{panel} .status")) != steps
    page.page.locator("#drawing summary").click()
    output = "--png" if metadata.outputs == "steps" else "--grid"  # --png wants the steps
    assert f"-n 1 {output} picture.png --check" in page.text(".command")
    if metadata.outputs == "steps":
        page.get("draw.writing.player.seek(1)")
        assert page.get("draw.writing.stage.rows.length") == int(windows)
        expected = Sampler(site.folder / "models" / f"{decoder}.onnx", "cpu").sample(1, 5)
        assert expected.canvases is not None
        assert np.abs(page.values("writing").astype(int) - to_rgb(expected.canvases[0, 0])).max() <= 1


def test_player_and_sheet_keys(visit: Callable[..., Any], fake: Path) -> None:
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


def test_keys_go_round_the_sheet(visit: Callable[..., Any]) -> None:
    """From the first picture to the last, and on in the same column."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn(0)
    page.page.get_by_role("radio").first.focus()
    chosen = []
    for key in ("ArrowLeft", "ArrowDown", "ArrowUp", "ArrowRight"):
        page.page.keyboard.press(key)
        chosen.append(page.get("draw.writing.chosen"))
    assert chosen == [15, 3, 15, 0]


SLOW = """(() => {
    const { model } = draw.writing, sample = model.sample.bind(model);
    model.sample = async (...given) => {
        await new Promise((resolve) => setTimeout(resolve, 80));
        return sample(...given);
    };
})()"""  # every portion is of one picture then


@pytest.mark.parametrize("early", [True, False])
def test_a_picture_chosen_before_it_is_there(visit: Callable[..., Any], fake: Path, early: bool) -> None:
    """While the first one is computed, or one of those after it: command and check line are the chosen picture's."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn(0)
    page.get(SLOW)
    if early:
        page.get("(draw.writing.draw(5n), draw.writing.choose(9))")
    else:
        page.get("void draw.writing.draw(5n)")
        page.wait("draw.writing.drawings[0]")
        page.get("draw.writing.choose(9)")
    page.wait("draw.writing.drawings[9]")
    page.wait("draw.writing.status.textContent.startsWith('Seed 5, picture 9')")
    page.wait_drawn(5)
    page.page.locator("#drawing summary").click()
    assert "--seed 5 --start 9 -n 1" in page.text(".command")
    line = CheckLine()
    line.add(Sampler(fake / "decoder.onnx", "cpu").sample(1, 5, 9))
    assert page.text(".check-line").split()[1] == str(line).split()[1]
    page.compare_drawings(fake / "decoder.onnx", 5)


def test_a_model_that_fails_while_it_draws(visit: Callable[..., Any], site: Any) -> None:
    """The panel says so once, whatever was on its way, and takes another file."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.get("void (draw.writing.model.sample = async () => { throw new Error('x.onnx: no memory'); })")
    page.get("void draw.writing.draw(1n)")
    page.wait("draw.writing.root.dataset.state === 'error'")
    page.get("draw.writing.giveUp(new Error('x.onnx: again'))")
    page.get("draw.writing.draw(2n)")
    assert "x.onnx: again" in page.text("#drawing .problem")
    assert page.get("draw.writing.model === null")
    page.choose("#drawing .problem button", site.folder / "models" / "decoder-colour.onnx")
    page.wait_drawn()
    assert not page.page.locator("#drawing .problem").is_visible()


def test_saved_png(visit: Callable[..., Any], fake: Path) -> None:
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
