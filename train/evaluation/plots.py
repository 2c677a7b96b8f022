"""Plots, with matplotlib."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...files import atomic_write
from .calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_kl(kl_per_step: tuple[float, ...], title: str, path: Path) -> None:
    """Bars of the KL of each step, in nats: where the network puts its information."""
    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    axes.bar(range(1, len(kl_per_step) + 1), kl_per_step, color="#3b6ea5")
    axes.set(xlabel="step", ylabel="KL (nats)", title=title)
    save_figure(figure, path)


def plot_reliability(calibration: Calibration, title: str, path: Path) -> None:
    """A reliability diagram: the share of right answers in each bin of confidence, and how many answers it has."""
    figure = _figure(4.8, 5.2)
    axes, below = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    bins = len(calibration.count)
    some = calibration.count > 0
    edges = np.arange(bins)[some] / bins
    sure, right = calibration.confidence[some], calibration.accuracy[some]
    axes.bar(edges, right, 1 / bins, align="edge", color="#3b6ea5", edgecolor="white")
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="as sure as right")
    axes.plot(sure, right, "o", color="#c8452f", label="mean confidence")
    axes.set(ylabel="right answers", ylim=(0, 1.02))
    axes.set_title(
        f"{textwrap.fill(title, 60)}\ncalibration error {100 * calibration.error:.2f} %", fontsize="small"
    )
    axes.legend(frameon=False, loc="upper left")
    below.bar(edges, calibration.count[some], 1 / bins, align="edge", color="0.6", edgecolor="white")
    below.set(xlabel="probability of the answer", ylabel="answers", xlim=(0, 1), yscale="log")
    save_figure(figure, path)


def plot_curve(points: list[tuple[int, float]], label: str, title: str, path: Path) -> None:
    """A run's validations, (iteration, figure), each of them; lower is better."""
    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    iterations, values = zip(*points, strict=True)
    axes.plot(iterations, values, color="#3b6ea5", marker="." if len(points) < 60 else "")
    # The first validations of a run from random weights would flatten the rest.
    best, worst = min(values), sorted(values)[int(0.9 * (len(values) - 1))]
    axes.set_ylim(best - 0.1 * (worst - best) - 1e-6, worst + 0.2 * (worst - best) + 1e-6)
    axes.set(xlabel="iteration", ylabel=label, title=title)
    axes.grid(axis="y", alpha=0.3)
    save_figure(figure, path)


def _figure(width: float, height: float) -> Figure:
    """An empty one of this size in inches."""
    # Of a home that cannot be written it has two lines of its own, and does without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """As a PNG, its plots open at the top and on the right."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
