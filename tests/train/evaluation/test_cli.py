"""draw-eval on a run that is finished."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from pathlib import Path

import pytest

from draw_onnx.export import cli as export_cli
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.pretrained import find_packaged
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.evaluation import cli as eval_cli
from draw_onnx.train.evaluation import files, options
from draw_onnx.train.evaluation.options import Request

from ...conftest import Command


def test_one_image_has_no_standard_error(command: Command, finished: Path) -> None:
    arguments = ("--ckpt", finished / "best.ckpt", "--limit", 1)
    code, out, _ = command(eval_cli.main, *arguments, "--json")
    assert code == 0
    assert json.loads(out)["standard_error"] is None
    code, out, _ = command(eval_cli.main, *arguments)
    assert "nan" not in out.lower()
    assert out.startswith("digits test [1 of 200 images, evenly spread]\n")


def test_eval_gives_the_test_figure_again(command: Command, finished: Path, tmp_path: Path) -> None:
    arguments = ("--ckpt", finished / "best.ckpt", "--threads", 1)
    code, out, _ = command(eval_cli.main, *arguments)
    assert code == 0
    assert (finished / "test.txt").read_text().strip() in out
    nearest, plot = tmp_path / "nearest.png", tmp_path / "kl.png"
    code, out, _ = command(
        eval_cli.main,
        *arguments,
        "--json",
        "--importance",
        3,
        "--nearest",
        nearest,
        "--plot",
        plot,
        "--samples",
        5,
    )
    values = json.loads(out)
    assert code == 0
    assert values["bound"] == pytest.approx(values["reconstruction"] + values["kl"])
    assert len(values["kl_per_step"]) == 2
    assert values["importance_samples"] == 3
    assert len(values["nearest_distances"]) == 5
    assert nearest.read_bytes()[:4] == plot.read_bytes()[:4] == b"\x89PNG"


def test_samples_at_a_temperature(command: Command, finished: Path, tmp_path: Path) -> None:
    """The bound is the model's own; only the samples are others, and that is said."""
    arguments = (
        "--ckpt",
        finished / "best.ckpt",
        "--threads",
        1,
        "--samples",
        5,
        "--nearest",
        tmp_path / "x.png",
    )
    plain, cool = (
        command(eval_cli.main, *arguments, *more)[1].splitlines() for more in ((), ("--temperature", 0.5))
    )
    assert plain[:2] == cool[:2]
    assert plain[2].startswith("5 samples: ")
    assert cool[2].startswith("5 samples at temperature 0.5: ")
    assert plain[2].split(":")[1] != cool[2].split(":")[1]
    _, out, _ = command(eval_cli.main, *arguments, "--temperature", 0.5, "--json")
    assert json.loads(out)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give either --ckpt FILE or --onnx FILE"),
        (["--ckpt", "none.ckpt"], 1, "no checkpoint at none.ckpt"),
        (["--onnx", "none.onnx"], 1, "none.onnx"),
        (["--ckpt", "BEST", "--split", "wild"], 1, "no split 'wild'"),
        (["--ckpt", "BEST", "--dataset", "nonsense"], 1, "unknown data set"),
        (["--ckpt", "BEST", "--plot", "none/kl.png"], 1, "does not exist"),
        (["--ckpt", "BEST", "--plot", "kl.jpg"], 2, "kl.jpg should end in .png"),
        (["--ckpt", "BEST", "--calibration", "x.png"], 1, "--calibration is for classifiers"),
        (["--onnx", "mnist", "--calibration", "x.png"], 1, "--calibration is for classifiers"),
        (["--onnx", "cluttered-mnist", "--calibration", "none/x.png"], 1, "does not exist"),
        (["--ckpt", "BEST", "--plot", "x.png", "--nearest", "x.png"], 2, "same name"),
        (["--ckpt", "BEST", "--nearest", "x.png", "--samples", "100000"], 1, "ask for fewer --samples"),
        (["--ckpt", "BEST", "--provider", "cpu"], 2, "a checkpoint takes --device"),
        (["--onnx", "x.onnx", "--device", "cpu"], 2, "an ONNX file takes --provider"),
        (["--onnx", "mnist"], 1, "give --ckpt with the checkpoint, or a file of draw-export --graph scorer"),
        (["--onnx", "x.onnx", "--importance", "3"], 2, "use --ckpt"),
        (["--onnx", "x.onnx", "--temperature", "0.8"], 2, "use --ckpt"),
        (
            ["--ckpt", "BEST", "--temperature", "0.8"],
            2,
            "says more of --nearest or --recognise: give that too",
        ),
        (["--ckpt", "BEST", "--samples", "9"], 2, "--samples says more of --nearest: give that too"),
        (["--onnx", "x.onnx", "--samples", "9"], 2, "--samples is for checkpoints: use --ckpt"),
        (["--ckpt", "BEST", "--recognise-sheet", "x.png"], 2, "says more of --recognise: give that too"),
        (
            ["--ckpt", "cluttered-mnist", "--seed", "0"],
            1,
            "--seed is for DRAW networks, and this checkpoint is a",
        ),
        (
            ["--onnx", "cluttered-mnist", "--seed", "1"],
            1,
            "--seed is for DRAW networks, and this ONNX file is a",
        ),
        (
            ["--onnx", "x.onnx", "--dtype", "int8"],
            2,
            "--dtype is for checkpoints: an ONNX file has its weights",
        ),
        (["--ckpt", "cluttered-mnist", "--importance", "3"], 1, "--importance is for DRAW networks"),
        (["--ckpt", "BEST", "--data-dir", "none"], 1, "--data-dir: the folder none does not exist"),
        (
            ["--ckpt", "BEST", "--dataset", "images"],
            1,
            "images needs --image-dir DIR, a folder of picture files",
        ),
        (["--ckpt", "mnist-two-digit", "--dtype", "int8"], 1, "writes no such file with a learned prior"),
        (["--ckpt", "BEST", "--nearest", "x.png", "--temperature", "11"], 2, "--temperature"),
        (["--ckpt", "BEST", "--nearest", "x.png", "--temperature", "nan"], 2, "--temperature"),
        (["--ckpt", "cluttered-mnist", "--dataset", "images", "--image-dir", "PHOTOS"], 1, "has no labels"),
        (["--ckpt", "BEST", "--image-dir", "PHOTOS"], 1, "is for images and labelled-images, not for digits"),
    ],
)
def test_bad_evaluations_are_one_line(
    command: Command,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        "BEST": str(finished / "best.ckpt"),
        "PHOTOS": str(Path(__file__).parents[3] / "docs" / "images"),
    }
    code, out, error = command(eval_cli.main, *(places.get(a, a) for a in arguments))
    # The folder's pictures may have been prepared on the way, which is said too, and how long it took.
    said = ("preparing ", "prepared pictures are kept in ", f"{places['PHOTOS']}: ")
    lines = [line for line in error.splitlines() if not line.startswith(said)]
    assert (code, out, len(lines)) == (status, "", 1), error
    assert lines[0].startswith("draw-eval: error: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_every_option_is_for_something() -> None:
    """Which of draw-eval's options are given, and for what, goes by the names of its parameters and of a request."""
    fields = {f.name: f.default for f in dataclasses.fields(Request)}
    parameters = inspect.signature(eval_cli.command).parameters
    assert set(parameters) - set(fields) == {"ckpt", "onnx", "as_json", "version"}
    assert set(fields) - set(parameters) == {"file"}
    for name in fields.keys() - {"file"}:
        assert parameters[name].default == fields[name], name
    assert set(options._FOR) < set(fields)


@pytest.mark.parametrize("name", options._FOR)
def test_an_option_that_does_not_fit_is_not_passed_over(name: str) -> None:
    of_model, of_file, needs, _ = options._FOR[name]
    given = {name: 7, **dict.fromkeys(needs[:1], 7)}
    request = Request("x", **given)  # type: ignore[arg-type]
    for file in ("checkpoint", "ONNX file"):
        for model in ("DRAW network", "classifier"):
            fits = of_file in (None, file) and of_model in (None, model)
            assert (options.misfit(request, file, model) is None) == fits
    alone = Request("x", **{name: 7})  # type: ignore[arg-type]
    assert (options.misfit(alone, of_file or "checkpoint") is None) == (not needs)


def test_a_classifier_of_other_classes(command: Command, data_dir: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(find_packaged("cluttered-mnist", ".ckpt", "checkpoint"))
    assert isinstance(checkpoint.config, ClassifierConfig)
    labels = (*checkpoint.config.labels[1:], "0")  # as many, in another order
    checkpoint.config = dataclasses.replace(checkpoint.config, labels=labels)
    save_checkpoint(tmp_path / "odd.ckpt", checkpoint)
    code, _, error = command(
        eval_cli.main, "--ckpt", tmp_path / "odd.ckpt", "--data-dir", data_dir, "--limit", 9
    )
    assert (code, error.count("\n")) == (1, 1)
    assert "has other classes than the model: 0, 1, 2, 3, … (10), not 1, 2, 3, 4, … (10)" in error


def test_a_model_for_other_pictures(
    command: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    checkpoint = load_checkpoint(finished / "best.ckpt")
    checkpoint.dataset = "cifar10"
    save_checkpoint(tmp_path / "odd.ckpt", checkpoint)
    code, _, error = command(eval_cli.main, "--ckpt", tmp_path / "odd.ckpt", "--dataset", "digits")
    assert code == 0, error
    code, _, error = command(eval_cli.main, "--ckpt", tmp_path / "odd.ckpt", "--data-dir", tmp_path)
    assert code == 1
    assert "cifar" in error


def test_a_hub_folder_is_its_scorer(command: Command, finished: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    code, _, error = command(export_cli.main, "--ckpt", finished / "best.ckpt", "--hub", hub)
    assert code == 0, error
    figures = [
        command(eval_cli.main, "--limit", 20, "--threads", 1, *given)
        for given in (("--onnx", hub), ("--onnx", hub / "scorer.onnx"))
    ]
    assert figures[0] == figures[1]
    assert "nats" in figures[0][1]


def test_json_has_no_infinities() -> None:
    values = {"a": [1.0, math.inf, (math.nan,)], "b": {"c": -math.inf}, "d": 2, "e": "x"}
    assert eval_cli._plain(values) == {"a": [1.0, None, [None]], "b": {"c": None}, "d": 2, "e": "x"}


def test_what_was_trained_on_is_said(capsys: pytest.CaptureFixture[str], bars: Dataset) -> None:
    """Of sets with --all-digits too: validation figures of digits that were trained on say nothing."""
    mnist = dataclasses.replace(bars, name="mnist")
    plain = Checkpoint(DrawConfig(), "mnist", {}, train_size=48, train_checksum=bars.train_checksum)
    both, other = dataclasses.replace(plain, train_size=68), dataclasses.replace(plain, train_size=40)

    def said(checkpoint: Checkpoint, split: str, dataset: Dataset = mnist) -> str:
        files._warn_of_other_pictures(Request("x.ckpt", split=split), checkpoint, dataset)
        return capsys.readouterr().err

    assert said(plain, "valid") == said(plain, "test") == said(both, "test") == ""
    assert "it was trained on the validation pictures too (--all-digits)" in said(both, "valid")
    assert "trained on 40 pictures, which are not the 48 that are left" in said(other, "test")
    assert said(other, "test", dataclasses.replace(bars, name="mnist-dynamic")) == ""
