"""Put a run's best weights into pretrained/: safetensors, ONNX file, and a card whose figures it measures.

    python tools/package_model.py ~/draw-runs/mnist mnist --data-dir DATA

Every figure on the card is what the command beside it printed when this was run. Nothing is copied from logs
but the training time and the curve, which cannot be measured again. Nothing is packaged that its command did not
make: a run that began from other weights, that was resumed with another length, or that has not finished is refused.
A preset's later stages may be another run's than its first (draw-train --from-stage), on another machine: --before
names the record of the run that made the stage before; the runs before that one are found by the weights they made.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from card import Printed, figures_of, page
from results import Run, load_record, runs_to
from run_folder import ROOT, command_of, finished, option, run, stages, validations

from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_weights
from draw_onnx.models.config import DrawConfig
from draw_onnx.train.evaluation.plots import plot_curve
from draw_onnx.train.evaluation.recognisability import DATASETS as DIGITS
from draw_onnx.train.evaluation.recognisability import PAIRS
from draw_onnx.train.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of draw-train")
    parser.add_argument("name", help="name in pretrained/")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DRAW_DATA"), help="as for draw-eval")
    parser.add_argument(
        "--importance", type=int, default=100, help="samples of the importance-weighted bound"
    )
    parser.add_argument("--limit", type=int, default=1000, help="pictures that it is taken over")
    parser.add_argument("--recognise", type=int, default=1000, help="samples to have read")
    parser.add_argument(
        "--before", type=Path, help="docs/results/RUN.json of the run that made the stage before"
    )
    given = parser.parse_args()
    before = runs_to(load_record(given.before), given.before.parent) if given.before else []
    how = given.importance, given.limit, given.recognise
    card = package(given.run, given.name, given.data_dir, *how, before)
    print(f"wrote {card}")


def package(
    folder: Path,
    name: str,
    data_dir: Path | None,
    importance: int,
    limit: int,
    recognise: int,
    before: Sequence[Run] = (),
    root: Path = ROOT,
) -> Path:
    """Write ``pretrained/NAME.safetensors``, ``.onnx`` and ``.md`` and ``docs/images/NAME-*.png`` below ``root``.

    Returns:
        The card.

    Raises:
        SystemExit: a run whose weights its command did not make.
    """
    check_run(folder, before)
    best, last = (load_checkpoint(folder / file) for file in ("best.ckpt", "last.ckpt"))
    weights, onnx, card = (f"pretrained/{name}{suffix}" for suffix in (".safetensors", ".onnx", ".md"))
    save_weights(root / weights, best)
    data = ["--data-dir", str(Path(data_dir).resolve())] if data_dir else []
    printed: Printed = []
    for command in commands(best, name, weights, onnx, importance, limit, recognise):
        hidden = data if command[0] == "draw-eval" else []
        printed.append((command, run(command, hidden, root)))
    # The header has the test figures too.
    save_weights(root / weights, dataclasses.replace(best, metrics=best.metrics | figures_of(printed)))
    words, metrics = command_of(folder), folder / "metrics.csv"
    unit = "nats" if isinstance(best.config, DrawConfig) else "% error"
    earlier = [(int(iteration), float(figure)) for one in before for iteration, figure in one.curve]
    diagram = root / f"docs/images/{name}-curve.png"
    plot_curve([*earlier, *validations(metrics)], f"validation, {unit}", name, diagram)
    (root / card).write_text(page(name, best, last, words, printed, metrics, before), encoding="utf-8")
    return root / card


def commands(
    best: Checkpoint, name: str, weights: str, onnx: str, importance: int, limit: int, recognise: int
) -> list[list[str]]:
    """What the card shows, in order."""
    export = ["draw-export", "--ckpt", weights, "-o", onnx]
    plain = ["draw-eval", "--ckpt", weights]
    if not isinstance(best.config, DrawConfig):
        diagram = f"docs/images/{name}-calibration.png"
        return [export, plain, ["draw-eval", "--onnx", onnx, "--calibration", diagram]]
    # Evenly spread: binarised MNIST's test file is sorted by class, its first rows are no sample.
    weighted = [*plain, "--importance", str(importance), "--limit", str(limit)]
    cooler: list[list[str]] = []
    if best.dataset in DIGITS:
        sheets = [f"docs/images/{name}-{kind}.png" for kind in ("recognised", "cooler")]
        weighted += ["--recognise", str(recognise), "--recognise-sheet", sheets[0]]
        # Pairs are what a temperature is for: single digits are read as often as real ones without.
        if best.dataset == PAIRS:
            cool = ["--recognise", str(recognise), "--temperature", "0.8", "--recognise-sheet", sheets[1]]
            cooler = [[*plain, "--limit", str(limit), *cool]]
    if best.dataset != PAIRS:  # their training pictures are made anew in every batch
        plain = [*plain, "--nearest", f"docs/images/{name}-nearest.png"]
    return [export, plain, weighted, *cooler]


def check_run(folder: Path, before: Sequence[Run] = ()) -> None:
    """Raises SystemExit unless the command in the folder, after those of ``before``, and nothing else made the weights."""
    settings = finished(folder)[1]["settings"]
    words = command_of(folder)
    if before:
        theirs = before[-1].preset, before[-1].weights_sha256
        if option(words, "--from-stage") is None or theirs != (settings["preset"], settings.get("init_from")):
            raise SystemExit(
                f"{folder} does not train later stages of {before[-1].name} from that run's weights"
            )
    elif settings.get("init_from") or option(words, "--init-from") is not None:
        raise SystemExit(
            f"{folder} began from other weights ({settings.get('init_from') or 'see its command'}):"
            " nothing is packaged that its command did not make"
        )
    if not stages(folder / "metrics.csv"):  # of a run in stages the settings describe the last one alone
        planned = int(option(words, "--iterations") or find_preset(settings["preset"]).settings.iterations)
        if settings["iterations"] != planned:
            raise SystemExit(
                f"{folder} was resumed with --iterations {settings['iterations']} where its command plans"
                f" {planned}: nothing is packaged that its command did not make"
            )


if __name__ == "__main__":
    main()
