"""A run of seconds on made-up pictures, as a process that can be killed: ``python short_run.py KIND FOLDER``.

It begins, or goes on where there is a checkpoint, as ``draw-train`` and ``draw-train --resume`` do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from draw_onnx.console import make_app, run_app
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.models.config import ClassifierConfig, DrawConfig, ImageSize
from draw_onnx.train import launch
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.options import go_on
from draw_onnx.train.ranks import this_rank
from draw_onnx.train.run_lock import RunLock
from draw_onnx.train.settings import Hardware, RunFolder, TrainSettings
from draw_onnx.train.stages import Place, Stage, Start

MODELS = {
    "draw": DrawConfig(1, 6, 5, time_steps=3, hidden_size=16, latent_size=2, read_size=2, write_size=3),
    "classifier": ClassifierConfig(
        1, 6, 5, time_steps=3, hidden_size=16, read_size=4, labels=("row", "column")
    ),
}


def bars() -> Dataset:
    """6x5 pictures with one bright row or column."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (60,), generator=generator)
    images = torch.zeros(60, 1, 6, 5, dtype=torch.uint8)
    for k, label in enumerate(labels.tolist()):
        images[(k, 0, slice(None), k % 5) if label else (k, 0, k % 6)] = 255
    split = Split(images, labels)
    return Dataset(
        name="bars",
        image=ImageSize(1, 6, 5),
        train=split,
        evaluations={"valid": lambda: split, "test": lambda: split},
        binary=True,
        labels=("row", "column"),
    )


def main(kind: str, path: Path) -> int:
    folder = RunFolder(path)
    settings = TrainSettings("bars", "bars", 150, batch_size=10, warmup=5, eval_every=25, save_every=4)
    launch.load_dataset = lambda *_, **__: bars()  # type: ignore[assignment]
    with RunLock(path) as lock:
        if folder.last.exists():
            lock.take()
            start = go_on(load_checkpoint(folder.last), {}, {}, folder)
        else:
            start = Start(Place((Stage(settings, MODELS[kind]),)))
        return launch.train(start, folder, Hardware("cpu", threads=1), None, lock, this_rank(1))


if __name__ == "__main__":
    app = make_app()
    arguments = sys.argv[1:]

    @app.command()
    def command() -> None:
        code = main(arguments[0], Path(arguments[1]))
        if code:
            sys.exit(code)

    sys.argv = sys.argv[:1]
    run_app(app, "short-run")
