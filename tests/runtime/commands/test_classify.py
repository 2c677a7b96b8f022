"""draw-classify as its users run it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier
from draw_onnx.runtime.confusion import Confusion
from draw_onnx.runtime.error_rate import ErrorRate
from draw_onnx.runtime.pictures.attention_gifs import write_glimpse_gif
from draw_onnx.runtime.pictures.reading import check_images

from ...onnx_bytes import with_metadata
from ..conftest import SCENES


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"scene{k}.png" for k in range(3)]
    for path, scene in zip(paths, SCENES, strict=False):
        Image.fromarray(scene).save(path)
    return paths


def test_table_json_and_csv_agree_with_the_api(
    run, fake: Path, classifier: Classifier, scenes: list[Path], tmp_path: Path
) -> None:
    expected = classifier(SCENES[:3])
    base = ("classify", "--onnx", fake / "classifier.onnx", *scenes)
    table = run(*base)
    assert table.code == 0, table.err
    assert "3 pictures in" in table.err
    lines = table.out.splitlines()
    assert len(lines) == 4
    for line, path, answer in zip(lines[1:], scenes, expected.answers, strict=True):
        assert line.startswith(str(path))
        assert line.split()[1] == answer
    rows = json.loads(run(*base, "--json").out)
    np.testing.assert_allclose(
        [list(r["probabilities"].values()) for r in rows], expected.probabilities, atol=1e-7
    )
    assert [r["answer"] for r in rows] == expected.answers
    assert [r["picture"] for r in rows] == list(map(str, scenes))
    got = run(*base, "--csv", "--batch", 2, "--threads", 3)
    assert got.err.endswith(" on 3 CPU threads\n")
    parsed = list(csv.DictReader(io.StringIO(got.out)))
    assert [r["answer"] for r in parsed] == expected.answers
    np.testing.assert_allclose(
        [float(r["p_circle"]) for r in parsed], expected.probabilities[:, 0], atol=1e-6
    )


def test_gif_of_glimpses(run, fake: Path, classifier: Classifier, scenes: list[Path], tmp_path: Path) -> None:
    got = run("classify", "--onnx", fake / "classifier.onnx", *scenes, "--gif", tmp_path / "x.gif")
    assert got.code == 0, got.err
    with Image.open(tmp_path / "x.gif") as picture:
        assert getattr(picture, "n_frames", 1) == 3 + 1
    images = check_images(SCENES[:3], classifier.metadata.image_shape)
    look = classifier(images)
    assert look.glimpses is not None
    assert look.read_attention is not None
    answers = zip(look.answers, look.probabilities.max(1), strict=True)
    captions = [f"{answer}  {probability:.1%}" for answer, probability in answers]
    write_glimpse_gif(tmp_path / "z.gif", images, look.glimpses, look.read_attention, captions, fps=2)
    assert (tmp_path / "x.gif").read_bytes() == (tmp_path / "z.gif").read_bytes()
    got = run("classify", "--onnx", fake / "classifier-lean.onnx", *scenes, "--gif", tmp_path / "y.gif")
    assert got.code == 1
    assert "--outputs steps" in got.err
    assert not (tmp_path / "y.gif").exists()


def test_a_folder_with_a_bad_file_goes_on_without_it(
    run, fake: Path, scenes: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "scene1.png").write_text("no picture")
    (tmp_path / "notes.txt").touch()
    got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path, "--csv")
    assert got.code == 0
    assert "skipped: " in got.err
    assert f"{tmp_path}: 3 pictures found, 1 file passed over (1 .txt)\n" in got.err
    assert [line.split(",")[0] for line in got.out.splitlines()[1:]] == [str(scenes[0]), str(scenes[2])]
    got = run("classify", "--onnx", fake / "classifier.onnx", *scenes)
    assert got.code == 1  # named by the user: an error
    assert "scene1.png is no picture" in got.err
    assert got.out == ""


def test_a_folder_of_bad_files_is_an_error(run, fake: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for command in ("classify", "score"):
        model = fake / ("classifier.onnx" if command == "classify" else "scorer.onnx")
        got = run(command, "--onnx", model, tmp_path)
        assert (got.code, got.out) == (1, "")
        assert got.err.splitlines()[-1] == f"draw-{command}: error: none of the pictures could be read"


def test_error_rate_of_an_npz(run, fake: Path, classifier: Classifier, tmp_path: Path) -> None:
    truth = classifier(SCENES).classes.copy()
    truth[:2] = (truth[:2] + 1) % 3  # two wrong answers of eleven
    rate = ErrorRate(11, 2)
    for labels in (truth, np.array(["circle", "cross", "line"])[truth]):
        np.savez(tmp_path / "x.npz", images=SCENES, labels=labels)
        got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path / "x.npz", "--batch", 3)
        assert got.code == 0, got.err
        first, *table = got.out.splitlines()
        assert first == str(rate)
        assert table == Confusion.of(classifier.metadata.labels, truth, classifier(SCENES).classes).lines()
    figures = json.loads(
        run("classify", "--onnx", fake / "classifier.onnx", tmp_path / "x.npz", "--json").out
    )
    matrix = figures.pop("confusion")
    assert [sum(row) for row in matrix] == np.bincount(truth, minlength=3).tolist()
    assert sum(matrix[k][k] for k in range(3)) == 9
    assert figures.pop("labels") == ["circle", "cross", "line"]
    assert figures.pop("images") == figures.pop("answered") == 11
    assert figures == {"errors": 2, "error_rate": 2 / 11, "interval": list(rate.interval)}


def test_an_npz_without_labels_lists_answers(run, fake: Path, classifier: Classifier, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=SCENES[:, :, :, None] / 255.0)  # channels last, floats
    path = (tmp_path / "x.npz").rename(tmp_path / "X.NPZ")
    got = run("classify", "--onnx", fake / "classifier.onnx", path, "--csv")
    assert [line.split(",")[1] for line in got.out.splitlines()[1:]] == classifier(SCENES).answers


def test_usage(run, fake: Path, scenes: list[Path], tmp_path: Path) -> None:
    base = ("classify", "--onnx", fake / "classifier.onnx")
    assert run(*base).code == 2
    assert run(*base, *scenes, "--json", "--csv").code == 2
    assert run(*base, tmp_path / "nothing.png").code == 1
    got = run("classify", "--onnx", fake / "decoder.onnx", *scenes)
    assert got.code == 1
    assert "use draw-gen" in got.err
    np.savez(tmp_path / "x.npz", images=SCENES)
    assert "only argument" in run(*base, tmp_path / "x.npz", scenes[0]).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--confusion", "x.png"], "--confusion needs known classes"),
        (["--gif", "x.gif", "--scale", "64"], "too much for a GIF"),
        (["--scale", "4"], "--scale is for --gif"),
        (["--json", "--fps", "4"], "--fps is for --gif"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for k in range(16):
        Image.fromarray(SCENES[k % len(SCENES)]).save(tmp_path / f"{k}.png")
    got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path, *arguments)
    assert got.code in (1, 2)
    assert words in got.err
    assert "pictures in" not in got.err
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize("name", ["x.npz", "model.onnx"])
def test_neither_the_npz_nor_the_model_is_written_over(run, fake: Path, tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "x.npz", images=SCENES)
    (tmp_path / "model.onnx").write_bytes((fake / "classifier.onnx").read_bytes())
    before = (tmp_path / name).read_bytes()
    gif = tmp_path / "x.gif"
    gif.symlink_to(name)
    got = run("classify", "--onnx", tmp_path / "model.onnx", tmp_path / "x.npz", "--gif", gif)
    assert (got.code, "it is one of the files that are read" in got.err) == (1, True), got.err
    assert (tmp_path / name).read_bytes() == before


def test_labels_that_command_a_terminal_are_shown_escaped(
    run, fake: Path, scenes: list[Path], tmp_path: Path
) -> None:
    labels = ",".join(f"\x1b[31m{k}" for k in range(3))
    path = tmp_path / "x.onnx"
    path.write_bytes(with_metadata((fake / "classifier.onnx").read_bytes(), {"labels": labels}))
    got = run("classify", "--onnx", path, *scenes)
    assert got.code == 0, got.err
    assert "\x1b" not in got.out
    assert "\\x1b[31m" in got.out


def test_a_label_of_two_lines(run, fake: Path, scenes: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(
        with_metadata((fake / "classifier.onnx").read_bytes(), {"labels": "cir\ncle,line,cross"})
    )
    folder = tmp_path / "classes" / "line"
    folder.mkdir(parents=True)
    scenes[0].rename(folder / "a.png")
    for arguments in (
        [*scenes[1:], "--gif", tmp_path / "x.gif"],
        [folder.parent, "--confusion", tmp_path / "x.png"],
    ):
        got = run("classify", "--onnx", path, *arguments)
        assert (got.code, arguments[-1].exists()) == (0, True), got.err


def test_of_two_equal_classes_all_name_the_first(
    run, fake: Path, scenes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Classifier.stream

    def even(self, batches, steps=True):
        for got in call(self, batches, steps):
            yield dataclasses.replace(got, probabilities=np.full_like(got.probabilities, 1 / 3))

    monkeypatch.setattr(Classifier, "stream", even)
    table, rows = (
        run("classify", "--onnx", fake / "classifier.onnx", scenes[0], *option)
        for option in ((), ("--json",))
    )
    first = json.loads(rows.out)[0]["answer"]
    assert table.out.splitlines()[1].split()[1] == first


def test_answers_are_left_open(run, fake: Path, classifier: Classifier, tmp_path: Path) -> None:
    unsure = classifier(SCENES).probabilities.max(1).argsort()[:3]
    expected = classifier(SCENES[unsure])
    probabilities = expected.probabilities.max(1)
    least = float(probabilities[1:].mean())
    scenes = [tmp_path / f"{k}.png" for k in unsure]
    for path, k in zip(scenes, unsure, strict=True):
        Image.fromarray(SCENES[k]).save(path)
    base = ("classify", "--onnx", fake / "classifier.onnx", *scenes, "--min-confidence", least)
    is_open = probabilities < least
    assert is_open.sum() == 2
    rows = json.loads(run(*base, "--json").out)
    assert [row["open"] for row in rows] == is_open.tolist()
    assert [row["answer"] for row in rows] == [
        None if o else a for o, a in zip(is_open, expected.answers, strict=True)
    ]
    assert [row["likeliest"] for row in rows] == expected.answers
    parsed = list(csv.DictReader(io.StringIO(run(*base, "--csv").out)))
    assert [row["open"] for row in parsed] == [str(bool(o)).lower() for o in is_open]
    assert [row["answer"] for row in parsed] == [
        "" if o else a for o, a in zip(is_open, expected.answers, strict=True)
    ]
    lines = run(*base).out.splitlines()[1:]
    assert [line.split()[1] for line in lines] == [
        "open" if o else a for o, a in zip(is_open, expected.answers, strict=True)
    ]
    np.savez(tmp_path / "x.npz", images=SCENES[unsure], labels=expected.classes)
    base = (
        "classify",
        "--onnx",
        fake / "classifier.onnx",
        tmp_path / "x.npz",
        "--min-confidence",
        least,
    )
    figures = json.loads(run(*base, "--json").out)
    assert np.sum(figures.pop("confusion")) == 1
    del figures["labels"]
    assert figures == {
        "images": 3,
        "answered": 1,
        "errors": 0,
        "error_rate": 0.0,
        "interval": list(ErrorRate(1, 0).interval),
        "open": 2,
    }
    assert run(*base).out.splitlines()[1] == "2 of 3 left open"
    assert run(*base[:-1], 1).out == "3 of 3 left open\n"
    assert json.loads(run(*base[:-1], 1, "--json").out)["error_rate"] is None
    assert run(*base[:-1], 1.5).code == 2
