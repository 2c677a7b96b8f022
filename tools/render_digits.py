"""Test digits as people have them: pictures to try draw-classify on, and the table of how many it reads.

    python tools/render_digits.py FOLDER                 write 1,000 of each kind of the README's table
    python tools/render_digits.py FOLDER --score         and print how many are read
    python tools/render_digits.py --sheet docs/images/own-pictures.png

The digits are MNIST's test digits, in $DRAW_DATA; digit_kinds.py draws them, the same pictures each time.
A file's name ends with the digit that it shows: photo/0017-4.jpg.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from digit_drawing import Bytes
from digit_kinds import KINDS
from numpy.typing import NDArray
from PIL import Image, ImageOps

from draw_onnx import Classifier
from draw_onnx.files import atomic_write
from draw_onnx.runtime.pictures.captions import captioned
from draw_onnx.train.data.mnist import test_digits, training_digits
from draw_onnx.train.data.registry import data_root

TABLE = ("trained", "paper", "large", "transparent", "page", "photo")
GREY = (60, 60, 60)
SHEET = ("paper", "transparent", "page", "photo", "lined", "board")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where to; a folder for each kind is made in it")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=TABLE, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("-n", "--count", type=int, default=1000, help="pictures of each kind")
    parser.add_argument("--split", choices=("test", "valid"), default="test", help="of MNIST's digits")
    parser.add_argument("--score", action="store_true", help="print how many of them the classifier reads")
    parser.add_argument("--onnx", default="cluttered-mnist", help="the classifier")
    parser.add_argument(
        "--sheet", type=Path, help="draw some pictures of each kind and how they are read as a PNG"
    )
    given = parser.parse_args()
    digits, labels = read_digits(given.split)
    if given.sheet:
        draw_sheet(given.sheet, digits, labels, Classifier(given.onnx, "cpu"))
    if given.folder is None:
        return
    if given.score:
        print("| picture | read rightly |\n|---|---|")
    for kind in given.kinds:
        paths = list(write(given.folder / kind, kind, digits[: given.count], labels))
        if given.score:
            print(f"| {KINDS[kind][0]} | {score(paths, Classifier(given.onnx, 'cpu')):.1f} % |", flush=True)


def read_digits(split: str) -> tuple[Bytes, NDArray[np.int64]]:
    """[n, 28, 28] and [n]."""
    root = data_root(None)
    digits = test_digits(root) if split == "test" else training_digits(root)[1]
    return digits.images[:, 0], digits.labels


def encode(kind: str, number: int, digit: Bytes) -> tuple[bytes, str]:
    """A picture file's bytes and its suffix."""
    drawn = KINDS[kind][1](digit, np.random.default_rng([zlib.crc32(kind.encode()), number]))
    Image.init()
    file = io.BytesIO()
    drawn.picture.save(file, format=Image.EXTENSION[drawn.suffix], **drawn.save)
    return file.getvalue(), drawn.suffix


def write(folder: Path, kind: str, digits: Bytes, labels: NDArray[np.int64]) -> Iterator[Path]:
    """One file a digit."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (digit, label) in enumerate(zip(digits, labels, strict=False)):
        content, suffix = encode(kind, number, digit)
        path = folder / f"{number:04}-{label}{suffix}"
        path.write_bytes(content)
        yield path


def score(paths: list[Path], classifier: Classifier) -> float:
    """Per cent of the files whose answer is the digit in their name."""
    images = np.stack([classifier.prepare(path).image for path in paths])
    answers = classifier(images, steps=False).answers
    right = [path.stem.split("-")[1] == answer for path, answer in zip(paths, answers, strict=True)]
    return 100 * float(np.mean(right))


def draw_sheet(path: Path, digits: Bytes, labels: NDArray[np.int64], classifier: Classifier) -> None:
    """Each kind a row: pictures, each with the middle of what the model gets of it and its answer below."""
    columns, height, width = 4, 105, 140
    middle = slice(32, 68)
    rows: list[NDArray[np.uint8]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row, kind in enumerate(SHEET):
            part = slice(row * columns, (row + 1) * columns)
            tiles = []
            for file in write(Path(folder) / kind, kind, digits[part], labels[part]):
                prepared = classifier.prepare(file).image
                result = classifier(prepared[None], steps=False)
                seen = Image.fromarray((prepared[0, middle, middle] * 255).astype(np.uint8))
                with Image.open(file) as picture:
                    upright = ImageOps.exif_transpose(picture).convert("RGBA")
                shown = ImageOps.contain(upright, (width, height))
                checks = chequered(shown.size)
                checks.paste(shown, mask=shown)
                pair = Image.new("RGB", (width + height + 2, height), GREY)
                pair.paste(checks, ((width - shown.width) // 2, (height - shown.height) // 2))
                pair.paste(seen.resize((height, height), Image.Resampling.NEAREST), (width + 2, 0))
                text = f"{result.answers[0]}   {result.probabilities.max():.1%}"
                tile = captioned(np.asarray(pair), text)
                tiles.append(np.pad(tile, ((3, 3), (3, 3), (0, 0)), constant_values=GREY[0]))
            rows.append(np.concatenate(tiles, 1))
    # Few colours: noise of photographs would make it a megabyte.
    picture = Image.fromarray(np.concatenate(rows)).quantize(192, dither=Image.Dither.NONE)
    with atomic_write(path) as file:
        picture.save(file, "PNG", optimize=True)
    print(f"wrote {path}")


def chequered(size: tuple[int, int]) -> Image.Image:
    """What shows through a transparent picture."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] // 6
    return Image.fromarray(np.where((x + y) % 2, 235, 255).astype(np.uint8)).convert("RGB")


if __name__ == "__main__":
    main()
