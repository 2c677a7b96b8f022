"""Models come and go: wrong files beside right ones, quick visitors, names that are no addresses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.examples


def drop(page: Any, name: str, source: str = "") -> None:
    """Drop the site's file models/NAME on the page."""
    page.get(
        f"(async () => {{ const bytes = await (await fetch('models/{source or name}')).arrayBuffer();"
        f"const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File([bytes], '{name}'));"
        "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true })); })()"
    )


def hold(page: Any, address: str) -> list[Any]:
    """Requests of an address, which wait until they are let go."""
    held: list[Any] = []
    page.page.route(address, lambda route: held.append(route))
    return held


def let_go(page: Any, held: list[Any]) -> None:
    while not held:
        page.page.wait_for_timeout(20)
    for route in held:
        route.continue_()


def refused(page: Any, panel: str) -> str:
    """What the box of a panel says, once it is there."""
    page.wait(f"!draw.{panel}.problem.hidden")
    return page.get(f"draw.{panel}.problem.innerText")


@pytest.fixture
def wrong(site: Any, edited: Callable[..., Path]) -> str:
    """A classifier that cannot be opened."""
    shutil.copyfile(edited("classifier", labels="a,b,a"), site.folder / "models" / "wrong.onnx")
    return "wrong.onnx"


def test_a_wrong_file_leaves_the_open_models(visit: Callable[..., Any], wrong: str) -> None:
    """The box goes when the visitor closes it or goes on, and what stood below comes back."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    for panel, section, file, kept in (
        ("writing", "#drawing", "scorer.onnx", "decoder.onnx"),
        ("reading", "#looking", wrong, "classifier.onnx"),
    ):
        before = page.text(f"{section} .status")
        drop(page, file)
        assert f"{file} was not opened; {kept} stays." in refused(page, panel)
        assert page.text(f"{section} .status") == before != ""
        assert page.page.locator(f"{section} .stage").is_visible()
        page.page.locator(f"{section} .problem").get_by_text("Close", exact=True).click()
        assert not page.page.locator(f"{section} .problem").is_visible()
        assert page.get(f"document.activeElement.matches('{section} [data-action=open-model]')")
        assert page.page.locator(f"{section} [data-action=open-model]").is_visible()
    actions = {
        "writing": ("[data-action=next-seed]", ".sheet button:nth-child(1) >> nth=3"),
        "reading": ("[data-action=clear]", "[data-action=puzzle]", ".stage canvas"),
    }
    for panel, section, file in (("writing", "#drawing", "scorer.onnx"), ("reading", "#looking", wrong)):
        for control in actions[panel]:
            drop(page, file)
            refused(page, panel)
            page.page.locator(f"{section} {control}").click()
            page.wait(f"draw.{panel}.problem.hidden")
    drop(page, wrong)
    refused(page, "reading")
    page.get("void draw.reading.readFile(new File(['no picture'], 'x.png'))")
    assert page.get("draw.reading.problem.hidden")
    drop(page, wrong)
    refused(page, "reading")
    drop(page, "classifier-colour.onnx")
    page.wait("draw.reading.name === 'classifier-colour.onnx' && draw.reading.problem.hidden")


def test_a_wrong_file_stops_none_that_is_on_its_way(visit: Callable[..., Any]) -> None:
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.wait_read()
    held = hold(page, "**/models/decoder-colour.onnx")
    page.get("void draw.writing.openModel('models/decoder-colour.onnx')")
    drop(page, "scorer.onnx")
    assert "scorer.onnx was not opened; models/decoder-colour.onnx stays." in refused(page, "writing")
    assert page.text("#drawing .status") == "Loading models/decoder-colour.onnx …"
    let_go(page, held)
    page.wait("draw.writing.name === 'models/decoder-colour.onnx'")
    page.wait_drawn()
    assert page.text("#drawing .status").startswith("Seed 0, picture 0")
    assert page.page.locator("#drawing .problem").is_visible()  # until it has been read


def test_the_last_of_several_stays(visit: Callable[..., Any]) -> None:
    """Whichever comes first."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    held = hold(page, "**/models/decoder-lean.onnx")
    page.get("void draw.writing.openModel('models/decoder-lean.onnx')")
    drop(page, "decoder-colour.onnx")
    page.wait("draw.writing.name === 'decoder-colour.onnx'")
    let_go(page, held)
    page.wait("draw.writing.loading.size === 0")
    page.wait_drawn()
    assert page.get("draw.writing.name") == "decoder-colour.onnx"
    assert page.text("#drawing .status").startswith("Seed 0, picture 0")


def test_a_visitor_is_quicker_than_the_page(visit: Callable[..., Any]) -> None:
    """A file that is opened before models.json has come stays; the other half is the page's own."""
    page = visit(reduced_motion="reduce")
    held = hold(page, "**/models.json")
    page.page.goto(page.site.origin, wait_until="commit")
    page.wait("window.draw?.writing")
    page.get(
        "void draw.reading.readFile(new File([], 'early.png'))"
    )  # a picture before there is a model to read it
    assert page.text("#looking .status") == "early.png was not read: no model is open yet."
    drop(page, "decoder-colour.onnx")
    page.wait("draw.writing.name === 'decoder-colour.onnx'")
    let_go(page, held)
    page.wait_drawn()
    page.wait_read()
    assert page.get("[draw.writing.name, draw.reading.name]") == ["decoder-colour.onnx", "classifier.onnx"]
    assert not any(url.endswith("/decoder.onnx") for url in page.requests)
    assert not page.page.locator(".problem >> visible=true").count()


def test_both_halves_begin_at_once(visit: Callable[..., Any]) -> None:
    """The slower of them holds the other up no longer; the first puzzle waits for both."""
    for slow, quick in (("decoder", "reading"), ("classifier", "writing")):
        page = visit(reduced_motion="reduce")
        held = hold(page, f"**/{slow}.onnx")
        page.page.goto(page.site.origin, wait_until="commit")
        page.wait(f"window.draw?.{quick}.root.dataset.state === 'ready'")
        let_go(page, held)
        page.wait_drawn()
        page.wait_read()
        assert page.text("#looking .status").startswith("Puzzle 0.")


def test_a_panel_that_cannot_be_laid_out(visit: Callable[..., Any]) -> None:
    """Whatever is wrong with a model that opens: no half of a panel that calls itself ready."""
    page = visit(reduced_motion="reduce").open()
    page.wait_drawn()
    page.get("void (draw.writing.use = async () => { throw new Error('it does not fit'); })")
    drop(page, "decoder-colour.onnx")
    page.wait("draw.writing.root.dataset.state === 'error'")
    assert "it does not fit" in page.text("#drawing .problem")
    assert page.get("draw.writing.model === null")
    page.get("delete draw.writing.use")
    drop(page, "decoder-colour.onnx")
    page.wait_drawn()


@pytest.mark.parametrize("name", ["run#3.onnx", "what?.onnx", "mnist:best.onnx", "100%25 it's.onnx"])
def test_names_that_are_no_addresses(visit: Callable[..., Any], site: Any, fake: Path, name: str) -> None:
    """As build.py quotes them in models.json; shown as they are, and for a shell in one word."""
    from urllib.parse import quote

    shutil.copyfile(fake / "decoder.onnx", site.folder / "models" / name)
    page = visit(reduced_motion="reduce")
    body = f'{{"decoder": "models/{quote(name)}", "classifier": "classifier.onnx"}}'
    page.page.route("**/models.json", lambda route: route.fulfill(body=body))
    for address in ("", f"?decoder=models/{quote(name)}"):
        page.open(address)
        page.wait_drawn()
        assert page.get("draw.writing.name") == f"models/{name}"
        page.page.locator("#drawing summary").click()
        word = name if name in ("mnist:best.onnx",) else "'" + name.replace("'", "'\\''") + "'"
        assert f"--onnx {word} --seed" in page.text(".command")
