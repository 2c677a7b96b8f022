"""Options of the JavaScript package, what it leaves alone, and types that say what its objects have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Scorer

pytestmark = pytest.mark.examples

OPENED = """
    const [sampler, classifier, scorer] = await Promise.all([["Sampler", "decoder"], ["Classifier", "classifier"],
        ["Scorer", "scorer"]].map(([kind, name]) => draw[kind].open(`${given}/${name}.onnx`)));
    const scored = Float32Array.from({ length: scorer.pixels }, (_, i) => i % 2);
"""


def test_steps_may_be_left_out(run, fake: Path) -> None:
    code = """
        const kept = [await sampler.sample(1), await classifier.classify(new Float32Array(480)), await scorer.score(scored)];
        const left = [await sampler.sample(1, { steps: false }), await scorer.score(scored, { steps: false }),
            await classifier.classify(new Float32Array(480), { steps: false })];
        const empty = (all) => all.flatMap((got) => Object.keys(got).filter((key) => got[key] === null)).sort();
        return [empty(kept), empty(left)];"""
    kept, left = run(OPENED + code, str(fake))
    assert kept == []
    assert left == sorted(["canvases", "writeAttention"] * 2 + ["readAttention"] * 2 + ["glimpses"])


def test_a_score_s_noise_is_seed_0_s_unless_given(run, fake: Path) -> None:
    code = "const { bound } = await scorer.score(scored); return [bound, scored];"
    bound, pictures = run(OPENED + code, str(fake))
    scorer = Scorer(fake / "scorer.onnx", "cpu")
    images = np.reshape(np.float32(pictures), (1, *scorer.metadata.image_shape))
    np.testing.assert_allclose(bound, scorer(images, 0, 0).bound, rtol=1e-5, atol=1e-3)


def test_temperature_is_a_float32_product(run, fake: Path) -> None:
    """docs/embedding.md: float32(temperature) times the noise, to the bit."""
    code = """
        const plain = draw.noise(7n, 0n, 20, 3, 2), scale = Math.fround(0.7);
        const { noise } = await sampler.sample(20, { seed: 7, temperature: 0.7 });
        return noise.every((value, i) => value === Math.fround(scale * plain[i]));"""
    assert run(OPENED + code, str(fake)) is True


def test_buffers_are_the_caller_s(run, fake: Path) -> None:
    """Used again before a run has begun, and between two batches of a check line."""
    code = """
        const values = Float32Array.from({ length: 6 }, (_, i) => i / 7), noise = values.slice();
        const drawn = sampler.sampleNoise(noise), pictures = scored.slice(), rated = scorer.score(pictures);
        noise.fill(0);
        pictures.fill(0);
        const expected = [(await sampler.sampleNoise(values)).images, (await scorer.score(scored)).bound].map(String);
        const got = [(await drawn).images, (await rated).bound].map(String);
        const image = Float32Array.of(0.5, 0.25, 0.125, 1), line = new draw.CheckLine(0n, 1, 1);
        line.add(0n, 1, image);
        image.fill(0);
        line.add(1n, 1, image);
        return [got, expected, String(line).split(" ").slice(2)];"""
    got, expected, line = run(OPENED + code, str(fake))
    assert got == expected
    assert line == ["0.234375", "0.500000", "0.250000", "0.125000", "1.000000"]


def test_levels_beyond_black_and_white(run) -> None:
    code = """
        const image = { values: Float32Array.of(2, -1, 0.5), channels: 1, height: 1, width: 3 };
        return draw.fit(image, { channels: 1, height: 1, width: 4 });"""
    assert run(code) == [1, 0, 0.5, 0]


def test_large_levels_are_averaged_by_their_alpha(run) -> None:
    """Of more than 1024 pixels: twice the size, the same picture."""
    code = """
        const [w, h] = [520, 20], shape = { channels: 1, height: 30, width: 30 };
        const ink = (x, y) => (x > 240 && x < 260 && y > 3 && y < 16 ? 0.2 : 0.9), alpha = (x) => (x % 4) / 4 + 0.25;
        const picture = (k) => {
            const plane = (of) => Float32Array.from({ length: k * k * w * h },
                (_, i) => of(Math.floor((i % (k * w)) / k), Math.floor(i / (k * k * w))));
            return { channels: 1, height: k * h, width: k * w, levels: plane(ink), alpha: plane(alpha) };
        };
        return [1, 2].map((k) => draw.prepareLevels(picture(k), shape, 12, "dark"));"""
    small, large = run(code)
    assert small["steps"] == large["steps"] != []
    np.testing.assert_allclose(small["image"], large["image"], rtol=0, atol=1e-5)


def test_an_inverted_photograph_says_so(run) -> None:
    code = """
        const shape = { channels: 1, height: 1, width: 1, pictureFit: "cover" };
        return ["light", "dark"].map((ink) => draw.prepare(new Uint8Array(4).fill(255), 1, 1, shape, ink));"""
    plain, inverted = run(code)
    assert (plain["image"], plain["ink"], plain["steps"]) == ([1], "light", [])
    assert (inverted["image"], inverted["ink"], inverted["steps"]) == ([0], "dark", ["inverted"])


def test_a_variable_of_the_user_s_stays(packed: Path) -> None:
    """Who asks for telemetry has it."""
    code = 'import "draw-onnx"; console.log(process.env.ORT_DISABLE_TELEMETRY)'
    command = ["node", "--input-type=module", "-e", code]
    for said, kept in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        environment = {"PATH": "/usr/bin:/bin", **said}
        done = subprocess.run(command, cwd=packed, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == kept


TYPED = """
    const typed = (value) => value === null ? "null" : Array.isArray(value) ? "string[]"
        : value instanceof Float32Array ? "Float32Array<ArrayBuffer>" : typeof value;
    const members = (object) => Object.fromEntries(Object.keys(object).map((key) => [key, typed(object[key])]));
    const image = new Float32Array(classifier.pixels), samples = await sampler.sample(1, { steps: false });
    const objects = { Sampler: sampler, Classifier: classifier, Scorer: scorer, ModelInfo: classifier.info, Drawn: samples,
        Samples: await sampler.sampleNoise(samples.noise), Classification: await classifier.classify(image),
        Scores: await scorer.score(scored), Prepared: draw.prepare(new Uint8Array(4), 1, 1, classifier.info) };
    return Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, members(object)]));
"""


def test_declared_members_are_there(run, packed: Path, fake: Path) -> None:
    """Each object the package gives, beside its declaration: the same names, and values of the declared types."""
    lines = ['import type * as draw from "draw-onnx";']
    lines += ["type Drawn = Awaited<ReturnType<draw.Sampler['sample']>>;"]
    methods = '"release" | "pixels" | "sample" | "sampleNoise" | "checkLine" | "classify" | "score"'
    for name, members in run(OPENED + TYPED, str(fake)).items():
        declared = name if name == "Drawn" else f"draw.{name}"
        for key, kind in members.items():
            said = f"{declared}['{key}']"
            if kind == "string":  # it may be one of a few
                lines.append(f"const {name}_{key}: string = null! as {said};")
            elif kind != "object":  # those have declarations of their own
                lines.append(f"const {name}_{key}: {said} = null! as {kind};")
        keys = " | ".join(f'"{key}"' for key in members)
        lines.append(
            f"const {name}_all: Exclude<keyof {declared}, {methods}> extends {keys} ? true : false = true;"
        )
    (packed / "members.ts").write_text("\n".join(lines))
    command = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"]
    done = subprocess.run([*command, "members.ts"], cwd=packed, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
