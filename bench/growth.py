"""How the time of a picture grows with T, h and the size of the picture, beside eager torch and the two floors.

The paper-size decoder with random weights, one of the three varied at a time, in bulk. --plot draws it.

    python bench/growth.py --plot growth.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import sampling
from floors import step_of
from measure import (
    EAGER,
    ORT_FLOOR,
    TORCH_FLOOR,
    best_of,
    common,
    instruction_set,
    medians,
    save_json,
    shares_table,
    work_or_compare,
    workers_in_turns,
)

AXES = {"T": (8, 16, 32, 64, 128), "h": (64, 128, 256, 512), "side": (28, 56, 112)}
START = {"T": 64, "h": 256, "side": 28}  # as sampling.model_config takes them
FILES = {name: sampling.ONNX_FILES[name] for name in ("image", "lstm")}


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=0.5)
    parser.add_argument("--batch", type=int, default=32, help="pictures at a time")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="what is varied")
    parser.add_argument("--points", type=int, default=5, help="at most so many points on an axis, the first")
    parser.add_argument("--plot", type=Path, help="a PNG of it")
    work_or_compare(parser, worker, compare)


def points(arguments: argparse.Namespace) -> dict[str, Any]:
    """``"T 8"`` -> the model of that size."""
    return {
        f"{axis} {value}": sampling.model_config(*{**START, axis: value}.values())
        for axis in arguments.axes
        for value in AXES[axis][: arguments.points]
    }


def compare(arguments: argparse.Namespace) -> None:
    for name, config in points(arguments).items():
        sampling.prepare(arguments.folder / name, config, FILES)
    contenders = (ORT_FLOOR, TORCH_FLOOR, EAGER, *FILES)
    raw, failed = workers_in_turns(arguments, {name: [name] for name in contenders})
    save_json(arguments.json, raw)
    seconds = medians(raw)
    print(f"decoder, {arguments.batch} at a time, 1 thread, {instruction_set()}\n")
    for axis in arguments.axes:
        columns = {name: name for name in points(arguments) if name.startswith(f"{axis} ")}
        print(shares_table(seconds, columns, failed) + "\n")
    if arguments.plot:
        plot(seconds, arguments)
        print(f"plotted: {arguments.plot}")


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a picture of one contender, at every point."""
    (kind,), batch = arguments.worker, arguments.batch
    found = {}
    for name, config in points(arguments).items():
        folder = arguments.folder / name
        if kind == EAGER:
            step = sampling.torch_sampler(folder, 1)
        else:
            step = step_of(kind, folder, 1, lambda config=config: config)
        found[name] = best_of(step(batch), arguments.seconds) / batch
    return found


def plot(seconds: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    from draw_onnx.train.evaluation.plots import save_figure

    figure = Figure(figsize=(3.4 * len(arguments.axes), 3.4), layout="constrained")
    panels = figure.subplots(1, len(arguments.axes), squeeze=False)[0]
    labels = {"T": "steps T", "h": "hidden size h", "side": "side of the picture, pixels"}
    for axes, axis in zip(panels, arguments.axes, strict=True):
        ticks = AXES[axis][: arguments.points]
        for name, at in seconds.items():
            values = [1e3 * at[f"{axis} {tick}"] for tick in ticks]
            style = "--" if name in (ORT_FLOOR, TORCH_FLOOR) else "-"
            axes.plot(ticks, values, style, marker="o", markersize=3, label=name)
        axes.set(xscale="log", yscale="log", xlabel=labels[axis])
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"ms a picture, {arguments.batch} at a time")
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(instruction_set(), fontsize="small")
    save_figure(figure, arguments.plot)


if __name__ == "__main__":
    main()
