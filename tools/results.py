"""Write docs/results.md from the folders of finished runs.

    python tools/results.py ~/draw-runs/mnist ~/draw-runs/cluttered-mnist ...

A run's figure is the one in its test.txt, which draw-train wrote at its end (and draw-eval on best.ckpt prints
again); the command, the time and the curve are the run's own. Experiments without a run are listed as such.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from package_model import cpu, curve

from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train.presets import PRESETS
from draw_onnx.train.trainer import format_duration

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images" / "results"


@dataclass(frozen=True)
class Experiment:
    """What others report, in the paper's unit."""

    title: str
    paper: str
    public: str = "none known"


# The public reproductions' figures are the ones their authors state; none was run here.
EXPERIMENTS = {
    "mnist": Experiment("MNIST, fixed binarised", "80.97 nats", "81.2 to 82.4 nats (200 to 300 epochs)"),
    "mnist-no-attention": Experiment("MNIST without attention", "87.40 nats"),
    "mnist-two-digit": Experiment("Two MNIST digits, 60×60", "pictures only"),
    "svhn": Experiment("SVHN, 54×54", "about 5071 nats (validation, read off a plot)"),
    "cifar10": Experiment("CIFAR-10", "pictures only"),
    "cluttered-mnist": Experiment("Cluttered MNIST, 8 glimpses", "3.36 % error"),
    "cluttered-mnist-4": Experiment("Cluttered MNIST, 4 glimpses", "4.18 % error"),
    "mnist-dynamic": Experiment("MNIST, binarised afresh in every batch", "not in the paper"),
    "images": Experiment("A folder of pictures", "not in the paper"),
    "digits": Experiment("scikit-learn's digits, 8×8", "not in the paper"),
}


@dataclass(frozen=True)
class Run:
    """What one folder says."""

    path: Path
    preset: str
    figure: str
    command: str
    iterations: int
    epochs: float
    seconds: float
    note: str  # sizes that differ from the preset's
    picture: Path | None


def read_run(folder: Path) -> Run:
    """Raises SystemExit for a folder without a finished run."""
    if not (folder / "test.txt").exists():
        raise SystemExit(f"{folder} holds no finished run: it has no test.txt")
    last = load_checkpoint(folder / "last.ckpt")
    assert last.training is not None
    settings = last.training["settings"]
    preset = PRESETS[settings["preset"]]
    # ClassifierConfig and DrawConfig compare field by field.
    ours, theirs = vars(last.config), vars(preset.model)
    note = ", ".join(f"{k} {v} (preset {theirs[k]})" for k, v in ours.items() if v != theirs.get(k))
    pictures = sorted((folder / "samples").glob("*.png"))
    train = {"mnist": 50_000, "mnist-dynamic": 50_000, "mnist-no-attention": 50_000, "digits": 1397}
    size = train.get(settings["preset"], 0)
    return Run(
        path=folder,
        preset=settings["preset"],
        figure=(folder / "test.txt").read_text(encoding="utf-8").strip(),
        command=(folder / "command.txt").read_text(encoding="utf-8").strip(),
        iterations=last.iteration,
        epochs=last.iteration * settings["batch_size"] / size if size else 0.0,
        seconds=last.training["seconds"],
        note=note,
        picture=pictures[-1] if pictures else None,
    )


def page(runs: list[Run]) -> str:
    """The whole document."""
    by_preset: dict[str, list[Run]] = {}
    for run in runs:
        by_preset.setdefault(run.preset, []).append(run)
    lines = [
        "# Results",
        "",
        "Written by `python tools/results.py RUN…` from the folders of finished runs; nothing is typed in by hand but the",
        "paper's figures and those of public reproductions. Bounds are nats per test image with one noise draw, lower is",
        f"better. Every run here: one thread of a shared two-core machine ({cpu()}), no GPU, which for the paper's settings",
        "means far fewer epochs than the paper's: compare with that in mind.",
        "",
        "| experiment | paper | best public reproduction | ours |",
        "|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        figures = "<br>".join(f"{run.figure}{' *' if run.note else ''}" for run in by_preset.get(name, []))
        lines.append(
            f"| {experiment.title} (`{name}`) | {experiment.paper} | {experiment.public} | {figures or 'not trained yet'} |"
        )
    lines += ["", "\\* other sizes than the preset's, see below.", ""]
    for name, experiment in EXPERIMENTS.items():
        for run in by_preset.get(name, []):
            lines += section(experiment, run)
    return "\n".join(lines)


def section(experiment: Experiment, run: Run) -> list[str]:
    """One run: command, figure, time, curve, picture."""
    points = curve(run.path / "metrics.csv")
    epochs = f", {run.epochs:.0f} epochs" if run.epochs else ""
    lines = [f"## {experiment.title}", "", "```sh", run.command, "```", ""]
    lines += [
        f"**{run.figure}** after {run.iterations:,} iterations{epochs}, {format_duration(run.seconds)}."
    ]
    if run.note:
        lines += [f"Sizes: {run.note}."]
    header, values = (" | ".join(str(p[i]) for p in points) for i in (0, 1))
    lines += [
        "",
        f"| iteration | {header} |",
        f"|---|{'---|' * len(points)}",
        f"| validation | {values} |",
        "",
    ]
    if run.picture is not None:
        IMAGES.mkdir(parents=True, exist_ok=True)
        target = IMAGES / f"{run.path.name}.png"
        shutil.copyfile(run.picture, target)
        lines += [f"![{experiment.title}](images/results/{target.name})", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    target = ROOT / "docs" / "results.md"
    target.write_text(page([read_run(run) for run in parser.parse_args().runs]), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
