"""The JavaScript package as ``npm pack`` makes it: what is in it, its README's program, its types."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import draw_onnx

pytestmark = pytest.mark.examples

JS = Path(__file__).resolve().parents[2] / "examples" / "js"


def test_what_is_packed(packed: Path) -> None:
    """Every module of the folder, the types, README and licence, and nothing else; the version is Python's."""
    here = packed / "node_modules" / "draw-onnx"
    names = {path.name for path in here.iterdir()}
    assert names == {path.name for path in JS.glob("*.js")} | {
        "index.d.ts",
        "package.json",
        "README.md",
        "LICENSE",
    }
    assert (here / "LICENSE").read_bytes() == (JS.parent.parent / "LICENSE").read_bytes()
    package = json.loads((here / "package.json").read_text())
    assert package["version"] == draw_onnx.__version__
    assert set(package["peerDependencies"]) == {"onnxruntime-node", "onnxruntime-web"}
    assert "dependencies" not in package


def test_without_a_runtime(packed: Path, fake: Path, tmp_path: Path) -> None:
    """onnxruntime-node is a peer: where it is missing, one line says what to install."""
    shutil.copytree(packed / "node_modules" / "draw-onnx", tmp_path / "node_modules" / "draw-onnx")
    program = 'import { Sampler } from "draw-onnx";\n'
    program += "await Sampler.open(process.argv[2]).catch((e) => console.log(e.message));"
    (tmp_path / "program.mjs").write_text(program)
    path = str(fake / "decoder.onnx")
    done = subprocess.run(["node", "program.mjs", path], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == (
        f"{path}: onnxruntime-node is not installed: npm install --ignore-scripts onnxruntime-node"
    )


@pytest.mark.parametrize("where", ["given", "worker"])
def test_telemetry_is_off(packed: Path, fake: Path, tmp_path: Path, where: str) -> None:
    """With a runtime of the caller's, and in a worker where the main thread has loaded the package: nothing is left."""
    opened = f"await Sampler.open({str(fake / 'decoder.onnx')!r}, {{ ort }}).then((s) => s.sample(1));\n"
    loaded = (
        'const { Sampler } = await import("draw-onnx"), ort = (await import("onnxruntime-node")).default;\n'
    )
    if where == "worker":
        (packed / "worker.mjs").write_text(loaded + opened)
        loaded = 'import "draw-onnx";\nimport { Worker } from "node:worker_threads";\n'
        opened = 'new Worker(new URL("worker.mjs", import.meta.url));\n'
    (packed / "program.mjs").write_text(loaded + opened)
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    # These two variables would switch it off without the package's doing.
    bare = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    done = subprocess.run(
        ["node", "program.mjs"],
        cwd=packed,
        env=bare | places,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (JS / "README.md").read_text(encoding="utf-8"), re.S | re.M
    )


def test_readme_in_node(packed: Path, fake: Path, tmp_path: Path) -> None:
    """The block for Node as it stands, with the fake models under its names and a decoded picture."""
    (block,) = blocks("js")
    for name, model in (("mnist", "decoder"), ("cluttered-mnist", "classifier"), ("scorer", "scorer")):
        shutil.copyfile(fake / f"{model}.onnx", tmp_path / f"{name}.onnx")
    (tmp_path / "node_modules").symlink_to(packed / "node_modules")
    picture = "const decodedPicture = { data: new Uint8Array(4 * 99).fill(200), width: 11, height: 9 };\n"
    show = "console.log(answers.length, probabilities.length, bound.length, canvases.length, writeAttention.length);"
    (tmp_path / "program.mjs").write_text(picture + block + show)
    done = subprocess.run(["node", "program.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "NaN" not in done.stdout


def test_types(packed: Path) -> None:
    """The README's block and every export under TypeScript's strictest look."""
    (block,) = blocks("js")
    names = [
        "noise",
        "rawIntegers",
        "CheckLine",
        "checkLine",
        "modelInfo",
        "readMetadata",
        "fit",
        "toChannels",
    ]
    declared = "declare const decodedPicture: { data: Uint8Array; width: number; height: number };\n"
    more = f"""
import {{ {", ".join(names)}, toRGBA, readPicture }} from "draw-onnx";
const line: string = sampler.checkLine(await sampler.sample(1, {{ seed: 7, steps: false, temperature: 0.8 }}));
const values: Float32Array = noise(7n, 0n, 1, sampler.info.timeSteps, sampler.info.latentSize);
const integers: BigUint64Array = rawIntegers(7n, 0n, 2);
const shown = new ImageData(toRGBA(images, sampler.info), sampler.info.width);
// @ts-expect-error a seed is no text
await sampler.sample(1, {{ seed: "7" }});
// @ts-expect-error made by open alone
new Sampler();
export {{ {", ".join(names)}, readPicture, line, values, integers, shown, bound, reconstruction, probabilities, answers }};
export {{ canvases, writeAttention }};
"""
    (packed / "typed.ts").write_text(declared + block + more)
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
    command = ["node_modules/.bin/tsc", *options, "typed.ts"]
    done = subprocess.run(command, cwd=packed, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
