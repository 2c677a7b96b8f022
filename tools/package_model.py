"""Put a run's best weights into pretrained/: safetensors, ONNX file, and a card whose figures it measures.

    python tools/package_model.py ~/draw-runs/mnist mnist --data-dir DATA
    python tools/package_model.py --export-only mnist    # after a change of the graphs: the ONNX file, and its block

Every figure on the card is what the command beside it printed when this was run. Nothing is copied from logs
but the training time and the curve, which cannot be measured again. Nothing is packaged that its command did not
make: a run that began from other weights, that was resumed with another length, or that has not finished is refused.
A preset's later stages may be another run's than its first (draw-train --from-stage), on another machine: --before
names the record of the run that made the stage before; the runs before that one are found by the weights they made.
With --export-only a packaged model's evaluations stay as they are: the new file has passed draw-export's comparison.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from card import figures_of, page, with_export
from card_blocks import Block, evaluated, exported
from results import Run, load_record, runs_to
from run_folder import ROOT, command_of, finished, option, stages, validations

from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_weights
from draw_onnx.models.config import DrawConfig
from draw_onnx.train.evaluation.plots import plot_curve
from draw_onnx.train.evaluation.recognisability import DATASETS as DIGITS
from draw_onnx.train.evaluation.recognisability import PAIRS
from draw_onnx.train.machine import flushed_subnormals
from draw_onnx.train.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="run folder of draw-train")
    parser.add_argument("name", nargs="?", help="name in pretrained/")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DRAW_DATA"), help="as for draw-eval")
    parser.add_argument(
        "--importance", type=int, default=100, help="samples of the importance-weighted bound"
    )
    parser.add_argument("--limit", type=int, default=1000, help="pictures that it is taken over")
    parser.add_argument("--recognise", type=int, default=1000, help="samples to have read")
    parser.add_argument(
        "--before", type=Path, help="docs/results/RUN.json of the run that made the stage before"
    )
    parser.add_argument(
        "--export-only",
        metavar="NAME",
        help="of a packaged model, renew the ONNX file and the export on its card, without a run",
    )
    given = parser.parse_intermixed_args()
    if (given.name is None) == (given.export_only is None):
        parser.error("give a run folder and a name, or --export-only NAME alone")
    if given.export_only is not None:
        print(f"wrote {renew_export(given.export_only)}")
        return
    before = runs_to(load_record(given.before), given.before.parent) if given.before else []
    how = given.importance, given.limit, given.recognise
    with flushed_subnormals():  # as draw-eval does
        card = package(given.run, given.name, given.data_dir, *how, before)
    print(f"wrote {card}")


def _files(name: str) -> tuple[str, str, str]:
    """Weights, ONNX file and card of a packaged model."""
    return f"pretrained/{name}.safetensors", f"pretrained/{name}.onnx", f"pretrained/{name}.md"


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
    weights, _, card = _files(name)
    save_weights(root / weights, best)
    shown = list(blocks(best, name, root, data_dir, importance, limit, recognise))
    # The header has the test figures too.
    save_weights(root / weights, dataclasses.replace(best, metrics=best.metrics | figures_of(shown)))
    words, metrics = command_of(folder), folder / "metrics.csv"
    unit = "nats" if isinstance(best.config, DrawConfig) else "% error"
    earlier = [(int(iteration), float(figure)) for one in before for iteration, figure in one.curve]
    diagram = root / f"docs/images/{name}-curve.png"
    plot_curve([*earlier, *validations(metrics)], f"validation, {unit}", name, diagram)
    (root / card).write_text(page(name, best, last, words, shown, metrics, before), encoding="utf-8")
    return root / card


def blocks(
    best: Checkpoint,
    name: str,
    root: Path,
    data_dir: Path | None,
    importance: int,
    limit: int,
    recognise: int,
) -> Iterator[Block]:
    """What the card shows, in order."""
    weights, onnx, _ = _files(name)
    images = Path("docs/images")
    yield exported(weights, onnx, root)
    if not isinstance(best.config, DrawConfig):
        yield evaluated("ckpt", weights, root, data_dir)
        yield evaluated("onnx", onnx, root, data_dir, calibration=images / f"{name}-calibration.png")
        return
    pairs = best.dataset == PAIRS
    # The pairs' training pictures are made anew in every batch: none can be the nearest.
    nearest = {} if pairs else {"nearest": images / f"{name}-nearest.png"}
    yield evaluated("ckpt", weights, root, data_dir, **nearest)
    # Evenly spread: binarised MNIST's test file is sorted by class, its first rows are no sample.
    weighted = {"importance": importance, "limit": limit}
    if best.dataset in DIGITS:
        weighted |= {"recognise": recognise, "recognise_sheet": images / f"{name}-recognised.png"}
    yield evaluated("ckpt", weights, root, data_dir, **weighted)
    # Pairs are what a temperature is for: single digits are read as often as real ones without.
    if pairs:
        cool = {"recognise": recognise, "temperature": 0.8, "recognise_sheet": images / f"{name}-cooler.png"}
        yield evaluated("ckpt", weights, root, data_dir, limit=limit, **cool)


def renew_export(name: str, root: Path = ROOT) -> Path:
    """Write ``pretrained/NAME.onnx`` below ``root`` anew from the packaged weights, and the export on its card.

    Returns:
        The card.

    Raises:
        SystemExit: no such model, or a card that shows no export.
    """
    weights, onnx, card = _files(name)
    for file in (weights, card):
        if not (root / file).exists():
            raise SystemExit(f"no packaged model {name}: {root / file} does not exist")
    text = (root / card).read_text(encoding="utf-8")
    try:
        with_export(text, Block([], ""))  # before the ONNX file is another
        text = with_export(text, exported(weights, onnx, root))
    except ValueError as error:
        raise SystemExit(f"{root / card}: {error}") from None
    (root / card).write_text(text, encoding="utf-8")
    return root / card


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
