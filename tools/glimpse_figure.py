"""The README's picture of glimpse paths: test pictures of cluttered MNIST through the packaged classifier.

python tools/glimpse_figure.py docs/images/glimpses.png --data-dir DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from draw_onnx import Classifier
from draw_onnx.runtime.pictures.drawing import write_png
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.sheets import glimpse_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-dir", type=Path, help="default: $DRAW_DATA")
    parser.add_argument(
        "--pictures", type=int, nargs="+", default=[0, 1, 2, 3], help="numbers in the test set"
    )
    arguments = parser.parse_args()
    test = load_dataset("cluttered-mnist", arguments.data_dir, "cpu").evaluation("test")
    images = np.concatenate([test.slice(k, k + 1).images.numpy() for k in arguments.pictures])
    result = Classifier("cluttered-mnist")(images)
    assert result.glimpses is not None
    assert result.read_attention is not None
    write_png(arguments.out, glimpse_rows(images, result.read_attention, result.glimpses, 1, 4))
    labels = test.labels[arguments.pictures].tolist() if test.labels is not None else []
    print(f"wrote {arguments.out}; answers {' '.join(result.answers)}, labels {labels}")


if __name__ == "__main__":
    main()
