"""The JavaScript package as a stranger has it: from ``npm pack``, in a folder of its own, against Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler, Scorer
from draw_onnx.runtime.check_line import CheckLine
from draw_onnx.runtime.pictures.reading import read_picture

pytestmark = pytest.mark.examples

TOLERANCE = 1e-5


def same(got: list[float] | None, expected: np.ndarray | None, tolerance: float = TOLERANCE) -> None:
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        np.testing.assert_allclose(np.reshape(got, expected.shape), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "name", ["decoder", "decoder-lean", "decoder-colour", "decoder-no-attention-colour", "decoder-batch4"]
)
def test_sampler(run, fake: Path, name: str) -> None:
    path = fake / f"{name}.onnx"
    code = """
        const sampler = await draw.Sampler.open(given);
        const got = await sampler.sample(70, { seed: 2n ** 64n - 3n, start: 2n ** 63n });
        const again = await sampler.sampleNoise(got.noise, { steps: false });
        const line = sampler.checkLine(got);
        await sampler.release();
        return { ...got, line, again, fixed: sampler.fixedBatch };"""
    got = run(code, str(path))
    sampler = Sampler(path, "cpu")
    expected = sampler.sample(70, 2**64 - 3, 2**63)
    same(got["images"], expected.images)
    same(got["noise"], expected.noise)
    same(got["canvases"], expected.canvases)
    same(got["writeAttention"], expected.write_attention, 1e-4)
    assert (got["seed"], got["start"], got["count"]) == (str(2**64 - 3), str(2**63), 70)
    assert got["again"]["canvases"] is None
    same(got["again"]["images"], expected.images)
    line = CheckLine()
    line.add(expected)
    assert got["line"].split()[:2] == str(line).split()[:2]
    assert got["fixed"] == (4 if name.endswith("batch4") else None)


def test_numbers_are_seeds_where_they_are_exact(run, fake: Path) -> None:
    code = """
        const sampler = await draw.Sampler.open(given);
        const first = await sampler.sample(1, { seed: 7 });
        const refused = [];
        for (const options of [{ seed: 2 ** 53 }, { seed: -1 }, { seed: "7" }, { start: 2n ** 64n }, { seed: 1.5 }]) {
            try { await sampler.sample(1, options); } catch (error) { refused.push(error.name); }
        }
        for (const count of [0, 1.5, "2", -1]) {
            try { await sampler.sample(count); } catch (error) { refused.push(error.name); }
        }
        for (const temperature of [-0.1, 11, NaN, "warm", "1", null, []]) {
            try { await sampler.sample(1, { temperature }); } catch (error) { refused.push(error.name); }
        }
        return [first.images, refused];"""
    images, refused = run(code, str(fake / "decoder.onnx"))
    same(images, Sampler(fake / "decoder.onnx", "cpu").sample(1, 7).images)
    assert refused == ["RangeError"] * 16


def test_temperature(run, fake: Path) -> None:
    code = """
        const sampler = await draw.Sampler.open(given);
        const got = await sampler.sample(9, { seed: 7, temperature: 0.7 });
        return { ...got, line: sampler.checkLine(got) };"""
    got = run(code, str(fake / "decoder.onnx"))
    expected = Sampler(fake / "decoder.onnx", "cpu").sample(9, 7, temperature=0.7)
    same(got["noise"], expected.noise)
    same(got["images"], expected.images)
    assert got["temperature"] == 0.7
    line = CheckLine()
    line.add(expected)
    assert got["line"].split()[1] == str(line).split()[1]


@pytest.mark.parametrize("name", ["classifier", "classifier-lean", "classifier-colour", "classifier-batch4"])
def test_classifier(run, fake: Path, rng: np.random.Generator, name: str) -> None:
    path = fake / f"{name}.onnx"
    classifier = Classifier(path, "cpu")
    images = rng.random((37, *classifier.metadata.image_shape), np.float32)
    code = """
        const classifier = await draw.Classifier.open(given[0]);
        return { ...(await classifier.classify(given[1])), labels: classifier.info.labels };"""
    got = run(code, [str(path), images.ravel().tolist()])
    expected = classifier(images)
    same(got["probabilities"], expected.probabilities)
    same(got["logits"], expected.logits, 1e-4)
    same(got["glimpses"], expected.glimpses, 1e-4)
    same(got["readAttention"], expected.read_attention, 1e-4)
    assert got["answers"] == expected.answers
    assert got["labels"] == list(expected.labels)


@pytest.mark.parametrize("name", ["scorer", "scorer-lean", "scorer-colour", "scorer-no-attention"])
def test_scorer(run, fake: Path, rng: np.random.Generator, name: str) -> None:
    path = fake / f"{name}.onnx"
    scorer = Scorer(path, "cpu")
    images = rng.random((35, *scorer.metadata.image_shape), np.float32)
    code = """
        const scorer = await draw.Scorer.open(given[0]);
        return { ...(await scorer.score(given[1], { seed: 5n, start: 9n })), info: scorer.info };"""
    got = run(code, [str(path), images.ravel().tolist()])
    expected = scorer(images, 5, 9)
    np.testing.assert_allclose(got["bound"], expected.bound, rtol=1e-5, atol=1e-3)
    same(got["reconstruction"], expected.reconstruction)
    same(got["canvases"], expected.canvases)
    same(got["readAttention"], expected.read_attention, 1e-4)
    same(got["writeAttention"], expected.write_attention, 1e-4)
    assert got["info"]["pictureFit"] == scorer.metadata.picture_fit
    assert got["info"]["binaryPictures"] == bool(scorer.metadata.binary)


@pytest.mark.parametrize("picture_fit", ["pad", "cover"])
def test_preparation(run, tmp_path: Path, rng: np.random.Generator, picture_fit: str) -> None:
    """RGBA bytes of any size as the Python runtime reads the same file."""
    cases = []
    for channels in (1, 3):
        for width, height, mode, frame in (
            (9, 12, "L", (20, 24)),
            (61, 75, "L", (20, 24)),
            (45, 80, "L", (32, 32)),  # a telephone's: where it is rounded shows
            (212, 333, "RGB", (20, 24)),
            (333, 90, "RGB", (20, 24)),
            (3, 2, "RGB", (20, 24)),
            (1, 130, "L", (20, 24)),  # too narrow to be averaged first
            (21, 17, "RGBA", (20, 24)),
            (333, 290, "RGBA", (20, 24)),
        ):
            planes = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
            picture = Image.fromarray(rng.integers(0, 256, (height, width, *planes), np.uint8))
            picture.save(tmp_path / "p.png")
            for invert in (False, True):
                shape = {"channels": channels, "height": frame[0], "width": frame[1]}
                shape |= {"pictureFit": picture_fit}
                rgba = np.asarray(picture.convert("RGBA")).ravel().tolist()
                expected = read_picture(tmp_path / "p.png", (channels, *frame), invert, picture_fit)
                cases.append(([rgba, width, height, shape, invert], expected))
    code = """return given.map(([rgba, width, height, shape, invert]) =>
        draw.prepare(Uint8Array.from(rgba), width, height, shape, invert ? "dark" : "light").image);"""
    levels = """return given.map(([rgba, width, height, shape, invert]) => {
        const plane = width * height;
        const at = (i) => rgba[4 * (i % plane) + Math.floor(i / plane)] / 255;
        const values = Float32Array.from({ length: 3 * plane }, (_, i) => at(i));
        const picture = { channels: 3, height, width, levels: values, alpha: null };
        return draw.prepareLevels(picture, shape, 0, invert ? "dark" : "light").image;
    });"""
    if picture_fit == "cover":
        covered = [case for case, _ in cases if set(case[0][3::4]) == {255}]
        assert run(levels, covered) == run(code, covered)
    for got, (_, expected) in zip(run(code, [case for case, _ in cases]), cases, strict=True):
        same(got, expected, 1e-6)


def test_levels_back_to_bytes(run) -> None:
    code = "return draw.toRGBA(Float32Array.from([0, 0.5, 1, 2, -1, 0.1]), { channels: 3, height: 1, width: 2 });"
    assert run(code) == [0, 255, 0, 255, 128, 255, 26, 255]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("draw.Sampler.open(given + '/absent.onnx')", "absent.onnx: ENOENT"),
        ("draw.Sampler.open(given + '/classifier.onnx')", "classifier.onnx: this is a draw.classifier, and"),
        ("draw.Sampler.open(new Uint8Array())", "the file is empty"),
        (
            "draw.Scorer.open(new Blob(['text']), { name: 'text' })",
            "text: not an ONNX file, or it is damaged",
        ),
        (
            "draw.Sampler.open(given + '/decoder.onnx', { ort: Promise.reject(new Error('no runtime')) })",
            "decoder.onnx: no runtime",
        ),
        (
            "(await draw.Classifier.open(given + '/classifier.onnx')).classify([1, 2])",
            "pictures must be [n, 1, 20, 24] numbers, not 2 of them",
        ),
        (
            "(await draw.Classifier.open(given + '/classifier.onnx')).classify(Array(480).fill(255))",
            "pictures must be numbers from 0 to 1",
        ),
        (
            "(await draw.Classifier.open(given + '/classifier.onnx')).classify(Array(480).fill(NaN))",
            "pictures must be numbers from 0 to 1",
        ),
        (
            "(await draw.Sampler.open(given + '/decoder.onnx')).sampleNoise([1])",
            "noise must be [n, 3, 2] numbers",
        ),
        (
            "draw.prepare(new Uint8Array(4), 1, 1, { channels: 1, height: 1, width: 1 }, 'Dark')",
            "ink is auto, light or dark, not Dark",
        ),
        (
            "draw.prepareLevels({ channels: 1, height: 2, width: 2, levels: new Float32Array(3), alpha: null }, {}, 0)",
            "3 levels are no 1 channels of 2 × 2 pixels",
        ),
        ("String(new draw.CheckLine(0n, 3, 2))", "no pictures have been added"),
        (
            "draw.prepare(new Uint8Array(7), 1, 1, { channels: 1, height: 1, width: 1 })",
            "no RGBA picture of 1",
        ),
        (
            "draw.prepare(new Uint8Array(0), 0, 0, { channels: 1, height: 1, width: 1 })",
            "no RGBA picture of 0",
        ),
        (
            "draw.prepare(new Uint8Array(4), 1, 1, { channels: 2, height: 1, width: 1 })",
            "no pictures of 2 channels",
        ),
        (
            "draw.prepareLevels({ channels: 1, height: 1, width: 1, levels: [NaN], alpha: null }, {}, 0)",
            "levels hold NaN or infinity",
        ),
        (
            "draw.prepareLevels({ channels: 2, height: 1, width: 1, levels: [0, 1], alpha: null }, {}, 0)",
            "no pictures of 2 channels",
        ),
        (
            "draw.prepareLevels({ channels: 1, height: 1, width: 1, levels: [0], alpha: [1, 1] }, {}, 0)",
            "2 alphas are no plane of 1 × 1 pixels",
        ),
        (
            "(await draw.Classifier.open(given + '/classifier.onnx')).classify([])",
            "pictures must be [n, 1, 20, 24] numbers, not 0 of them",
        ),
        (
            "(await draw.Classifier.open(given + '/classifier.onnx')).classify(Array(480).fill(-0.1))",
            "pictures must be numbers from 0 to 1",
        ),
        (
            "(await draw.Sampler.open(given + '/decoder.onnx')).sampleNoise([])",
            "noise must be [n, 3, 2] numbers, not 0 of them",
        ),
        (
            "(await draw.Sampler.open(given + '/decoder.onnx')).sampleNoise(Array(6).fill(Infinity))",
            "noise holds NaN or infinity",
        ),
        (
            "(await draw.Sampler.open(given + '/decoder.onnx')).sample(2, { start: 2n ** 64n - 1n })",
            "pictures are numbered up to 2^64 - 1",
        ),
        *(
            (f"draw.{name}(readFileSync(given + '/decoder.onnx').buffer)", "are a Uint8Array")
            for name in ("modelInfo", "readMetadata")
        ),
        ("draw.noise(0n, 2n ** 64n, 1, 3, 2)", "the number of the first picture must be a whole number"),
    ],
)
def test_mistakes(run, fake: Path, code: str, words: str) -> None:
    program = f"try {{ await ({code}); return 'no error'; }} catch (error) {{ return error.message; }}"
    message = run(program, str(fake))
    assert words in message
    assert "\n" not in message


def test_released_models_and_buffers_used_again(run, fake: Path) -> None:
    """A model is released once, and says so; a caller's buffer may be another picture before the first is read."""
    code = """
        const model = await draw.Classifier.open(given);
        const picture = Float32Array.from({ length: 480 }, (_, i) => (7 * i) % 256 / 255), buffer = picture.slice();
        const early = model.classify(buffer);
        buffer.fill(0);
        const expected = await model.classify(picture), got = await early;
        await Promise.all([model.release(), model.release()]);
        const after = await model.classify(picture).catch((error) => error.message);
        return [Array.from(got.logits), Array.from(expected.logits), after];"""
    got, expected, after = run(code, str(fake / "classifier.onnx"))
    assert got == expected
    assert after == f"{fake / 'classifier.onnx'}: it has been released"


def test_both_entries_export_what_is_declared(packed: Path, run) -> None:
    """Node lacks readPicture alone, which needs a browser's decoder."""
    text = (packed / "node_modules" / "draw-onnx" / "index.d.ts").read_text()
    declared = set(re.findall(r"^export (?:function|class) (\w+)", text, re.MULTILINE))
    assert set(run("return Object.keys(draw);")) == declared - {"readPicture"}
    assert set(run('return Object.keys(await import("./node_modules/draw-onnx/web.js"));')) == declared | {
        "download"
    }


def test_both_entries_work_beside_each_other(run, fake: Path) -> None:
    """The one for Node goes on reading paths when the one for pages, which fetches addresses, is loaded later."""
    code = """
        const web = await import("./node_modules/draw-onnx/web.js");
        const fetched = await web.Sampler.open(given).then(() => "opened", (error) => error.message);
        return [(await draw.Sampler.open(given)).info.dataset, fetched];"""
    dataset, fetched = run(code, str(fake / "decoder.onnx"))
    assert (dataset != "", fetched) == (True, f"{fake / 'decoder.onnx'}: it could not be fetched")


def test_ink_is_found_as_in_python(run, fake: Path, tmp_path: Path) -> None:
    """A model of figures of a known size: dark ink on paper becomes what draw-classify makes of it."""
    path = fake / "classifier-figures.onnx"
    classifier = Classifier(path, "cpu")
    levels = np.full((200, 150), 235, np.uint8)
    levels[40:160, 60:75] = levels[40:55, 60:110] = levels[95:110, 60:100] = 40
    paper = np.dstack([levels, levels, levels, np.full_like(levels, 255)])
    # Large ones are averaged first; what a fully transparent pixel's colour is must not count.
    drawn = np.kron(paper, np.ones((7, 7, 1), np.uint8))
    drawn[..., 3] = np.where(drawn[..., 0] < 100, 255, 0)
    drawn[..., :3] = np.where(drawn[..., 3:] > 0, [250, 60, 20], [0, 0, 255])
    code = """
        const classifier = await draw.Classifier.open(given[0]);
        return given[1].map(([file, width, height]) =>
            draw.prepare(new Uint8Array(readFileSync(file)), width, height, classifier.info));"""
    files = []
    for name, pixels in (("paper", paper), ("drawn", drawn)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.rgba").write_bytes(pixels.tobytes())
        files.append([str(tmp_path / f"{name}.rgba"), pixels.shape[1], pixels.shape[0]])
    for name, got in zip(("paper", "drawn"), run(code, [str(path), files]), strict=True):
        expected = classifier.prepare(tmp_path / f"{name}.png")
        same(got["image"], expected.image)
        assert (got["ink"], got["steps"]) == (expected.ink, list(expected.steps))
