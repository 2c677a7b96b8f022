"""examples/js, which Node and the web page share: the golden noise, the hash, the preparing of pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from draw_onnx.runtime.check_line import fnv1a64
from draw_onnx.runtime.noise import raw
from draw_onnx.runtime.pictures.prepare import prepare

pytestmark = pytest.mark.examples

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_golden_integers(javascript, golden: Path) -> None:
    records = json.loads((golden / "noise.json").read_text())["splitmix64"]
    code = """return given.map((r) =>
        noise.rawIntegers(BigInt(r.seed), BigInt(r.m), 1)[0].toString(16).padStart(16, "0"));"""
    assert javascript(code, records) == [record["raw"] for record in records]


def test_golden_noise(javascript, golden: Path) -> None:
    records = json.loads((golden / "noise.json").read_text())["noise"]
    code = """return given.map((r) => {
        const integers = noise.pictureIntegers(BigInt(r.seed), BigInt(r.image), 1, r.T, r.Z);
        const values = noise.noise(BigInt(r.seed), BigInt(r.image), 1, r.T, r.Z);
        return r.elements.map((e) => [integers[2 * e.j].toString(16), integers[2 * e.j + 1].toString(16), values[e.j]]);
    });"""
    for record, elements in zip(records, javascript(code, records), strict=True):
        for expected, (first, second, value) in zip(record["elements"], elements, strict=True):
            assert int(first, 16) == int(expected["raw_first"], 16)
            assert int(second, 16) == int(expected["raw_second"], 16)
            np.testing.assert_array_max_ulp(
                np.float32(value), np.array(int(expected["float32_bits"], 16), np.uint32).view(np.float32), 1
            )


def test_a_long_stretch_of_integers(javascript) -> None:
    """Carries between the 32-bit halves, over a million integers: compared by their hash."""
    seed, first, count = 2**64 - 3, 2**64 - 1000, 1_000_000
    m = np.arange(count, dtype=np.uint64) + np.uint64(first)
    code = "return noise.fnv1a64(noise.rawIntegers(BigInt(given[0]), BigInt(given[1]), given[2]));"
    assert javascript(code, [str(seed), str(first), count]) == f"{fnv1a64(raw(seed, m)):016x}"


def test_lower_halves_that_add_up_to_all_ones(javascript) -> None:
    """The largest sum of the halves without a carry."""
    seed = 0xFFFFFFFF - 0x7F4A7C15
    code = "return noise.rawIntegers(BigInt(given), 0n, 1)[0].toString();"
    assert javascript(code, seed) == str(int(raw(seed, np.zeros(1, np.uint64))[0]))


def test_a_number_is_no_seed(javascript) -> None:
    """Numbers lose digits above 2^53, so they are refused rather than rounded."""
    code = """return [7, -1n, 2n ** 64n, "7"].map((seed) => {
        try { noise.noise(seed, 0n, 1, 2, 2); return "accepted"; } catch (error) { return error.name; }
    });"""
    assert javascript(code) == ["RangeError"] * 4


def test_the_version_is_pinned_and_no_lock_file_names_a_host() -> None:
    package = json.loads((EXAMPLES / "node" / "package.json").read_text())
    assert package["dependencies"].pop("draw-onnx") == "file:../js"
    assert all(version[0].isdigit() for version in package["dependencies"].values())
    assert not list((EXAMPLES / "node").glob("package-lock.json"))


def own_pictures() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Levels [1 or 3, h, w] and alpha, of every kind that the rule tells apart."""
    rng = np.random.default_rng(8)

    def figure(side: int, text: str, size: tuple[int, int]) -> np.ndarray:
        picture = Image.new("L", size)
        font = ImageFont.load_default(side)
        ImageDraw.Draw(picture).text((size[0] / 2, size[1] / 2), text, 255, font, anchor="mm")
        return np.asarray(picture, float) / 255

    for text, size in (("4", (60, 90)), ("8", (230, 170)), ("1", (330, 260))):
        ink = figure(round(0.8 * min(size)), text, size)
        y, x = np.mgrid[0 : size[1], 0 : size[0]] / np.array(size[::-1])[:, None, None]
        grain = rng.normal(0, 4, ink.shape)
        colours = (0.9 * ink, 0.3 * ink, 0.1 * ink)
        for levels in (
            255 * ink,
            240 - 200 * ink,
            (120 + 120 * x) * (1 - 0.8 * ink) + grain,
            30 + 40 * y + 180 * ink + grain,
            245 - 25 * ink + grain / 2,
            np.stack([235 - 230 * colour for colour in colours]),
            np.stack([200 - 150 * ink, 60 + 50 * ink, 30 + 60 * ink]),
        ):
            yield levels, None
        yield np.zeros(ink.shape), ink
        yield 240 - 200 * ink, np.maximum(ink, rng.random(ink.shape) > 0.02)
        yield np.full(ink.shape, 200.0), None
        yield rng.integers(0, 256, ink.shape), None
    scene = figure(28, "5", (100, 100))
    for k in range(8):
        scene[11 * k : 11 * k + 8, (37 * k) % 92 : (37 * k) % 92 + 8] += figure(28, str(k), (28, 28))[
            9:17, 9:17
        ]
    large = np.asarray(
        Image.fromarray(np.uint8(255 * scene.clip(0, 1))).resize((250, 250), Image.Resampling.BILINEAR)
    )
    yield 255 * scene.clip(0, 1), None
    yield large, None
    yield 250 - 0.9 * large, None
    yield np.kron(figure(28, "2", (28, 28)), np.ones((1, 1))) * 255, None
    for size in ((1, 1), (1, 130), (7, 3), (1, 900), (5, 200)):
        yield rng.integers(0, 256, size), None


def edge_pictures() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The same beside the rule's edges, one a decision."""
    rng = np.random.default_rng(9)
    dotted = np.zeros((200, 200))  # a part of 1.5 % of the core is the figure's
    dotted[60:120, 60:100] = dotted[60:66, 110:116] = 1
    yield 240 - 200 * dotted, None
    bars = np.zeros((100, 100))  # four pieces and a part beside them: a scene
    bars[20:60, 40:50] = bars[20:50, 30:36] = bars[20:50, 54:60] = bars[64:72, 40:50] = bars[88:96, 88:96] = 1
    yield 240 - 200 * bars, None
    cross = np.zeros((64, 90))  # the least side that is smoothed
    cross[12:52, 40:50] = cross[28:36, 25:65] = 1
    yield 240 - 200 * cross + rng.normal(0, 6, cross.shape), None
    yield 240 - 200 * cross, np.where(cross > 0, 128.2 / 255, 1)  # alpha that counts as seen
    yield 240 - 40 * cross, np.full(cross.shape, 200.2 / 255)  # all is seen, and spans few levels
    freckled = np.where(rng.random(cross.shape) < 0.1, 205, 240)  # ground: darker where there is little of it
    yield np.where(cross > 0, 20, freckled), None
    yield 240 - 70 * cross + rng.normal(0, 26, cross.shape), None  # three times the noise above half the peak
    block = np.zeros((26, 28))  # light on black, and most of it
    block[3:23, 3:25] = 255
    yield block, None
    blocks = np.zeros((100, 130))  # mostly ink, and two figures: one thing is said
    blocks[5:95, 5:65] = blocks[5:95, 90:120] = 1
    yield 240 - 200 * blocks, None
    strokes = np.zeros((100, 100))  # a scene whose core is too large to go in whole
    strokes[20:70, 20:30] = strokes[20:60, 60:70] = 1
    yield 240 - 200 * strokes, None
    small = np.zeros((24, 24))  # a model's input as it is, unless its ink is said to be dark
    small[6:18, 9:15] = 255
    yield small, None


def test_pictures_are_prepared_as_in_python(javascript) -> None:
    """Every decision and every number, whatever the ink is said to be."""

    def text(values: np.ndarray | None) -> str | None:
        return None if values is None else base64.b64encode(np.float32(values).tobytes()).decode()

    cases, given = [], []
    for levels, alpha in (*own_pictures(), *edge_pictures()):
        planes = levels if levels.ndim == 3 else levels[None]
        planes = np.clip(planes, 0, 255).astype(np.uint8).astype(np.float32) / np.float32(255)
        share = None if alpha is None else (255 * alpha).astype(np.uint8).astype(np.float32) / np.float32(255)
        channels, height, width = planes.shape
        for ink, shape, size in (
            ("auto", (1, 100, 100), 20),
            ("dark", (3, 50, 70), 12),
            ("light", (1, 100, 100), None),
        ):
            cases.append(prepare(planes, share, shape, size, ink))
            picture = {"channels": channels, "height": height, "width": width}
            picture |= {"levels": text(planes), "alpha": text(share)}
            given.append(
                [picture, dict(zip(("channels", "height", "width"), shape, strict=True)), size or 0, ink]
            )
    code = """
        const floats = (text) => text && new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
        return given.map(([picture, ...rest]) => {
            const { image, ...said } = pictures.prepareLevels(
                { ...picture, levels: floats(picture.levels), alpha: floats(picture.alpha) }, ...rest);
            return { ...said, image: Buffer.from(image.buffer).toString("base64") };
        });"""
    kinds = set()
    for got, expected in zip(javascript(code, given), cases, strict=True):
        assert (got["ink"], tuple(got["steps"]), got["warning"]) == (
            expected.ink,
            expected.steps,
            expected.warning,
        )
        image = np.frombuffer(base64.b64decode(got["image"]), np.float32).reshape(expected.image.shape)
        np.testing.assert_allclose(image, expected.image, rtol=0, atol=1e-5)
        kinds |= {step.split()[0] for step in expected.steps} | {expected.warning[:5]}
    assert kinds >= {
        "light",
        "dark",
        "ink",
        "levelled",
        "cropped",
        "scaled",
        "thickened",
        "shrunk",
        "blank",
        "mostl",
    }


def test_a_refused_picture_is_given_back(javascript) -> None:
    """Decoded it takes hundreds of megabytes."""
    code = """
        const { readPicture } = await import(given);
        let closed = 0;
        globalThis.createImageBitmap = async () => ({ width: 9000, height: 8000, close: () => closed++ });
        const said = await readPicture({ name: "x.png" }, {}).catch((error) => error.message);
        return [said, closed];"""
    module = (EXAMPLES / "js" / "image_file.js").as_uri()
    assert javascript(code, module) == ["x.png has more than the 64 megapixels that are read.", 1]
