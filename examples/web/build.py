"""Put the page, ONNX Runtime and your models into one folder that any web server can serve.

    python build.py --decoder draw.onnx --classifier clf.onnx --out site
    python -m http.server --directory site

Python's standard library is all it needs. ONNX Runtime's three files come from npm, or from --ort FOLDER.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent / "js"
ROOT = HERE.parent.parent

PAGE = (HERE / "index.html", HERE / "style.css", ROOT / "LICENSE", *HERE.glob("*.js"))
TAKEN = {file.name for file in PAGE} | {"models.json", "js", "ort"}  # in the folder
SHARED_MODULES = [file for file in SHARED.glob("*.js") if file.name != "node.js"]
ORT_VERSION = "1.30.0"
# Of the single-threaded CPU build.
ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
ORT_MARK = "version.txt"  # beside them, written last: these files of npm's are whole, and of this version
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--decoder", help="a file of draw-export, or a name such as mnist from pretrained/")
    parser.add_argument("--classifier", help="the same for a classifier; either may be left out")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to make; what it holds is overwritten"
    )
    parser.add_argument("--ort", type=Path, help="folder with ONNX Runtime's files (default: npm install)")
    parser.add_argument("--serve", type=int, metavar="PORT", help="then serve it on this machine")
    options = parser.parse_args()
    try:
        build(options.out, options.decoder, options.classifier, options.ort)
        print(f"wrote {options.out}")
        if options.serve is None:
            follow = [Path(sys.executable).name, "-m", "http.server", "--directory", str(options.out)]
            print(f"next: {shlex.join(follow)}")
        else:
            serve(options.out, options.serve)
    except (OSError, OverflowError, subprocess.CalledProcessError, ValueError) as error:
        sys.exit(f"build.py: error: {error}")


def build(out: Path, decoder: str | None, classifier: str | None, ort: Path | None = None) -> None:
    """Write the folder ``out``."""
    models = {"decoder": find_model(decoder), "classifier": find_model(classifier)}
    if not any(models.values()):
        raise ValueError("give --decoder, --classifier or both")
    for kind, model in models.items():
        if model and f"draw.{kind}".encode() not in model.read_bytes():  # what its metadata say
            raise ValueError(f"--{kind}: {model} is no draw.{kind}")
        if model and model.name in TAKEN:
            raise ValueError(f"--{kind}: {model.name} is the name of a part of the page; rename the model")
    if models["decoder"] and models["classifier"] and models["decoder"].name == models["classifier"].name:
        raise ValueError("the two models need different file names")
    if ort is not None:
        for name in ORT_FILES:  # before anything is written
            if not (ort / name).is_file():
                raise ValueError(f"--ort: {ort} has no {name}")
    copy([*PAGE, *filter(None, models.values())], out)
    copy(SHARED_MODULES, out / "js")
    # Addresses: a name may hold # and ?, and bytes that are no text.
    names = {kind: model and quote(os.fsencode(model.name)) for kind, model in models.items()}
    (out / "models.json").write_text(json.dumps(names) + "\n", encoding="utf-8")
    mark = out / "ort" / ORT_MARK
    fresh = mark.is_file() and mark.read_bytes() == ORT_VERSION.encode()
    if ort is not None:
        mark.unlink(missing_ok=True)
        copy([ort / name for name in ORT_FILES], out / "ort")
    elif not (fresh and all((out / "ort" / name).exists() for name in ORT_FILES)):
        with tempfile.TemporaryDirectory() as folder:
            npm = shutil.which("npm")
            if npm is None:
                raise ValueError("npm is not installed; give ONNX Runtime's files with --ort FOLDER")
            command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            command += ["--prefix", folder, f"onnxruntime-web@{ORT_VERSION}"]
            subprocess.run(command, check=True)
            fetched = Path(folder, "node_modules", "onnxruntime-web", "dist")
            mark.unlink(missing_ok=True)
            copy([fetched / name for name in ORT_FILES], out / "ort")
        mark.write_bytes(ORT_VERSION.encode())


def find_model(name: str | None) -> Path | None:
    """A path, or the file of a name in pretrained/."""
    if name is None or Path(name).is_file():
        return name and Path(name)
    packaged = ROOT / "pretrained" / f"{name}.onnx"
    if not packaged.is_file():
        raise ValueError(f"no model {name}")
    return packaged


def copy(files: list[Path], folder: Path) -> None:
    """Into the folder, which is made, under their own names; what lies there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        with contextlib.suppress(shutil.SameFileError):
            shutil.copyfile(file, folder / file.name)


def serve(folder: Path, port: int) -> None:
    """Like ``python -m http.server``, but sure of the types: Windows takes them from its registry."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    http.server.SimpleHTTPRequestHandler.extensions_map |= TYPES
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{port}/ (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
