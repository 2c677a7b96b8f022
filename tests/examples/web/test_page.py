"""The page as a whole: focus, broken and missing files, themes, phones, and its assembly."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.examples


def test_tab_order_shows_focus(visit: Callable[..., Any]) -> None:
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
        "Temperature",
        "Picture 0",
    ]
    assert named[: len(order)] == order
    assert named.index("Save PNG") < named.index("Glimpse") < named.index("New puzzle")


@pytest.fixture
def broken(site: Any, edited: Callable[..., Path]) -> dict[str, str]:
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
        "liar.onnx": (
            edited("decoder", image_width="9").read_bytes(),
            "not have the shape that its metadata says",
        ),
        "noise.onnx": (edited("decoder", noise_stream="other").read_bytes(), "unknown noise_stream other"),
    }
    for name, (content, _) in contents.items():
        (site.folder / "models" / name).write_bytes(content)
    return {name: text for name, (_, text) in contents.items()} | {
        "missing.onnx": "is not there (the server says 404)",
        "classifier.onnx": "this is a draw.classifier, and a draw.decoder is needed",
    }


def test_broken_models(visit: Callable[..., Any], site: Any, broken: dict[str, str], fake: Path) -> None:
    for name in ("missing", "truncated", "classifier"):
        page = visit()
        page.may_lack = "models/missing.onnx"
        page.open(f"?decoder=models/{name}.onnx")
        page.wait("window.draw?.writing.root.dataset.state === 'error'")
        page.wait("draw.reading.root.dataset.state === 'ready'")  # the page's own
        shown = page.text("#drawing .problem")
        assert f"models/{name}.onnx: " in shown
        assert broken.pop(f"{name}.onnx") in shown
        assert not page.page.locator("#drawing .stage").is_visible()
    for name, says in broken.items():  # one after the other, as a visitor tries them
        page.choose("#drawing .problem button", site.folder / "models" / name)
        page.wait(f"draw.writing.root.querySelector('.problem').innerText.includes('{name}: ')")
        assert says in page.text("#drawing .problem")

    page.choose("#drawing .problem button", fake / "decoder.onnx")  # and the way on works
    page.wait_drawn(0)
    assert not page.page.locator("#drawing .problem").is_visible()
    page.page.locator("#drawing summary").click()
    page.choose("#drawing [data-action=open-model]", fake / "classifier.onnx")
    page.wait("!draw.writing.root.querySelector('.problem').hidden")
    assert page.page.locator("#drawing .stage").is_visible()  # a wrong file is refused, the open model stays


def test_incomplete_site(visit: Callable[..., Any], site: Any) -> None:
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


def test_themes_and_phone(visit: Callable[..., Any], tmp_path: Path) -> None:
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
    assert phone.get(
        "[...document.querySelectorAll('select, input:not([type=range], [type=checkbox])')].every((e) =>"
        " parseFloat(getComputedStyle(e).fontSize) >= 16)"
    )  # else an iPhone zooms in
    phone.page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_reduced_motion(visit: Callable[..., Any]) -> None:
    still = visit(reduced_motion="reduce").open()
    still.wait("window.draw?.writing.drawings[0]")
    assert still.get("draw.writing.finished && !draw.writing.player.playing")
    moving = visit(reduced_motion="no-preference").open()
    moving.wait("window.draw?.writing.player.playing")
    moving.wait_drawn()


def test_forced_colours(visit: Callable[..., Any], tmp_path: Path) -> None:
    """The system's high contrast takes the backgrounds that the sliders are drawn with: it draws them itself."""
    page = visit(forced_colors="active", reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    looks = page.get(
        "[...document.querySelectorAll('input[type=range]')].map((e) => getComputedStyle(e).appearance)"
    )
    assert looks == ["auto"] * 3
    slider = page.page.locator("#drawing .steps")
    pixels = np.asarray(Image.open(io.BytesIO(slider.screenshot(path=tmp_path / "slider.png"))).convert("L"))
    assert np.ptp(pixels.astype(int)) > 100
