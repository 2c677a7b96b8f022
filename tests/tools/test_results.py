"""The results page: what stands on it comes from a run's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from draw_onnx.models.config import DrawConfig
from draw_onnx.train import cli
from draw_onnx.train.presets import PRESETS
from draw_onnx.train.settings import TrainSettings
from draw_onnx.train.stages import Place, Stage

from ..conftest import Command


def test_the_page_is_what_the_records_give(results: Any) -> None:
    records = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(results.RECORDS.glob("*.json"))]
    assert records
    page = (results.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == results.page([results.Run(**record) for record in records]), "run python tools/results.py"
    assert "/root" not in page
    assert "/home" not in page


def test_every_preset_has_a_row(results: Any) -> None:
    """A run of another would be left out of the page without a word."""
    assert set(results.EXPERIMENTS) == set(PRESETS)


def test_a_command_is_quoted_without_this_machines_folders(results: Any, tmp_path: Path) -> None:
    (tmp_path / "command.txt").write_text(
        "draw-train --preset images --out /a/runs/x --data-dir /a/data --image-dir '/a/my photos'"
        " --init-from /a/runs/first/best.ckpt --lr 1e-3 --validation-dir=/a/held --init-from=/a/runs/first/best.ckpt\n"
    )
    assert results.command_of(tmp_path) == [
        *("draw-train", "--preset", "images", "--image-dir", "my photos"),
        *("--init-from", "first/best.ckpt", "--lr", "1e-3"),
        *("--validation-dir=held", "--init-from=first/best.ckpt"),
    ]


def test_taking_in_a_run(
    results: Any, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train for a moment, take the run in: figure, curve, parity and pictures are the run's."""
    run = tmp_path / "tiny"
    sizes = ("--hidden", 8, "--time-steps", 2, "--latent", 2, "--threads", 1)
    code, _, error = command(cli.main, "--out", run, *sizes, "--iterations", 4, "--eval-every", 2)
    assert code == 0, error
    for name, folder in (("RECORDS", "records"), ("IMAGES", "images")):
        monkeypatch.setattr(results, name, tmp_path / folder)
    results.take_in(run)
    record = json.loads((tmp_path / "records" / "tiny.json").read_text(encoding="utf-8"))
    assert record["figure"] == (run / "test.txt").read_text().strip()
    assert record["command"].startswith("draw-train --hidden 8")
    assert [point[0] for point in record["curve"]] == [2, 4]
    assert record["epochs"] == pytest.approx(4 * 100 / 1397)
    assert "hidden_size 8 (preset 64)" in record["sizes"]
    assert record["parity"].startswith("parity with torch float64:")
    assert {p.name for p in (tmp_path / "images").iterdir()} == {"tiny.png", "tiny.gif"}
    page = results.page([results.Run(**record)])
    assert page.count(record["figure"]) == 2
    assert "images/results/tiny.gif" in page


def test_epochs_of_all_stages(results: Any) -> None:
    """Also where the last has validation's digits, a sixth of the file, to train on."""
    settings = TrainSettings("mnist-two-digit", "mnist-two-digit", 500)
    config = DrawConfig(1, 60, 60)
    plan = Stage(settings, config), Stage(settings.replace(iterations=600, all_digits=True), config)
    assert results.epochs(Place(plan), 50_000) == 1
    assert results.epochs(Place(plan, 1, 500), 60_000) == 2


def test_an_unfinished_run_is_refused(results: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no finished run: it has no test\.txt"):
        results.take_in(tmp_path)
