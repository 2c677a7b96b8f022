"""Write pictures of a data set's test set as PNG files, for draw-score and draw-classify to read.

    python tools/write_pictures.py mnist-two-digit FOLDER -n 8

Data sets are looked for in $DRAW_DATA, as draw-train does. Pictures are the set's first ones, named 0.png onwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from draw_onnx.runtime.pictures.drawing import to_rgb, write_png
from draw_onnx.train.data.registry import load_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", help="as for draw-eval --dataset")
    parser.add_argument("folder", type=Path, help="made if it does not exist")
    parser.add_argument("-n", "--count", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("--count must be 1 or more")
    pictures = (
        load_dataset(arguments.dataset, None, "cpu").evaluation("test").slice(0, arguments.count).images
    )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(pictures) - 1))  # names sort as the pictures do
    for k, picture in enumerate(pictures):
        write_png(arguments.folder / f"{k:0{digits}}.png", to_rgb(picture.numpy(), 1))
    print(f"wrote {len(pictures)} pictures to {arguments.folder}")


if __name__ == "__main__":
    main()
