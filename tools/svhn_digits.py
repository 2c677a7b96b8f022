"""House-number digits as folders for draw-train --preset labelled-images, and a plain baseline.

    python tools/svhn_digits.py FOLDER               write FOLDER/train and FOLDER/test, a folder for each digit
    python tools/svhn_digits.py FOLDER --baseline    and print the test error of a logistic regression

The digits are cut out of the photographs of SVHN's format 1, in $DRAW_DATA/svhn, by their boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from draw_onnx.files import atomic_write
from draw_onnx.runtime.error_rate import ErrorRate
from draw_onnx.runtime.pictures.cover import cover
from draw_onnx.runtime.pictures.reading import open_picture
from draw_onnx.runtime.pictures.walk import walk
from draw_onnx.train.data.digit_struct import read_digit_struct
from draw_onnx.train.data.registry import data_root

PARTS = ("train", "test")
MARGIN = 1.1  # of a square as high as the box
SIDE = 32  # pixels of the baseline's pictures
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # of the baseline, as scikit-learn counts them


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to")
    parser.add_argument("--baseline", action="store_true", help="print a logistic regression's test error")
    given = parser.parse_args()
    for part in PARTS:
        count = 0
        for digit, name, picture in digits(data_root(None) / "svhn" / part):
            path = given.folder / part / str(digit) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                picture.save(file, "PNG")
            count += 1
        print(f"{part}: {count:,} digits in {given.folder / part}")
    if given.baseline:
        print(f"logistic regression: {baseline(given.folder)}")


def digits(folder: Path) -> Iterator[tuple[int, str, Image.Image]]:
    """(digit, file name, its square of the photograph), what sticks out repeated from the edge."""
    for number in read_digit_struct(folder / "digitStruct.mat"):
        pixels = np.asarray(open_picture(folder / number.name, 3))
        for place, (box, digit) in enumerate(zip(number.boxes, number.digits, strict=True)):
            left, top, width, height = box
            side = max(round(MARGIN * max(width, height)), 4)
            rows = np.arange(side) + round(top + height / 2 - side / 2)
            columns = np.arange(side) + round(left + width / 2 - side / 2)
            rows, columns = rows.clip(0, len(pixels) - 1), columns.clip(0, pixels.shape[1] - 1)
            name = f"{Path(number.name).stem}-{place + 1}.png"
            yield digit, name, Image.fromarray(pixels[rows[:, None], columns])


def baseline(folder: Path) -> ErrorRate:
    """Of a logistic regression on the pixels, its strength chosen by five-fold cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pictures, labels = {}, {}
    for part in PARTS:
        found = walk(folder / part)
        levels = [cover(open_picture(path, 3), SIDE, SIDE).reshape(-1) for path in found.files]
        pictures[part] = np.stack(levels) / 255
        labels[part] = np.array([found.label(path) for path in found.files])
    search = GridSearchCV(LogisticRegression(max_iter=3000), {"C": STRENGTHS}, cv=5)
    model = make_pipeline(StandardScaler(), search)
    model.fit(pictures["train"], labels["train"])
    wrong = model.predict(pictures["test"]) != labels["test"]
    return ErrorRate(len(wrong), int(wrong.sum()))


if __name__ == "__main__":
    main()
