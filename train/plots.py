"""Plots, with matplotlib."""

from __future__ import annotations

from pathlib import Path

from ..files import write_atomically


def plot_kl(kl_per_step: tuple[float, ...], title: str, path: Path) -> None:
    """Bars of the KL of each step, in nats: where the network puts its information."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(1, len(kl_per_step) + 1), kl_per_step, color="#3b6ea5")
    axes.set(xlabel="step", ylabel="KL (nats)", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))
