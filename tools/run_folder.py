"""What the files of a finished run say, for the card and the results page: its command, curve, machine and stages."""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint
from draw_onnx.train.settings import RunFolder

ROOT = Path(__file__).resolve().parent.parent


def run(command: list[str], folder: Path = ROOT) -> str:
    """What a command prints that is run in ``folder``."""
    script = Path(sys.executable).parent / command[0]
    print("$", shlex.join(command), file=sys.stderr, flush=True)
    done = subprocess.run([script, *command[1:]], check=True, text=True, stdout=subprocess.PIPE, cwd=folder)
    return done.stdout.strip()


def finished(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """The last checkpoint of a run and its training state. Raises SystemExit for one that has not come to its end."""
    files = RunFolder(folder)
    if not files.finished:
        reason = "it has no test.txt"
        if files.test.exists():
            reason = "its last.ckpt is newer than its test.txt (it was resumed, or copied without the files' times)"
        raise SystemExit(f"{folder} holds no finished run: {reason}")
    last = load_checkpoint(files.last)
    assert last.training is not None
    return last, last.training


def command_of(folder: Path) -> list[str]:
    """The command line that started a run, without this machine's folders: --out and --data-dir are left out."""
    given = shlex.split((folder / "command.txt").read_text(encoding="utf-8"))
    words: list[str] = []
    for word in _parsed(given, "--out", "--data-dir")[1]:
        # RUN/best.ckpt, or a folder of pictures by its name; also behind --option=.
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        kept = 2 if value.endswith((".ckpt", ".safetensors")) else 1
        words.append(name + equals + ("/".join(Path(value).parts[-kept:]) if "/" in value else value))
    return words


def option(words: list[str], name: str) -> str | None:
    """What a command line gives an option: ``--name value`` or ``--name=value``, the last one; None without it."""
    return vars(_parsed(words, name)[0])[name]


def _parsed(words: list[str], *names: str) -> tuple[argparse.Namespace, list[str]]:
    """What a command line gives these options, and its other words."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name, dest=name)
    return parser.parse_known_args(words)


def validations(metrics: Path) -> list[tuple[int, float]]:
    """(iteration, figure) of every validation: nats, or the error in percent. Iterations count the whole run."""
    rows = [row for row in _rows(metrics) if row["valid_best"]]
    kind = "valid_bound" if "valid_bound" in rows[0] else "valid_error"
    return [(int(row["iteration"]), float(row[kind])) for row in rows]


def curve(metrics: Path, points: int = 12) -> list[tuple[int, str]]:
    """(iteration, validation figure) at a dozen evenly spread validations, the first and the last among them."""
    return [(iteration, f"{figure:.2f}") for iteration, figure in spread(validations(metrics), points)]


def spread(rows: Sequence[Any], points: int) -> list[Any]:
    """At most that many of the rows, evenly spread, the first and the last among them."""
    return [rows[i] for i in sorted({round(i * (len(rows) - 1) / (points - 1)) for i in range(points)})]


def curve_table(points: Sequence[Sequence[Any]], label: str) -> list[str]:
    """Points of a :func:`curve` as two rows of Markdown, the figures' beginning with ``label``."""
    header, values = (" | ".join(str(point[i]) for point in points) for i in (0, 1))
    return [f"| iteration | {header} |", f"|---|{'---|' * len(points)}", f"| {label} | {values} |"]


def stages(metrics: Path) -> list[int]:
    """The last iteration of each stage that a run trained; empty where it has one, which is not a later one of several."""
    ends: dict[int, int] = {}
    for row in _rows(metrics):
        if row.get("stage"):
            ends[int(row["stage"])] = int(row["iteration"])
    return [ends[stage] for stage in sorted(ends)] if max(ends, default=1) > 1 else []


def _rows(metrics: Path) -> list[dict[str, str]]:
    with metrics.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
