"""A folder with a folder for each class: splits, classes, shifts, and the commands around it."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, build_model
from draw_onnx.models.config import ClassifierConfig, ImageSize
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.data.labelled_folder import class_names
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.options import apply_initial, apply_options
from draw_onnx.train.presets import find_preset

SIZE = ImageSize(1, 6, 8)


def load(folder: Path, **options: Any) -> Dataset:
    return load_dataset(
        "labelled-images", None, "cpu", image_dir=folder, image_size=SIZE[1:], channels=1, **options
    )


def make(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Pictures of one level each, all different."""
    level = first
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            Image.fromarray(np.full((6, 8), level, np.uint8)).save(folder / name / f"{k:02}.png")
            level += 1
    return folder


def levels(data: Dataset, split: str) -> dict[int, list[int]]:
    """Levels of the pictures of each class."""
    part = data.evaluation(split)
    assert part.labels is not None
    found: dict[int, list[int]] = {}
    for picture, label in zip(part.images, part.labels.tolist(), strict=True):
        found.setdefault(label, []).append(int(picture[0, 0, 0]))
    return {label: sorted(values) for label, values in found.items()}


def test_each_class_is_split_by_itself_and_always_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = make(tmp_path / "pets", {"dog": 40, "cat": 25, "eel": 3})
    data = load(folder)
    assert data.labels == ("cat", "dog", "eel")
    assert (data.picture_fit, data.binary, data.image) == ("cover", False, SIZE)
    splits = {name: levels(data, name) for name in ("train", "valid", "test")}
    counts = {name: [len(part[k]) for k in range(3)] for name, part in splits.items()}
    assert counts == {"train": [21, 32, 1], "valid": [2, 4, 1], "test": [2, 4, 1]}
    for label, values in enumerate((range(40, 65), range(40), range(65, 68))):
        assert sorted(v for part in splits.values() for v in part[label]) == list(values)
    error = capsys.readouterr().err
    assert f"{folder}: 68 pictures used\n" in error
    assert data.balance == "3 classes, 54 pictures to train on: 1 (eel) to 32 (dog) each"
    again = load(folder.rename(tmp_path / "moved"))
    assert {name: levels(again, name) for name in splits} == splits


def test_another_folder_validates_and_tests(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", {"x": 4, "y": 4})
    other = make(tmp_path / "b", {"x": 5, "y": 2}, first=100)
    data = load(folder, validation_dir=other)
    assert levels(data, "train") == {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]}
    valid, test = levels(data, "valid"), levels(data, "test")
    assert sorted(valid[0] + test[0]) == [100, 101, 102, 103, 104]
    assert (len(valid[0]), len(valid[1]), len(test[1])) == (2, 1, 1)
    (folder / "x").rename(tmp_path / "x")
    with pytest.raises(DrawError, match=r"a: each class needs a picture that can be read; too few are in x"):
        load(folder, validation_dir=other, labels=("x", "y"))
    (tmp_path / "x").rename(folder / "x")
    make(tmp_path / "b", {"z": 2})
    with pytest.raises(DrawError, match=r"b: z is none of the classes x, y"):
        load(folder, validation_dir=other)
    with pytest.raises(DrawError, match=r"--validation-dir: the folder .*/none does not exist"):
        load(folder, validation_dir=tmp_path / "none")


def test_classes_of_a_trained_model_keep_their_numbers(tmp_path: Path) -> None:
    folder = make(tmp_path, {"y": 1, "b": 2})
    data = load(folder, labels=("a", "b", "y"), whole=True)
    assert list(data.evaluations) == ["all"]
    assert levels(data, "all") == {1: [1, 2], 2: [0]}
    with pytest.raises(DrawError, match=r"b is none of the classes a, y"):
        load(folder, labels=("a", "y"), whole=True)


def test_what_cannot_be_a_class(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make(tmp_path / "deep", {"a/b": 3, "a/c": 3, "d": 3, ".": 2, ".hidden": 3})
    assert class_names(tmp_path / "deep") == ("a", "d")
    data = load(tmp_path / "deep")
    assert len(levels(data, "train")[0]) == 4
    assert (
        "9 pictures used, 3 files passed over (2 beside the class folders, 1 hidden)"
        in capsys.readouterr().err
    )
    for counts, message in (
        ({"a": 3}, "at least two classes; it has one, a"),
        ({".": 3}, "it has pictures in no folder below it"),
        ({"a,b": 3, "c": 3}, "the class 'a,b' has a comma"),
        ({"a\tb": 3, "c": 3}, "unprintable"),
    ):
        folder = tmp_path / str(abs(hash(message)))
        with pytest.raises(DrawError, match=re.escape(message)):
            class_names(make(folder, counts))
    with pytest.raises(DrawError, match=r"each class needs 3 pictures; too few are in a, c"):
        load(make(tmp_path / "few", {"a": 2, "b": 3, "c": 1}))


def test_pictures_that_lie_in_no_class_folder(tmp_path: Path) -> None:
    """A class's own folder in the place of the one above it."""
    folder = make(tmp_path, {"cat": 2, "dog": 1}) / "cat"
    with pytest.raises(
        DrawError,
        match=r"--image-dir: .*/cat has 2 pictures beside the class folders and none in one; a picture belongs into"
        r" .*/cat/CLASS, where CLASS is one of cat, dog",
    ):
        load(folder, labels=("cat", "dog"), whole=True)
    with pytest.raises(DrawError, match=r"--validation-dir: .*/dog has 1 picture beside"):
        load(make(tmp_path / "all", {"cat": 2, "dog": 2}), validation_dir=tmp_path / "dog")


def test_all_pictures_are_those_of_one_folder(tmp_path: Path) -> None:
    folder = make(tmp_path, {"cat": 2, "dog": 1})
    with pytest.raises(
        DrawError, match="--validation-dir: the split all is every picture of --image-dir, leave"
    ):
        load(folder, validation_dir=tmp_path / "none", whole=True)


def test_unreadable_pictures_take_their_labels_with_them(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", {"a": 4, "b": 4})
    (folder / "a" / "01.png").write_bytes(b"damaged")
    for _ in range(2):  # read, and from the cache
        data = load(folder, whole=True)
        assert levels(data, "all") == {0: [0, 2, 3], 1: [4, 5, 6, 7]}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Upright and lying bars anywhere in 16 x 16 pictures."""
    folder = tmp_path_factory.mktemp("bars")
    random = np.random.default_rng(0)
    for k in range(120):
        picture = np.zeros((16, 16, 3), np.uint8)
        row, column = random.integers(1, 9, 2)
        upright = k % 2
        picture[row : row + (7 if upright else 2), column : column + (2 if upright else 7)] = 255
        path = folder / ("upright" if upright else "lying") / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


def test_train_export_classify_and_evaluate(command, bars: Path, tmp_path: Path) -> None:
    """The whole way with the commands; what PyTorch and ONNX Runtime answer is the same."""
    from draw_onnx.export import cli as export_cli
    from draw_onnx.runtime.commands import classify
    from draw_onnx.train import cli
    from draw_onnx.train.evaluation import cli as eval_cli

    run = tmp_path / "run"
    base = ("--preset", "labelled-images", "--image-dir", bars, "--image-size", 16, 16, "--read-size", 4)
    small = ("--time-steps", 2, "--hidden", 24, "--batch-size", 16, "--threads", 1, "--iterations", 200)
    code, out, error = command(cli.main, *base, *small, "--lr", 0.01, "--eval-every", 100, "--out", run)
    assert code == 0, error
    assert "2 classes, 96 pictures to train on, 48 each" in error
    assert re.search(r"test: 0\.00 % error", out), out
    code, out, error = command(cli.main, "--resume", "--out", run, "--iterations", 210, "--image-dir", bars)
    assert code == 0, error
    ckpt, onnx = run / "best.ckpt", tmp_path / "bars.onnx"
    assert command(export_cli.main, "--ckpt", ckpt, "-o", onnx)[0] == 0
    evaluate = ("--image-dir", bars, "--split", "all", "--threads", 1)
    _, torch_says, _ = command(eval_cli.main, "--ckpt", ckpt, *evaluate, "--confusion", tmp_path / "a.png")
    _, onnx_says, _ = command(eval_cli.main, "--onnx", onnx, *evaluate, "--confusion", tmp_path / "b.png")
    assert torch_says.replace("a.png", "b.png") == onnx_says
    assert "labelled-images all" in torch_says
    assert "right    answer:   lying upright" in torch_says
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    code, _, error = command(eval_cli.main, "--ckpt", ckpt, *evaluate, "--validation-dir", tmp_path / "none")
    assert (code, "--validation-dir: the split all is every picture of --image-dir" in error) == (1, True)
    code, _, error = command(eval_cli.main, "--onnx", onnx, *evaluate[2:], "--image-dir", bars / "lying")
    assert (code, "60 pictures beside the class folders" in error) == (1, True)
    held = ("--ckpt", ckpt, "--image-dir", bars / "nothing", "--validation-dir", bars)
    assert "the folder" in command(eval_cli.main, *held)[2]
    code, out, error = command(eval_cli.main, *held[:2], "--image-dir", bars, "--validation-dir", bars)
    assert (code, "60 images)" in out, "2 classes" in error) == (0, True, False), (out, error)
    assert "--validation-dir: 120 of its 120 pictures are those of --image-dir" in error
    # Without the folder that was, or was not, held back in training the figures would be flattering.
    assert "trained on 96 pictures, which are not the 120 that are left to train on here" in error
    code, _, error = command(eval_cli.main, *held[:2], "--image-dir", bars)
    assert (code, "trained on" in error) == (0, False), error
    code, out, error = command(classify.main, "--onnx", onnx, bars)
    assert code == 0, error
    assert out.splitlines()[0] == torch_says.splitlines()[1].partition(";")[0]
    code, out, _ = command(classify.main, "--onnx", onnx, bars / "lying", "--csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert sum(row["answer"] == "lying" for row in rows) >= 59


@pytest.mark.parametrize(("height", "width", "read_size"), [(8, 6, 8), (32, 32, 12), (200, 50, 12)])
def test_windows_fit_the_pictures(bars: Path, height: int, width: int, read_size: int) -> None:
    changes = {"image_dir": str(bars), "image_height": height, "image_width": width, "image_channels": 1}
    _, config = apply_options(find_preset("labelled-images"), changes, {})
    assert isinstance(config, ClassifierConfig)
    assert (config.read_size, config.labels) == (read_size, ("lying", "upright"))
    _, config = apply_options(find_preset("labelled-images"), changes, {"read_size": 3})
    assert config.read_size == 3
    weights = build_model(config).state_dict()
    initial = Checkpoint(replace(config, labels=("lying", "slanted")), "labelled-images", weights)
    with pytest.raises(DrawError, match=r"classes are lying, slanted, the folder's lying, upright"):
        apply_initial(find_preset("labelled-images"), initial, {"image_dir": str(bars)}, {})
    initial = Checkpoint(replace(config, attention_bound=2.0), "labelled-images", weights)
    changes = {"image_dir": str(bars), "image_height": height, "image_width": width}
    _, config = apply_initial(find_preset("labelled-images"), initial, changes, {})
    assert config == initial.config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "labelled-images"],
            "needs --image-dir DIR, with a folder of picture files for each class",
        ),
        (["--preset", "labelled-images", "--image-dir", "none"], "the folder .*none does not exist"),
        (["--preset", "labelled-images", "--image-dir", "."], "no pictures in the folder"),
        (["--preset", "digits", "--shift", "2"], "--shift is for mnist and labelled-images, not for digits"),
        (
            ["--preset", "images", "--image-dir", ".", "--validation-dir", "."],
            "--validation-dir is for labelled-images, not for images",
        ),
        (["--preset", "labelled-images", "--image-dir", "BARS", "--latent", "3"], "--latent does not fit"),
        (
            ["--preset", "labelled-images", "--image-dir", "BARS", "--shift", "-1"],
            "--shift must be between 0 and 1,000, not -1",
        ),
    ],
)
def test_bad_options(
    command, bars: Path, tmp_path: Path, monkeypatch, arguments: list[str], message: str
) -> None:
    from draw_onnx.train import cli

    monkeypatch.chdir(tmp_path)
    code, out, error = command(cli.main, *(str(bars) if a == "BARS" else a for a in arguments))
    assert (code, out) == (1, "")
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
