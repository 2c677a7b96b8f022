"""Results of finished runs: a record and pictures each in docs/, and docs/results.md, written from all records.

    python tools/results.py                        # the page anew
    python tools/results.py ~/draw-runs/svhn ...   # take in (or renew) runs first, by their folders' names

A run's figure is the one in its test.txt, which draw-train wrote at its end (and draw-eval on best.ckpt prints
again); the command, the time and the curve are the run's own. A DRAW run is also exported and drawn with
draw-export and draw-gen. Experiments without a run are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from run_folder import ROOT, command_of, curve, curve_table, finished, option, run, stages

from draw_onnx.console import format_duration
from draw_onnx.models.checkpoint import load_checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig
from draw_onnx.train.presets import PRESETS
from draw_onnx.train.stages import Place, place_of

RECORDS = ROOT / "docs" / "results"
IMAGES = ROOT / "docs" / "images" / "results"
FRAMES = 32 * 12  # steps times pictures of the page's GIFs: a longer drawing shows fewer pictures


@dataclass(frozen=True)
class Experiment:
    """What others report, in the paper's unit."""

    title: str
    paper: str
    public: str = "none known"


# The public reproductions' figures are the ones their authors state; none was run here.
EXPERIMENTS = {
    "mnist": Experiment("MNIST, fixed binarised", "80.97 nats", "81.2 to 82.4 nats (200 to 300 epochs)"),
    "mnist-paper": Experiment("MNIST, fixed binarised, the paper's sizes", "80.97 nats"),
    "mnist-no-attention": Experiment("MNIST without attention", "87.40 nats"),
    "mnist-two-digit": Experiment("Two MNIST digits, 60×60", "pictures only"),
    "svhn": Experiment("SVHN, 54×54", "about 5071 nats (validation, read off a plot)"),
    "cifar10": Experiment("CIFAR-10", "pictures only"),
    "cluttered-mnist": Experiment("Cluttered MNIST, 8 glimpses", "3.36 % error"),
    "cluttered-mnist-4": Experiment("Cluttered MNIST, 4 glimpses", "4.18 % error"),
    "mnist-dynamic": Experiment("MNIST, binarised afresh in every batch", "not in the paper"),
    "images": Experiment("A folder of pictures", "not in the paper"),
    "labelled-images": Experiment("A folder for each class", "not in the paper"),
    "digits": Experiment("scikit-learn's digits, 8×8", "not in the paper"),
}


@dataclass(frozen=True)
class Run:
    """One finished run; stored as docs/results/NAME.json."""

    name: str
    preset: str
    figure: str
    command: str
    iterations: int
    epochs: float
    seconds: float
    hardware: str
    sizes: str  # those that differ from the preset's
    curve: list[list]  # [iteration, validation figure]
    starts_from: str = ""  # the model whose weights it started from, as the command names it
    starts_sha256: str = ""  # and which weights these were: a packaged model may be another by now
    weights_sha256: str = ""  # of its best weights
    ends: Sequence[int] = ()  # the last iterations of its stages
    parity: str = ""  # the lines of draw-export's report
    drawn: str = ""  # the options that draw-gen was given
    remark: str = ""  # written by hand: what the record cannot say, e.g. that the preset has changed since


def load_record(file: Path) -> Run:
    return Run(**json.loads(file.read_text(encoding="utf-8")))


def runs_to(last: Run, folder: Path = RECORDS) -> list[Run]:
    """The runs of one preset whose stages follow each other up to this one, which is the last.

    Raises SystemExit where one began from weights that no record in the folder has.
    """
    runs = [last]
    while option(shlex.split(runs[0].command), "--from-stage") is not None:
        made = (load_record(file) for file in sorted(folder.glob("*.json")))
        of = runs[0].starts_sha256, runs[0].preset
        found = next((one for one in made if (one.weights_sha256, one.preset) == of), None)
        if found is None:
            raise SystemExit(f"no record of the run that made the weights of {runs[0].name}'s start")
        runs.insert(0, found)
    return runs


def take_in(folder: Path) -> None:
    """Write a run's record and pictures. Raises SystemExit for a folder without a finished run."""
    folder = folder.resolve()
    last, training = finished(folder)
    settings = training["settings"]
    preset = PRESETS[settings["preset"]]
    # The stages of a preset have its sizes as they were when the run was made; options make one stage of one's own.
    place = place_of(last)
    theirs = vars(last.config) if len(place.plan) > 1 else vars(preset.model) | (preset.stages or ({},))[-1]
    best = load_checkpoint(folder / "best.ckpt")
    words = command_of(folder)
    RECORDS.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    pictures = sorted((folder / "samples").glob("*.png"))
    if pictures:
        shutil.copyfile(pictures[-1], IMAGES / f"{folder.name}.png")
    record = Run(
        name=folder.name,
        preset=settings["preset"],
        figure=(folder / "test.txt").read_text(encoding="utf-8").strip(),
        command=shlex.join(words),
        iterations=last.iteration,
        epochs=epochs(place, training["train_size"]),
        seconds=training["seconds"],
        hardware=training["machine"],
        sizes=", ".join(
            f"{k} {v} (preset {theirs[k]})" for k, v in vars(last.config).items() if v != theirs[k]
        ),
        curve=[list(point) for point in curve(folder / "metrics.csv")],
        starts_from=option(words, "--init-from") or "",
        starts_sha256=settings.get("init_from", ""),
        weights_sha256=weights_sha256(best.weights, best.config),
        ends=stages(folder / "metrics.csv"),
        remark=remark(folder.name, shlex.join(words)),
    )
    if isinstance(last.config, DrawConfig):
        shown = min(12, FRAMES // last.config.time_steps)
        drawn = ["-n", str(shown), "--fps", "8", "--scale", str(max(2, 112 // last.config.image_height))]
        record = dataclasses.replace(record, parity=draw(folder, drawn), drawn=shlex.join(drawn))
    text = json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False)
    (RECORDS / f"{folder.name}.json").write_text(text + "\n", encoding="utf-8")


def epochs(place: Place, train_size: int) -> float:
    """How often a set was seen by the end of a stage, which trained on ``train_size`` pictures."""
    seen = 0.0
    for stage in place.plan[: place.index + 1]:
        size = train_size
        if place.stage.settings.all_digits and not stage.settings.all_digits:
            size -= size // 6  # without the validation set: train/data/mnist.py
        seen += stage.settings.iterations * stage.settings.batch_size / size
    return seen


def remark(name: str, command: str) -> str:
    """What was written by hand into the record that is renewed, if it is of the same run."""
    file = RECORDS / f"{name}.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return old.get("remark", "") if old.get("command") == command else ""


def draw(folder: Path, options: list[str]) -> str:
    """Export the best weights, draw a GIF with them; gives the parity report."""
    with tempfile.TemporaryDirectory() as temporary:
        onnx = Path(temporary) / f"{folder.name}.onnx"
        report = run(["draw-export", "--ckpt", str(folder / "best.ckpt"), "-o", str(onnx)])
        gif = str(IMAGES / f"{folder.name}.gif")
        run(["draw-gen", "--onnx", str(onnx), *options, "--gif", gif])
    lines = report.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("parity"))
    return "\n".join(line for line in lines[start:] if line.startswith(("parity", "  ")))


def page(runs: list[Run]) -> str:
    """The whole document."""
    by_preset: dict[str, list[Run]] = {}
    for one in sorted(runs, key=lambda run: float(run.figure.split()[0])):  # nats and errors: the best first
        by_preset.setdefault(one.preset, []).append(one)
    lines = [
        "# Results",
        "",
        "Written by `python tools/results.py RUN…` from the folders of finished runs; typed in by hand are the paper's",
        "figures, those of public reproductions, and remarks (in italics). Bounds are nats per test image with one noise",
        "draw, lower is better. Times are those of the updates, without validations. No run here had a GPU, which for the",
        "paper's settings means smaller sizes and far fewer epochs than the paper's: compare with that in mind. Square",
        "brackets say which part of the data a figure rests on. Commands stand as they were typed, sizes beside the preset",
        "as it was that day: presets and the packaged models that a name means have changed since, and the SHA-256 says",
        "which weights a run began from.",
        "",
        "| experiment | paper | best public reproduction | ours | time |",
        "|---|---|---|---|---|",
    ]
    sections: list[str] = []
    for name, experiment in EXPERIMENTS.items():
        ours = by_preset.get(name, [])
        if not ours:
            continue
        figures = "<br>".join(f"[{r.figure}](#{r.name}){' *' if r.sizes else ''}" for r in ours)
        times = "<br>".join(format_duration(r.seconds) for r in ours)
        lines.append(
            f"| {experiment.title} (`{name}`) | {experiment.paper} | {experiment.public} |"
            f" {figures} | {times} |"
        )
        for one in ours:
            sections += section(experiment, one, f" ({one.name})" if len(ours) > 1 else "")
    lines += ["", "\\* other sizes than the preset's of that day, see below.", "", *sections]
    return "\n".join(lines)


def section(experiment: Experiment, one: Run, which: str) -> list[str]:
    """One run: command, figure, time, curve, pictures."""
    lines = [
        f'<a id="{one.name}"></a>',
        "",
        f"## {experiment.title}{which}",
        "",
        "```sh",
        one.command,
        "```",
        "",
    ]
    lines += [
        f"**{one.figure}** after {one.iterations:,} iterations, {one.epochs:.3g} epochs, {format_duration(one.seconds)};"
        f" {one.hardware}."
    ]
    if one.starts_from:
        weights = f" (SHA-256 `{one.starts_sha256[:12]}…`)" if one.starts_sha256 else ""
        lines += [
            f"It started from the weights of `{one.starts_from}`{weights}; the time is this run's alone."
        ]
    if one.remark:
        lines += [f"*{one.remark}*"]
    if one.sizes:
        lines += [f"Sizes, beside the preset's of that day: {one.sizes}."]
    lines += ["", *curve_table(one.curve, "validation"), ""]
    if (IMAGES / f"{one.name}.png").exists():
        lines += [f"![{experiment.title}, step by step](images/results/{one.name}.png)", ""]
    if (IMAGES / f"{one.name}.gif").exists():
        lines += [
            f"![{experiment.title}, painted by ONNX Runtime](images/results/{one.name}.gif)",
            "",
            f"`draw-export --ckpt {one.name}/best.ckpt -o {one.name}.onnx`, then"
            f" `draw-gen --onnx {one.name}.onnx {one.drawn} --gif {one.name}.gif`:",
            "",
            "```",
            one.parity,
            "```",
            "",
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs to take in first")
    for folder in parser.parse_args().runs:
        take_in(folder)
    target = ROOT / "docs" / "results.md"
    target.write_text(page([load_record(p) for p in sorted(RECORDS.glob("*.json"))]), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
