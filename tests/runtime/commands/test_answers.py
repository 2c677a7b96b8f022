"""What draw-classify prints: as data into files and pipes, escaped on a terminal; totals that agree with the rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import typer
from PIL import Image
from rich.cells import cell_len

from draw_onnx.runtime.commands.answers import Answers
from draw_onnx.runtime.commands.classify import command
from draw_onnx.runtime.commands.columns import columns
from draw_onnx.runtime.commands.options import summary
from draw_onnx.runtime.pictures.prepare import Prepared

from ...onnx_bytes import with_metadata

LABELS = "cir\x1b[31mcle,l\x9bi\x7fné,cross"  # a colour, C1's own way to begin one, DEL


@pytest.fixture
def odd(fake: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model and a picture whose names command a terminal."""
    model = tmp_path / "x.onnx"
    model.write_bytes(with_metadata((fake / "classifier.onnx").read_bytes(), {"labels": LABELS}))
    picture = tmp_path / "é \x9b31m.png"
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(picture)
    return model, picture


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_data_is_exact_but_on_a_terminal(
    run, odd: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    model, picture = odd
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda answer=terminal: answer, raising=False)
        got = run("classify", "--onnx", model, picture, form)
        assert got.code == 0, got.err
        assert "é" in got.out
        if terminal:
            assert got.out.replace("\n", "").isprintable()
        if form == "--json":  # escapes of its own: it reads the same
            assert "\x9b" in got.out or terminal
            (row,) = json.loads(got.out)
            assert row["picture"] == str(picture)
            assert list(row["probabilities"]) == LABELS.split(",")
            continue
        (row,) = csv.DictReader(io.StringIO(got.out))
        label = LABELS.split(",")[1]
        if terminal:
            assert row["picture"].endswith(r"é \x9b31m.png")
            assert r"p_l\x9bi\x7fné" in row
        else:
            assert row["picture"] == str(picture)
            assert f"p_{label}" in row


def test_scores_too(run, fake: Path, odd: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    got = run("score", "--onnx", fake / "scorer.onnx", odd[1], "--json")
    assert json.loads(got.out)[0]["picture"] == str(odd[1])
    assert r"\u009b31m.png" in got.out


@pytest.mark.parametrize("least", [0.9, 0.6, float(np.float32(0.9)), None])
def test_totals_count_what_rows_say(least: float | None, capsys: pytest.CaptureFixture[str]) -> None:
    """0.9 as a float32 is less than 0.9, and 0.6 more."""
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)
    names, done = ["0", "1", "2"], [Prepared(np.zeros(0, np.float32))] * 3
    truth = np.array([0, 0, 1])
    answers = Answers(names, probabilities, ("a", "b"), truth, done, least)
    rows = [not answers.is_open(probability) for _, probability in answers.likeliest()]
    confusion = answers.confusion()
    assert confusion is not None
    assert confusion.counts.sum() == sum(rows)
    answers.print_csv()
    printed = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [bool(row["answer"]) for row in printed] == rows


def test_a_confidence_that_is_no_number(run, odd: tuple[Path, Path]) -> None:
    """Typer 0.26 lets it pass as within the range."""
    context = cast(Any, None)
    with pytest.raises(typer.BadParameter, match="--min-confidence must be a number from 0 to 1"):
        command(context, [odd[1]], min_confidence=float("nan"))
    got = run("classify", odd[1], "--min-confidence", "nan")
    assert (got.code, got.out) == (2, "")


WIDE = ("絵", "e\u0301t\u0301e", "plain")  # two places for one letter, none for an accent


def starts(line: str, *words: str) -> list[int]:
    """Places of a terminal before each of these words."""
    return [cell_len(line[: line.index(word)]) for word in words]


def test_no_line_of_a_table_ends_with_blanks() -> None:
    assert columns([["a", "long"], ["bb", "x"], ["c", ""]]) == ["a   long", "bb  x", "c"]
    assert columns([["a", "long"], ["bb", "x"]], right=(0, 1)) == [" a  long", "bb     x"]


def test_columns_of_letters_of_two_places(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["写真.png", "a.png", "dé.png"]
    done = [Prepared(np.zeros(0, np.float32))] * 3
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]], np.float32)
    Answers(names, probabilities, WIDE, None, done, None).print_table()
    head, *rows = capsys.readouterr().out.splitlines()
    begin = starts(head, "answer", "runner-up", "prepared")
    for row, answer, second in zip(rows, WIDE, (WIDE[1], WIDE[0], WIDE[1]), strict=True):
        assert starts(row, f" {answer} ", f" {second} 20.00%", " as it is") == [k - 1 for k in begin]
    assert len({cell_len(row[: row.index("70.00%")]) for row in rows}) == 1


def test_a_confusion_of_letters_of_two_places(capsys: pytest.CaptureFixture[str]) -> None:
    done = [Prepared(np.zeros(0, np.float32))] * 2
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.1, 0.7]], np.float32)
    Answers(["0", "1"], probabilities, WIDE, np.array([1, 2]), done, None).print_table()
    _, head, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert {cell_len(row) for row in rows} == {cell_len(head)}


def test_scores_of_letters_of_two_places(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("写真.png", "a picture.png"):
        Image.fromarray(np.zeros((7, 6), np.uint8)).save(name)
    got = run("score", "--onnx", fake / "scorer.onnx", "写真.png", "a picture.png")
    assert got.code == 0, got.err
    assert len({cell_len(line) for line in got.out.splitlines()}) == 1


@pytest.mark.parametrize(
    ("count", "threads", "provider", "expected"),
    [
        (1, 1, "cpu", "1 picture in 0.50 s (2 pictures/s) on 1 CPU thread"),
        (3000, 4, "cpu", "3000 pictures in 0.50 s (6,000 pictures/s) on 4 CPU threads"),
        (2, 4, "cuda", "2 pictures in 0.50 s (4 pictures/s) on CUDA"),
    ],
)
def test_how_fast_it_was(count: int, threads: int, provider: str, expected: str) -> None:
    model = cast(Any, SimpleNamespace(threads=threads, provider=provider))
    assert summary(count, 0.5, model) == expected
