"""Building the examples, and models for them to run.

What is downloaded or compiled lies in pytest's cache folder. DRAW_REQUIRE=compiler,node,... turns the skips for
what is not on the machine into failures.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest

from ..conftest import ROOT, Ran

pytest.register_assert_rewrite(f"{__package__}.port_checks")

EXAMPLES = ROOT / "examples"
# The runtimes of the examples, and what tries the JavaScript package: a type checker and a bundler.
NPM_PACKAGES = (
    "onnxruntime-node@1.30.0",
    "onnxruntime-web@1.30.0",
    "typescript@7.0.2",
    "esbuild@0.28.2",
)
# Around the code of a program that uses the installed package.
HEAD = """
import * as draw from "draw-onnx";
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0, "utf8"));
const shown = (_, value) => typeof value === "bigint" ? String(value)
    : ArrayBuffer.isView(value) ? Array.from(value) : value;
const main = async () => {
"""
TAIL = """
};
console.log(JSON.stringify(await main(), shown));
"""
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WARNINGS = ["-O2", "-Wall", "-Wextra", "-Werror"]


@dataclass(frozen=True)
class Port:
    """An example, ready to run."""

    command: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, *arguments: object, cwd: Path | None = None) -> Ran:
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


def missing(what: str, reason: str) -> NoReturn:
    """Skip, or fail where DRAW_REQUIRE names it."""
    if what in os.environ.get("DRAW_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str, what: str) -> str:
    """Path of a program; skips where there is none."""
    return shutil.which(name) or missing(what, f"{name} is not installed")


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """(name) -> a folder that stays between runs, so that downloads happen once."""
    cache = getattr(request.config, "cache", None)  # absent with -p no:cacheprovider
    return lambda name: Path(cache.mkdir(name)) if cache is not None else tmp_path_factory.mktemp(name)


@pytest.fixture(scope="session")
def headers(kept: Callable[[str], Path]) -> Path:
    """Folder of onnxruntime_c_api.h and onnxruntime_cxx_api.h."""
    folder = kept("onnxruntime-headers")
    if not (folder / "onnxruntime_c_api.h").exists():
        wheels = folder / "wheel"
        command = ["-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-d", str(wheels)]
        requirement = ["-r", str(Path(__file__).with_name("headers.txt"))]
        done = subprocess.run([sys.executable, *command, *requirement], capture_output=True, text=True)
        if done.returncode != 0:
            missing(
                "compiler", f"ONNX Runtime's headers could not be downloaded: {done.stderr.strip()[-300:]}"
            )
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                if "/onnxruntime/core/session/" in name and name.endswith(".h"):
                    (folder / Path(name).name).write_bytes(wheel.read(name))
        shutil.rmtree(wheels)
    return folder


@pytest.fixture(scope="session")
def library() -> Mapping[str, str]:
    """The environment in which the C and C++ examples find the library inside the onnxruntime wheel."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    found = sorted((Path(spec.origin).parent / "capi").glob("libonnxruntime.*[0-9]*"))
    if not found:
        missing("compiler", "the installed onnxruntime has no shared library")
    return {"ONNXRUNTIME_LIB": str(found[0])}


@pytest.fixture(scope="session")
def compile_port(
    headers: Path, library: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, list[str]], Port]:
    """("c" or "cpp", compiler options) -> the example, built without a warning."""

    def compile_(language: str, options: list[str]) -> Port:
        compiler, source, standard = {
            "c": ("gcc", EXAMPLES / "c" / "draw.c", "-std=c11"),
            "cpp": ("g++", EXAMPLES / "cpp" / "draw.cpp", "-std=c++17"),
        }[language]
        program = tmp_path_factory.mktemp(language) / "draw"
        command = [tool(compiler, "compiler"), standard, *options, "-isystem", str(headers), str(source)]
        done = subprocess.run([*command, "-o", str(program), "-lm", "-ldl"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return Port((str(program),), library)

    return compile_


@pytest.fixture(scope="session")
def javascript() -> Callable[..., Any]:
    """(code, input) -> what the code returns; modules of examples/js are at hand. Needs no packages."""
    node = tool("node", "node")
    modules = {"noise": "noise.js", "pictures": "prepare.js", "model": "model_file.js"}
    head = "".join(
        f'import * as {name} from "{(EXAMPLES / "js" / file).as_uri()}";' for name, file in modules.items()
    )
    head += 'import { readFileSync } from "node:fs"; const given = JSON.parse(readFileSync(0, "utf8"));'

    def run(code: str, given: object = None) -> Any:
        program = f"{head} console.log(JSON.stringify(await (async () => {{ {code} }})()));"
        command = [node, "--input-type=module", "-e", program]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def npm_install(folder: Path, *packages: str) -> None:
    """``npm install`` in a folder; skips where npm or its registry is not to be had."""
    options = ["--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline"]
    command = [tool("npm", "node"), "install", *options, *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        missing("node", f"npm could not install: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="session")
def node_folder(kept: Callable[[str], Path]) -> Path:
    """A copy of examples/node beside examples/js, with its packages installed."""
    folder = kept("node-example")
    for name in ("examples/js", "examples/node", "tests/fake"):
        shutil.copytree(
            ROOT / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
        )
    here = folder / "examples" / "node"
    shutil.rmtree(
        here / "node_modules" / "draw-onnx", ignore_errors=True
    )  # of an earlier state of examples/js
    npm_install(here)
    return here


@pytest.fixture(scope="session")
def packed(kept: Callable[[str], Path]) -> Path:
    """A folder of a stranger's: the JavaScript package as ``npm pack`` makes it, both runtimes, a compiler, a bundler."""
    folder = kept("javascript-package")
    npm = tool("npm", "node")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), str(EXAMPLES / "js")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "node_modules" / "draw-onnx", ignore_errors=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm_install(folder, done.stdout.strip(), *NPM_PACKAGES)
    return folder


@pytest.fixture(scope="session")
def run(packed: Path) -> Callable[..., Any]:
    """(code, input) -> what the code returns; ``draw`` is the installed package."""

    def run(code: str, given: object = None) -> Any:
        (packed / "program.mjs").write_text(HEAD + code + TAIL)
        done = subprocess.run(
            ["node", "program.mjs"],
            cwd=packed,
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright."""
    if not CHROMIUM.exists():
        missing("chromium", f"{CHROMIUM} is not installed")
    try:
        api = import_module("playwright.sync_api")
    except ImportError:
        missing("chromium", "playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=["c", "cpp", "node"])
def port(request: pytest.FixtureRequest) -> Port:
    """Each example in turn."""
    if request.param == "node":
        folder: Path = request.getfixturevalue("node_folder")
        return Port((tool("node", "node"), str(folder / "draw.js")), {})
    return request.getfixturevalue("compile_port")(request.param, WARNINGS)


@pytest.fixture(scope="session")
def edited(fake: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(model, key=value, ...) -> a copy of a fake model with metadata changed; None removes the key."""

    def edit(name: str, **changes: str | None) -> Path:
        model = onnx.load(fake / f"{name}.onnx")
        values = {entry.key: entry.value for entry in model.metadata_props} | changes
        del model.metadata_props[:]
        for key, value in values.items():
            if value is not None:
                model.metadata_props.add(key=key, value=value)
        path = tmp_path_factory.mktemp("edited") / "edited.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return edit


@pytest.fixture(scope="session")
def exported(golden_draw_models, golden_classifiers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the exporter: decoder0.onnx .. decoder5.onnx, their variants, classifier0.onnx .. classifier3.onnx."""
    from draw_onnx.export import ExportOptions, build

    folder = tmp_path_factory.mktemp("exported")
    for k, model in enumerate(golden_draw_models):
        (folder / f"decoder{k}.onnx").write_bytes(build(model.checkpoint()))
    for k, model in enumerate(golden_classifiers):
        (folder / f"classifier{k}.onnx").write_bytes(build(model.checkpoint()))
    checkpoint = golden_draw_models[0].checkpoint()
    variants: dict[str, dict[str, Any]] = {
        "lean": {"outputs": "image"},
        "batch": {"batch": 3},
        "lstm": {"recurrence": "lstm"},
        "fp16": {"dtype": "fp16"},
    }
    for name, options in variants.items():
        (folder / f"{name}.onnx").write_bytes(build(checkpoint, ExportOptions(**options)))
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def pictures(tmp_path: Path, rng: np.random.Generator):
    """(height, width) -> files of every kind that fits: the whole size, smaller by odd numbers, colour, 16 bits."""

    def make(height: int, width: int) -> list[Path]:
        paths = []
        for k, (h, w) in enumerate(
            [(height, width), (height - 1, width - 2), (1, 1), (height - 3, width - 1)]
        ):
            grey = rng.integers(0, 256, (h, w), np.uint8)
            colour = rng.integers(0, 256, (h, w, 3), np.uint8)
            deep = rng.integers(0, 65536, (h, w)).astype(">u2")
            contents = {
                "grey.pgm": b"P5\n%d %d\n255\n" % (w, h) + grey.tobytes(),
                "colour.ppm": b"P6\n# with a comment\n%d\t%d # and one more\n255\n" % (w, h)
                + colour.tobytes(),
                "deep.pgm": b"P5 %d %d 65535\n" % (w, h) + deep.tobytes(),
            }
            for name, content in contents.items():
                paths.append(tmp_path / f"{k}-{name}")
                paths[-1].write_bytes(content)
        return paths

    return make
