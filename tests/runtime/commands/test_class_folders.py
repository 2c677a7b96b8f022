"""draw-classify on folders of pictures in a folder for each class."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from draw_onnx import Classifier
from draw_onnx.runtime.error_rate import ErrorRate

from ..conftest import SCENES


@pytest.fixture
def classes(classifier: Classifier, tmp_path: Path) -> Path:
    """A folder with a folder for each class, one picture deeper, and what the classifier makes of them."""
    for k, (scene, answer) in enumerate(zip(SCENES, classifier(SCENES).answers, strict=True)):
        folder = tmp_path / "classes" / (answer if k else "line") / ("deep" if k % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(folder / f"{k}.png")
    return tmp_path / "classes"


def test_folders_of_classes_are_scored(
    run, fake: Path, classifier: Classifier, classes: Path, tmp_path
) -> None:
    wrong = int(classifier(SCENES[:1]).answers[0] != "line")
    base = ("classify", "--onnx", fake / "classifier.onnx", classes)
    got = run(*base, "--confusion", tmp_path / "x.png")
    assert got.code == 0, got.err
    assert got.out.splitlines()[0] == str(ErrorRate(11, wrong))
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 100
    (classes / "line" / "0.png").write_bytes(b"damaged")
    assert run(*base, "--json").out.startswith('{\n "images": 10,\n "answered": 10,\n "errors": 0,')
    Image.fromarray(SCENES[0]).save(classes / "beside.png")
    got = run(*base)
    assert got.code == 0
    assert "not scored: some folders are classes of the model, but pictures lie in no folder" in got.err
    assert got.out.startswith("picture ")
    (classes / "beside.png").unlink()
    (classes / "line").rename(classes / "lines")
    assert "the folder lines is none of the classes" in run(*base).err


def test_a_confusion_needs_known_classes(run, fake: Path, tmp_path: Path) -> None:
    Image.fromarray(SCENES[0]).save(tmp_path / "scene.png")
    got = run(
        "classify",
        "--onnx",
        fake / "classifier.onnx",
        tmp_path / "scene.png",
        "--confusion",
        tmp_path / "x.png",
    )
    assert got.code == 1
    assert "--confusion needs known classes" in got.err
    assert not (tmp_path / "x.png").exists()
