"""The expected calibration error and its diagram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from draw_onnx.train.evaluation import plots
from draw_onnx.train.evaluation.calibration import BINS, calibrate
from draw_onnx.train.evaluation.figures import error_figures
from draw_onnx.train.evaluation.plots import plot_reliability

RNG = np.random.default_rng(2)


def test_a_worked_example() -> None:
    """Two bins: three answers at 0.9, two of them right; one at 0.5, right."""
    got = calibrate(np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True]))
    assert got.error == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.5)
    assert got.mean_confidence == pytest.approx(0.8)
    assert got.count[13] == 3
    assert got.count[7] == 1
    assert got.count.sum() == 4


def test_true_probabilities_show_what_chance_gives() -> None:
    sure = RNG.random(20_000) ** 0.3
    errors = [calibrate(sure, RNG.random(len(sure)) < sure).error for _ in range(20)]
    assert np.mean(errors) == pytest.approx(calibrate(sure, sure > 0).chance, rel=0.1)
    assert calibrate(sure, RNG.random(len(sure)) < sure - 0.1).error > 0.08


def test_certain_answers() -> None:
    got = calibrate(np.ones(5, np.float32), np.ones(5, np.bool_))
    assert (got.error, got.chance, got.count[BINS - 1]) == (0, 0, 5)
    assert calibrate(np.ones(5), np.zeros(5, np.bool_)).error == 1


def test_figures_from_logits() -> None:
    logits = torch.tensor([[0.0, 2.0], [3.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    labels = torch.tensor([1, 1, 0])
    got = error_figures([(logits[:2], labels[:2]), (logits[2:], labels[2:])])
    assert (got.images, got.wrong) == (3, 1)
    assert got.cross_entropy == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    assert got.calibration.mean_confidence == pytest.approx(float(logits.softmax(1).amax(1).mean()))


def test_the_diagram(tmp_path: Path) -> None:
    sure = RNG.random(300)
    for name, confidences in (("all.png", sure), ("one.png", sure[:1])):
        plot_reliability(calibrate(confidences, confidences > 0.3), "a set", tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 400
            assert len(picture.convert("L").getcolors() or []) > 5


def test_a_long_title_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the note of a part of a set, which has the most words."""
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    title = "cluttered-mnist test [1,500 of 10,000 images, evenly spread, 12,345 of 50,000 training images]"
    plot_reliability(calibrate(np.ones(2), np.array([True, False])), title, Path("x.png"))
    drawn[0].draw_without_rendering()
    extent = drawn[0].axes[0].title.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= drawn[0].bbox.width
