"""How the time of a picture grows with T, h and the size of the picture, beside eager torch and the two floors.

The paper-size decoder with random weights, one of the three varied at a time, in bulk. --plot draws it.

    python bench/growth.py --plot growth.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import sampling
from floors import decoder, onnx_floor, torch_floor, write_floor
from measure import (
    EAGER,
    ORT_FLOOR,
    TORCH_FLOOR,
    again,
    best_of,
    common,
    in_turns,
    instruction_set,
    medians,
    save_json,
    shares_table,
    work_or_compare,
)

AXES = {"T": (8, 16, 32, 64, 128), "h": (64, 128, 256, 512), "side": (28, 56, 112)}
START = {"T": 64, "h": 256, "side": 28}
FILES: dict[str, dict[str, Any]] = {
    "image": {"outputs": "image"},
    "lstm": {"outputs": "image", "recurrence": "lstm"},
}


def main() -> None:
    parser = common(__doc__, rounds=3, seconds=0.5)
    parser.add_argument("--batch", type=int, default=32, help="pictures at a time")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="what is varied")
    parser.add_argument("--points", type=int, default=5, help="at most so many points on an axis, the first")
    parser.add_argument("--plot", type=Path, help="a PNG of it")
    arguments = parser.parse_args()
    work_or_compare(arguments, worker, compare)


def points(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    """``"T 8"`` -> the sizes of that point."""
    return {
        f"{axis} {value}": {**START, axis: value}
        for axis in arguments.axes
        for value in AXES[axis][: arguments.points]
    }


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    for name, sizes in points(arguments).items():
        prepare(folder, name, sizes)
    options = ["--batch", str(arguments.batch), "--points", str(arguments.points), "--axes", *arguments.axes]
    commands = {
        name: [*again(__file__, arguments, folder, name), *options]
        for name in (ORT_FLOOR, TORCH_FLOOR, EAGER, *FILES)
    }
    raw, failed = in_turns(commands, arguments.rounds)
    save_json(arguments.json, raw)
    seconds = medians(raw)
    print(f"decoder, {arguments.batch} at a time, 1 thread, {instruction_set()}\n")
    for axis in arguments.axes:
        columns = {name: name for name in points(arguments) if name.startswith(f"{axis} ")}
        print(shares_table(seconds, columns, failed) + "\n")
    if arguments.plot:
        plot(seconds, arguments)
        print(f"plotted: {arguments.plot}")


def prepare(folder: Path, name: str, sizes: dict[str, int]) -> None:
    from draw_onnx.export import ExportOptions, build
    from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint

    config = sampling.model_config(sizes["T"], sizes["h"], sizes["side"])
    checkpoint = Checkpoint(config, "mnist", build_model(config).state_dict())
    save_checkpoint(folder / f"{name}.ckpt", checkpoint)
    for kind, options in FILES.items():
        (folder / f"{name}.{kind}.onnx").write_bytes(build(checkpoint, ExportOptions(**options)))
    write_floor(decoder(config), folder / f"{name}.floor.onnx")


def worker(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds a picture of one contender, at every point."""
    kind, folder, batch = arguments.worker[0], arguments.folder, arguments.batch
    if kind in (TORCH_FLOOR, EAGER):
        import torch

        torch.set_num_threads(1)
    found = {}
    for name, sizes in points(arguments).items():
        if kind in FILES:
            step, _ = sampling.onnx_sampler(folder / f"{name}.{kind}.onnx", 1)
            run = step(batch)
        elif kind == ORT_FLOOR:
            run = onnx_floor(folder / f"{name}.floor.onnx", batch, 1)
        elif kind == TORCH_FLOOR:
            run = torch_floor(decoder(sampling.model_config(sizes["T"], sizes["h"], sizes["side"])), batch)
        else:
            run = sampling.torch_sampler(sampling.torch_model(folder / f"{name}.ckpt", 1), False)(batch)
        found[name] = best_of(run, arguments.seconds) / batch
    return found


def plot(seconds: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(arguments.axes), 3.4), layout="constrained")
    panels = figure.subplots(1, len(arguments.axes), squeeze=False)[0]
    labels = {"T": "steps T", "h": "hidden size h", "side": "side of the picture, pixels"}
    for axes, axis in zip(panels, arguments.axes, strict=True):
        for name, at in seconds.items():
            keys = [key for key in points(arguments) if key.startswith(f"{axis} ")]
            values = [1e3 * at[key] for key in keys]
            style = "--" if name in (ORT_FLOOR, TORCH_FLOOR) else "-"
            axes.plot(
                [int(key.split()[1]) for key in keys], values, style, marker="o", markersize=3, label=name
            )
        ticks = AXES[axis][: arguments.points]
        axes.set(xscale="log", yscale="log", xlabel=labels[axis])
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"ms a picture, {arguments.batch} at a time")
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(instruction_set(), fontsize="small")
    figure.savefig(arguments.plot, format="png", dpi=120)


if __name__ == "__main__":
    main()
