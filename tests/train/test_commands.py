"""draw-train and draw-eval as a user meets them: whole runs in processes of their own, and every error in one line."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from draw_onnx.__main__ import main as draw_onnx_main
from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train import cli, launch
from draw_onnx.train.settings import TrainSettings

from ..conftest import TINY, Command


def test_what_a_run_leaves(finished: Path) -> None:
    assert {p.name for p in (finished / "samples").iterdir()} == {"0000030.png", "0000060.png"}
    assert list(finished.glob("events.out.tfevents.*"))
    assert "nats" in (finished / "test.txt").read_text()
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["iteration"]) for r in rows] == [30, 60]
    for row in rows:
        parts = float(row["valid_reconstruction"]) + float(row["valid_kl"])
        assert float(row["valid_bound"]) == pytest.approx(parts, rel=1e-4)


def test_killed_and_resumed_is_bit_exact(start_training, finished: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, then --resume: the same last checkpoint as the uninterrupted run, bit for bit."""
    folder = tmp_path / "run"
    every = ("--iterations", 60, "--save-every", 7, "--eval-every", 30)
    process = start_training("--out", folder, *every, *TINY, until=folder / "last.ckpt")
    process.kill()
    process.wait()
    assert load_checkpoint(folder / "last.ckpt").iteration < 60
    resumed = start_training("--resume", "--out", folder, "--threads", 1)
    assert resumed.wait(timeout=300) == 0, resumed.communicate()
    whole, parts = (load_checkpoint(f / "last.ckpt") for f in (finished, folder))
    assert whole.iteration == parts.iteration == 60
    for name, value in whole.weights.items():
        assert torch.equal(value, parts.weights[name]), name
    assert whole.training is not None
    assert parts.training is not None
    for name, value in whole.training["model"].items():
        assert torch.equal(value, parts.training["model"][name]), name
    a, b = ((f / "metrics.csv").read_text().splitlines() for f in (finished, folder))
    drop = [0, 1, 3, *range(5, 13)]  # all but seconds and throughput
    assert [[r.split(",")[i] for i in drop] for r in a] == [[r.split(",")[i] for i in drop] for r in b]


def test_sigterm_says_how_to_go_on(start_training, tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    every = ("--iterations", 100_000, "--save-every", 10)
    process = start_training("--out", folder, *every, *TINY, until=folder / "last.ckpt")
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"draw-train --resume --out '{folder}' --threads 1\n" in error


@pytest.mark.slow
def test_two_devices_train_like_one(start_training, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start_training(
        *("--out", folder, "--iterations", 60, "--save-every", 7, "--eval-every", 30, *TINY),
        *("--device", "cpu", "--devices", 2),
    )
    assert process.wait(timeout=300) == 0, process.communicate()
    one, two = (load_checkpoint(f / "last.ckpt") for f in (finished, folder))
    for name, value in one.weights.items():
        torch.testing.assert_close(value, two.weights[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--preset", "nonsense"], 1, "unknown preset 'nonsense'; choose from digits, mnist"),
        (["--iterations", "0"], 1, "--iterations must be between 1 and 1,000,000,000,000, not 0"),
        (["--save-every", "0"], 1, "--save-every must be between 1 and"),
        (["--ema", "1"], 1, "--ema must be at least 0 and below 1, not 1.0"),
        (["--attention-lr-scale", "0"], 1, "--attention-lr-scale must be above 0 and at most 1, not 0.0"),
        (["--iterations", "many"], 2, "Invalid value for '--iterations'"),
        (["--lr", "7"], 1, "--lr must be above 0 and below 1, not 7.0"),
        (["--hidden", "0"], 1, "--hidden must be between 1 and 65536"),
        (["--no-attention", "--read-size", "2"], 1, "--read-size must be 0 without attention"),
        (["--preset", "cluttered-mnist", "--latent", "3"], 1, "does not fit the glimpse classifier"),
        (["--preset", "images"], 1, "needs --image-dir"),
        (["--image-size", "8", "8"], 1, "--image-size is for images and labelled-images, not for digits"),
        (["--device", "tpu"], 2, "'--device': 'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["--precision", "8-bit"], 2, "'8-bit' is not one of '32-true', 'bf16-mixed'"),
        (["--glimpse-loss", "first"], 2, "'first' is not one of 'weighted', 'last'"),
        (["--seed", "-1"], 1, "--seed must be between 0 and"),
        (["--warmup", "-3"], 1, "--warmup must be at least 0, not -3"),
        (["--clip", "-1"], 1, "--clip must be at least 0, not -1.0"),
        (["--clip", "nan"], 1, "--clip must be at least 0, not nan"),
        (["--cuda-graph", "--device", "cpu"], 1, "needs one GPU"),
        (["--cuda-graph", "--optimizer", "soap"], 1, "records Adam's updates, not SOAP's"),
        (["--no-attention", "--attention-lr-scale", "0.1"], 1, "this model has none"),
        (["--optimizer", "sgd"], 2, "'sgd' is not one of 'adam', 'soap'"),
        (["--glimpse-loss", "last"], 1, "preset digits trains DRAW"),
        (
            ["--preset", "images", "--image-dir", ".", "--image-size", "0", "9"],
            1,
            "--image-size must be between 1",
        ),
        (["--preset", "images", "--image-dir", ".", "--channels", "0"], 1, "--channels must be between 1"),
        (["--write-window", "9"], 1, "at most the picture's 8 pixels, not 9"),
        (["--write-window", "nan"], 1, "--write-window must be at least 0 and finite, not nan"),
        (["--write-window", "4", "--write-size", "1"], 1, "one filter has no width"),
        (["--write-window", "4", "--no-attention"], 1, "DRAW with attention"),
        (["--preset", "cluttered-mnist", "--write-window", "4"], 1, "DRAW with attention"),
        (["--preset", "mnist", "--init-from", "mnist", "--write-window", "4"], 1, "is for random weights"),
        (
            ["--preset", "mnist-no-attention", "--init-from", "mnist"],
            1,
            "without attention, the checkpoint with",
        ),
        (["--resume"], 1, "last.ckpt does not exist; without --resume a run begins"),
        (["--preset", "mnits"], 1, "unknown preset 'mnits' (did you mean mnist?); choose from digits, mnist"),
        (["--resume", "--init-from", "mnist"], 1, "leave out --init-from"),
        (["--init-from", "nonsense"], 1, "no checkpoint nonsense (packaged models: "),
        (["--init-from", "cluttered-mnist"], 1, "preset digits trains DRAW, the checkpoint is the glimpse"),
        (["--preset", "mnist", "--init-from", "mnist", "--latent", "9"], 1, "leave out --latent"),
        (
            ["--preset", "mnist", "--init-from", "mnist", "--read-size", "8"],
            1,
            "--read-size 8: the checkpoint's windows have ",
        ),
        (
            ["--preset", "images", "--image-dir", ".", "--init-from", "mnist", "--channels", "3"],
            1,
            "leave out --channels",
        ),
        (
            ["--preset", "images", "--image-dir", ".", "--init-from", "mnist", "--image-size", "8", "9"],
            1,
            "leave out --image-size",
        ),
        (["--preset", "images", "--image-dir", ".", "--init-from", "mnist"], 1, "no pictures in the folder"),
        (["--init-from", "mnist", "--no-attention"], 1, "leave out --attention"),
        (["--init-from", "mnist"], 1, "data set digits has 1×8×8 pictures, the model takes 1×28×28"),
        (["--from-stage", "2", "--init-from", "mnist"], 1, "preset digits has one stage"),
        (["--weight-decay", "-1"], 1, "--weight-decay must be at least 0 and below 1, not -1.0"),
        (["--deform", "nan"], 1, "--deform must be between 0 and 3, not nan"),
        (
            ["--deform", "1"],
            1,
            "--deform is for mnist-dynamic, mnist-two-digit and cluttered-mnist, not for digits",
        ),
        (
            ["--all-digits"],
            1,
            "--all-digits is for mnist, mnist-dynamic, mnist-two-digit and cluttered-mnist, not for digits",
        ),
        (["--wrong"], 2, "No such option: --wrong"),
        (["--preset", "mnist", "--data-dir", "."], 1, "belongs in binarized_mnist"),
    ],
)
def test_bad_options_are_one_line(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    # Nothing listens there: downloads fail at once, as they do without a network.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    got, out, error = command(cli.main, *arguments)
    assert got == code
    assert out == ""
    errors = [line for line in error.splitlines() if line.startswith("draw-train: error: ")]
    assert len(errors) == 1, error
    assert message in errors[0]
    assert "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_cuda_without_a_gpu(command: Command, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    code, _, error = command(cli.main, "--device", "cuda", "--out", tmp_path / "run")
    assert (code, error.count("\n")) == (1, 1)
    assert "finds no CUDA device" in error


def test_a_folder_with_a_run_is_not_overwritten(command: Command, finished: Path) -> None:
    before = (finished / "last.ckpt").read_bytes()
    code, _, error = command(cli.main, "--out", finished)
    assert code == 1
    assert "already holds a run" in error
    assert (finished / "last.ckpt").read_bytes() == before


def test_resume_takes_its_settings_from_the_checkpoint(command: Command, finished: Path) -> None:
    code, _, error = command(cli.main, "--resume", "--out", finished, "--lr", 0.1, "--hidden", 9)
    assert code == 1
    assert "leave out --hidden, --lr" in error
    code, _, error = command(cli.main, "--resume", "--out", finished)
    assert code == 1
    assert "already reached iteration 60 of 60" in error
    code, _, error = command(cli.main, "--resume", "--out", finished, "--image-dir", ".")
    assert code == 1
    assert "--image-dir does not belong to this run" in error


def test_a_run_of_an_older_version_goes_on(finished: Path) -> None:
    last = load_checkpoint(finished / "last.ckpt")
    assert last.training is not None
    saved = dict(last.training["settings"])
    new = TrainSettings.from_dict(saved)
    for name in ("init_from", "attention_lr_scale", "attention_lr_settle", "write_window"):
        del saved[name]
    assert TrainSettings.from_dict(saved) == new
    for wrong in ({**saved, "unheard_of": 1}, {k: v for k, v in saved.items() if k != "preset"}):
        with pytest.raises(DrawError, match="another version"):
            TrainSettings.from_dict(wrong)


def test_a_run_without_a_checkpoint_may_be_begun_again(command: Command, tmp_path: Path) -> None:
    """What an early failure leaves is no run: there is nothing to resume."""
    (tmp_path / "metrics.csv").write_text("iteration,stage,seconds,learning_rate\n")
    code, _, error = command(cli.main, "--out", tmp_path, "--iterations", 2, *TINY)
    assert code == 0, error


def test_best_weights_alone_are_said(command: Command, finished: Path, tmp_path: Path) -> None:
    """As a kill -9 before the first last.ckpt leaves them, or who has kept nothing else."""
    (tmp_path / "best.ckpt").write_bytes((finished / "best.ckpt").read_bytes())
    for options in (["--resume"], ["--iterations", 2, *TINY]):
        code, _, error = command(cli.main, "--out", tmp_path, *options)
        assert (code, error.count("\n")) == (1, 1)
        assert "is the best of a run without a last.ckpt: choose another --out" in error
    assert [p.name for p in tmp_path.iterdir()] == ["best.ckpt"]


def test_the_command_is_draw_trains_under_its_other_name(command: Command, tmp_path: Path) -> None:
    code, _, error = command(draw_onnx_main, "train", "--out", tmp_path, "--iterations", 2, *TINY)
    assert code == 0, error
    words = (tmp_path / "command.txt").read_text().split()
    assert words[:2] == ["draw-train", "--out"]


def test_a_folder_of_pictures_may_move(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative --image-dir is kept whole; where the folder has moved, --resume takes its new place."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(6):
        Image.fromarray(np.full((4, 5, 3), 40 * k, np.uint8)).save(folder / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    sizes = (
        "--hidden",
        8,
        "--time-steps",
        2,
        "--latent",
        2,
        "--read-size",
        2,
        "--write-size",
        2,
        "--batch-size",
        2,
    )
    first = ("--preset", "images", "--image-dir", "pictures", "--image-size", 4, 4, *sizes)
    code, _, error = command(cli.main, "--out", "run", "--iterations", 2, *first)
    assert code == 0, error
    monkeypatch.chdir(tmp_path / "run")
    resume = ("--resume", "--out", tmp_path / "run")
    code, _, error = command(cli.main, *resume, "--iterations", 3)
    assert code == 0, error
    folder.rename(tmp_path / "elsewhere")
    code, _, error = command(cli.main, *resume, "--iterations", 4, "--image-dir", "../elsewhere")
    assert code == 0, error


def test_weights_only_cannot_be_resumed(command: Command, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes((finished / "best.ckpt").read_bytes())
    code, _, error = command(cli.main, "--resume", "--out", tmp_path)
    assert code == 1
    assert "weights-only checkpoint" in error


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(command: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, _, error = command(cli.main, "--out", tmp_path / "run")
    assert (code, error.count("\n")) == (1, 1)


def test_a_file_where_the_folder_should_be(command: Command, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    code, _, error = command(cli.main, "--out", tmp_path / "run", "--iterations", 1)
    assert code == 1
    assert "draw-train: error:" in error
    assert "Traceback" not in error


def test_a_figure_of_other_weights_does_not_stay(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on, and is stopped before its end, has none."""
    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(launch, "_stages", lambda *_: 130)
    assert command(cli.main, "--resume", "--out", run, "--iterations", 80)[0] == 130
    assert not (run / "test.txt").exists()
