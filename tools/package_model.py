"""Put a run's best weights into pretrained/: checkpoint, ONNX file, and a card whose figures it measures.

    python tools/package_model.py ~/draw-runs/mnist mnist --data-dir DATA

Every figure on the card is what the command beside it printed when this was run. Nothing is copied from logs
but the training time and the curve, which cannot be measured again.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from draw_onnx.console import format_duration
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig, config_to_dict
from draw_onnx.train.machine import processor

ROOT = Path(__file__).resolve().parent.parent
PRETRAINED = ROOT / "pretrained"

MNIST = "MNIST, by Yann LeCun and Corinna Cortes, usually stated as CC BY-SA 3.0"
PAPER = {
    "mnist": "80.97 nats (with attention), 87.40 (without)",
    "mnist-two-digit": "pictures only",
    "cluttered-mnist": "3.36 % with 8 glimpses, 4.18 % with 4",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of draw-train")
    parser.add_argument("name", help="name in pretrained/")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DRAW_DATA"), help="as for draw-eval")
    parser.add_argument("--importance", type=int, default=20, help="samples of the importance-weighted bound")
    parser.add_argument(
        "--before", default="", help="of a run with --init-from: how its first weights were made"
    )
    arguments = parser.parse_args()
    checkpoint, onnx, card = (
        PRETRAINED / f"{arguments.name}{suffix}" for suffix in (".ckpt", ".onnx", ".md")
    )
    best = load_checkpoint(arguments.run / "best.ckpt")
    shutil.copyfile(arguments.run / "best.ckpt", checkpoint)
    data = ["--data-dir", str(arguments.data_dir)] if arguments.data_dir else []
    export = ["draw-export", "--ckpt", f"pretrained/{checkpoint.name}", "-o", f"pretrained/{onnx.name}"]
    results = [(export, run(export, []))]
    evaluations = [["draw-eval", "--ckpt", f"pretrained/{checkpoint.name}"]]
    if isinstance(best.config, DrawConfig):
        # On all images: binarised MNIST's test file is sorted by class, its first rows are no sample.
        evaluations.append([*evaluations[0], "--importance", str(arguments.importance)])
        if best.dataset != "mnist-two-digit":  # its training pictures are made anew in every batch
            evaluations[0] += ["--nearest", f"docs/images/{arguments.name}-nearest.png"]
        else:
            evaluations = evaluations[1:]
    else:
        evaluations.append(["draw-eval", "--onnx", f"pretrained/{onnx.name}"])
    for command in evaluations:
        results.append((command, run(command, data)))
    last = load_checkpoint(arguments.run / "last.ckpt")
    command = shlex.join(command_of(arguments.run))
    card.write_text(
        page(
            arguments.name,
            best,
            last,
            command,
            results,
            curve(arguments.run / "metrics.csv"),
            arguments.before,
        ),
        encoding="utf-8",
    )
    print(f"wrote {card}")


def run(command: list[str], hidden: list[str]) -> str:
    """What a command prints; ``hidden`` are arguments that the card does not show (where the data lie)."""
    script = Path(sys.executable).parent / command[0]
    print("$", shlex.join(command), file=sys.stderr, flush=True)
    done = subprocess.run(
        [script, *command[1:], *hidden], check=True, text=True, stdout=subprocess.PIPE, cwd=ROOT
    )
    return done.stdout.strip()


def command_of(folder: Path) -> list[str]:
    """The command line that started a run, without this machine's folders: --out and --data-dir are left out."""
    given = shlex.split((folder / "command.txt").read_text(encoding="utf-8"))
    words: list[str] = []
    for previous, word in zip(["", *given], given, strict=False):
        if word in ("--out", "--data-dir") or previous in ("--out", "--data-dir"):
            continue
        # RUN/best.ckpt, or a folder of pictures by its name.
        kept = 2 if word.endswith(".ckpt") else 1
        words.append("/".join(Path(word).parts[-kept:]) if "/" in word else word)
    return words


def curve(metrics: Path, points: int = 12) -> list[tuple[int, str]]:
    """(iteration, validation figure) at a dozen evenly spread validations."""
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["valid_best"]]
    kind = "valid_bound" if "valid_bound" in rows[0] else "valid_error"
    chosen = sorted({round(i * (len(rows) - 1) / (points - 1)) for i in range(points)})
    return [(int(rows[i]["iteration"]), f"{float(rows[i][kind]):.2f}") for i in chosen]


def page(
    name: str, best, last, command: str, results: list, points: list[tuple[int, str]], before: str
) -> str:
    config = ", ".join(f"{k} {v}" for k, v in config_to_dict(best.config).items() if k != "labels")
    draw = isinstance(best.config, DrawConfig)
    unit = "nats" if draw else "% error"
    training = last.training or {}
    seconds = training.get("seconds", 0.0)
    given = dict(training.get("settings", {}))
    initial = given.pop("init_from", "")
    # Empty and image_* are for folders of pictures only, and a folder's place is nobody's business.
    settings = ", ".join(f"{k} {v}" for k, v in given.items() if v != "" and not k.startswith("image_"))
    source = MNIST if "mnist" in best.dataset else "under its own terms"
    start = (
        f"\nIt started from the weights with SHA-256 `{initial}`{f': {before}' if before else ''}. The time and the"
        " curve are this run's alone.\n"
        if initial
        else ""
    )
    parameters = sum(w.numel() for w in best.weights.values())
    blocks = "\n\n".join(f"```console\n$ {shlex.join(words)}\n{text}\n```" for words, text in results)
    machine = machine_of(last, shlex.split(command))
    title = (
        "A DRAW network that draws digits"
        if draw
        else "A glimpse classifier that reads a digit in a cluttered picture"
    )
    use = "draw-gen --onnx NAME --gif out.gif" if draw else "draw-classify --onnx NAME PICTURE"
    header, values = (" | ".join(str(p[i]) for p in points) for i in (0, 1))
    return f"""# {name}

{title}, trained on `{best.dataset}`. Use it by name: `{use.replace("NAME", name)}`.

- **Sizes**: {config}; {parameters:,} weights.
- **Paper**: {PAPER.get(best.dataset, "no figure")}.
- **Weights**: SHA-256 `{weights_sha256(best.weights, best.config)}`, iteration {best.iteration:,} of {last.iteration:,}.
- **Licence**: MIT. The data: {source}.
- **Limits**: it knows pictures like those of `{best.dataset}` and nothing else.

## Training

```sh
{command}
```
{start}
Settings as they were: {settings}.

{format_duration(seconds)} of updates (validations not counted) on {machine}. Validation ({unit}):

| iteration | {header} |
|---|{"---|" * len(points)}
| {unit} | {values} |

## Figures

Printed by these commands ({platform.system()}, {processor()}):

{blocks}
"""


def machine_of(last: Checkpoint, words: list[str]) -> str:
    """What a run computed on, in its own words."""
    assert last.training is not None
    machine = last.training["machine"]
    if "(" in machine:
        return machine
    # Older runs named the kind of device and no more: they are packaged where they were run.
    count = words[words.index("--threads") + 1] if "--threads" in words else "PyTorch's choice of"
    return f"{machine} ({processor()}), {count} thread{'' if count == '1' else 's'}"


if __name__ == "__main__":
    main()
