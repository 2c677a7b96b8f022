"""Pictures moved by whole pixels: what a shift is, and what it does to the fixed binarised MNIST, stages and resuming."""

from __future__ import annotations

import csv
import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from draw_onnx.export import cli as export_cli
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train import cli
from draw_onnx.train.data import mnist
from draw_onnx.train.data.dataset import Batch, Split
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.data.shift import draw_shifted
from draw_onnx.train.evaluation import cli as eval_cli
from draw_onnx.train.presets import PRESETS, find_preset

from ...conftest import Command


def test_shifts_move_whole_pictures_and_repeat_edges() -> None:
    pictures = torch.arange(2 * 2 * 4 * 5, dtype=torch.uint8).reshape(2, 2, 4, 5)
    train = Split(pictures, torch.tensor([3, 4]))
    indices = torch.tensor([0, 1] * 200)
    batch = draw_shifted(train, indices, torch.Generator().manual_seed(0), shift=1)
    padded = torch.nn.functional.pad(pictures.float() / 255, (1, 1, 1, 1), mode="replicate")
    seen = set()
    for k, picture in enumerate(batch.images):
        places = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if torch.equal(picture, padded[k % 2, :, i : i + 4, j : j + 5])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9
    assert batch.labels is not None
    assert batch.labels[:2].tolist() == [3, 4]
    still = draw_shifted(train, indices[:2], torch.Generator(), shift=0)
    assert torch.equal(still.images * 255, pictures.float())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Fixed binarised files of 40, 9 and 9 pictures, their ink at least four pixels from the border."""
    folder = tmp_path / "data" / "binarized_mnist"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 9), ("test", 9)):
        pictures = np.zeros((count, 28, 28), np.uint8)
        pictures[:, 4:24, 4:24] = random.integers(2, size=(count, 20, 20))
        lines = [" ".join(map(str, picture.reshape(-1))) for picture in pictures]
        (folder / f"binarized_mnist_{split}.amat").write_text("\n".join(lines) + "\n")
    return folder.parent


def test_no_shift_is_the_pictures_as_they_are(root: Path) -> None:
    data = load_dataset("mnist", root, "cpu", shift=0)
    indices = torch.tensor([7, 0, 39])
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    batch = data.batch(indices, generator)
    assert torch.equal(batch.images, data.train.images[indices].float())
    assert torch.equal(generator.get_state(), before)  # nothing is drawn


def test_shifted_binarised_pictures_keep_their_ink(root: Path) -> None:
    data, plain = (load_dataset("mnist", root, "cpu", shift=s) for s in (2, 0))
    indices = torch.arange(40).repeat(5)
    first, second = (data.batch(indices, torch.Generator().manual_seed(1)).images for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, data.batch(indices, torch.Generator().manual_seed(2)).images)
    own = plain.batch(indices, torch.Generator()).images
    assert torch.equal(first.sum((1, 2, 3)), own.sum((1, 2, 3)))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    moves = {
        next(
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if torch.equal(moved, picture.roll((i, j), (1, 2)))
        )
        for moved, picture in zip(first, own, strict=True)
    }
    assert len(moves) == 25
    for split in ("train", "valid", "test"):
        assert torch.equal(data.evaluation(split).images, plain.evaluation(split).images)


def test_all_pictures_of_the_fixed_files(root: Path) -> None:
    data = load_dataset("mnist", root, "cpu", all_digits=True)
    assert (data.train_size, data.note) == (49, "40 of 50,000 training images")
    assert torch.equal(data.train.images[40:], data.evaluation("valid").images)
    assert len(data.evaluation("test")) == 9


SHORT = ("--time-steps", 1, "--hidden", 4, "--latent", 2, "--threads", 1)
RUN = ("--preset", "mnist-no-attention", "--batch-size", 10, *SHORT)


def test_a_shifted_run_begins_and_resumes(
    command: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its fifth update it ends with the very weights of the whole run."""
    given = (*RUN, "--iterations", 8, "--data-dir", root)
    whole, parts, still = (tmp_path / name for name in ("whole", "parts", "still"))
    for folder, shift in ((whole, 1), (still, 0)):
        code, out, error = command(cli.main, *given, "--shift", shift, "--out", folder)
        assert code == 0, error
        assert "test: " in out
    drawn = []

    def draw_and_stop(*arguments: Any) -> Batch:
        drawn.append(arguments)
        if len(drawn) == 5:
            signal.raise_signal(signal.SIGTERM)
        return draw_shifted(*arguments[:3], shift=1)

    with monkeypatch.context() as patch:
        patch.setattr(mnist, "draw_shifted", lambda *arguments, shift: draw_and_stop(*arguments))
        assert command(cli.main, *given, "--shift", 1, "--out", parts)[0] == 143
    assert load_checkpoint(parts / "last.ckpt").iteration == 5
    code, _, error = command(cli.main, "--resume", "--out", parts, "--data-dir", root, "--threads", 1)
    assert code == 0, error
    a, b, c = (load_checkpoint(folder / "last.ckpt") for folder in (whole, parts, still))
    assert a.training is not None
    assert b.training is not None
    assert (a.training["settings"]["shift"], b.training["settings"]["shift"]) == (1, 1)
    assert a.iteration == b.iteration == 8
    assert all(torch.equal(value, b.weights[name]) for name, value in a.weights.items())
    assert any(not torch.equal(value, c.weights[name]) for name, value in a.weights.items())


def test_a_stage_may_begin_to_shift(
    command: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are loaded anew for it, and the run goes on; also where it takes in the validation pictures."""
    preset = find_preset("mnist-no-attention")
    settings = preset.settings.replace(
        shift=0, iterations=3, eval_every=3, save_every=2, batch_size=10, warmup=1
    )
    stages = ({}, {"shift": 1}, {"shift": 1, "all_digits": True})
    staged = dataclasses.replace(preset, settings=settings, stages=stages)
    monkeypatch.setitem(PRESETS, "mnist-no-attention", staged)
    drawn: list[tuple[int, int]] = []

    def draw(train: Split, indices: torch.Tensor, generator: torch.Generator, shift: int) -> Batch:
        drawn.append((len(train), shift))
        return draw_shifted(train, indices, generator, shift)

    monkeypatch.setattr(mnist, "draw_shifted", draw)
    run = tmp_path / "run"
    code, _, error = command(
        cli.main, "--preset", "mnist-no-attention", *SHORT, "--data-dir", root, "--out", run
    )
    assert code == 0, error
    assert drawn == [(40, 0)] * 3 + [(40, 1)] * 3 + [(49, 1)] * 3
    with (run / "metrics.csv").open() as file:
        assert [row["stage"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_weights_that_have_seen_the_validation_pictures_stay_such(
    command: Command, root: Path, tmp_path: Path
) -> None:
    """A run from them says so, also when it goes on, and so does draw-eval of what it leaves and of its ONNX file."""
    own = (*RUN, "--iterations", 2, "--data-dir", root)
    both, again, more = (tmp_path / name for name in ("both", "again", "more"))
    said = "these weights were trained on the validation pictures too"

    def run(*words: object) -> str:
        code, _, error = command(cli.main, *words)
        assert code == 0, error
        return error

    assert said not in run(*own, "--all-digits", "--out", both)
    assert said in run(*own, "--init-from", both / "best.ckpt", "--out", again)
    kept = [load_checkpoint(folder / "best.ckpt") for folder in (both, again)]
    assert [found.train_size for found in kept] == [49, 49]
    assert kept[0].train_checksum == kept[1].train_checksum
    assert said in run("--resume", "--out", again, "--iterations", 4, "--data-dir", root, "--threads", 1)
    assert load_checkpoint(again / "last.ckpt").train_size == 49
    scorer = tmp_path / "scorer.onnx"
    command(export_cli.main, "--ckpt", again / "best.ckpt", "--graph", "scorer", "-o", scorer)
    for file in (("--ckpt", again / "best.ckpt"), ("--onnx", scorer)):
        error = command(eval_cli.main, *file, "--split", "valid", "--data-dir", root)[2]
        assert "it was trained on the validation pictures too (--all-digits)" in error
    # Other weights, or all the digits again: nothing to say.
    assert said not in run(*own, "--init-from", both / "best.ckpt", "--all-digits", "--out", more)
    assert load_checkpoint(more / "best.ckpt").train_size == 49
