"""examples/js, which Node and the web page share: the golden noise, the hash, the reading of metadata."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from draw_onnx.runtime.check_line import fnv1a64
from draw_onnx.runtime.noise import raw

pytestmark = pytest.mark.examples

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def javascript(request: pytest.FixtureRequest):
    """(code, input) -> what the code prints as JSON; the modules' exports are at hand. Needs no packages."""
    from shutil import which

    node = which("node")
    if node is None:
        import os

        if "node" in os.environ.get("DRAW_REQUIRE", "").split(","):
            pytest.fail("node is not installed")
        pytest.skip("node is not installed")

    def run(code: str, given: object = None):
        program = (
            f'import * as noise from "{(EXAMPLES / "js" / "noise.js").as_uri()}";'
            f'import * as model from "{(EXAMPLES / "js" / "model_file.js").as_uri()}";'
            'import { readFileSync } from "node:fs";'
            'const given = JSON.parse(readFileSync(0, "utf8"));'
            f"console.log(JSON.stringify((() => {{ {code} }})()));"
        )
        done = subprocess.run(
            [node, "--input-type=module", "-e", program],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


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


def test_a_number_is_no_seed(javascript) -> None:
    """Numbers lose digits above 2^53, so they are refused rather than rounded."""
    code = """return [7, -1n, 2n ** 64n, "7"].map((seed) => {
        try { noise.noise(seed, 0n, 1, 2, 2); return "accepted"; } catch (error) { return error.name; }
    });"""
    assert javascript(code) == ["RangeError"] * 4


def test_metadata_is_what_onnx_reads(javascript, fake: Path) -> None:
    paths = sorted(fake.glob("*.onnx"))
    code = "return given.map((path) => model.readMetadata(readFileSync(path)));"
    for path, got in zip(paths, javascript(code, [str(path) for path in paths]), strict=True):
        assert got == {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_metadata_of_damaged_files(javascript, fake: Path) -> None:
    """Every cut and every changed byte: metadata or one plain error, and it comes to an end."""
    code = """
        const whole = readFileSync(given);
        const outcomes = new Set();
        const attempt = (bytes) => {
            try { model.modelInfo(bytes); outcomes.add("read"); }
            catch (error) { outcomes.add(error.constructor.name); if (/\\n/.test(error.message)) outcomes.add("lines"); }
        };
        for (let end = 0; end < whole.length; end++) attempt(whole.subarray(0, end));
        for (let at = 0; at < whole.length; at++) {
            for (const byte of [0, 127, 128, 255]) { const bytes = new Uint8Array(whole); bytes[at] = byte; attempt(bytes); }
        }
        return [...outcomes].sort();"""
    assert javascript(code, str(fake / "decoder.onnx")) == ["Error", "read"]


def test_the_version_is_pinned_and_no_lock_file_names_a_host() -> None:
    package = json.loads((EXAMPLES / "node" / "package.json").read_text())
    assert package["dependencies"].pop("draw-onnx") == "file:../js"
    assert all(version[0].isdigit() for version in package["dependencies"].values())
    assert not list((EXAMPLES / "node").glob("package-lock.json"))
