"""A packaged model's card: YAML front matter as model hubs read it, then the page for people.

The front matter's values are those of the page, which shows what commands printed.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from card_blocks import LICENCE, Block
from results import EXPERIMENTS, Run
from run_folder import curve, curve_table, spread, stages

from draw_onnx.console import format_duration
from draw_onnx.export.model_card import front_matter
from draw_onnx.models.checkpoint import Checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig, config_to_dict, prior_of, prior_remark
from draw_onnx.train.machine import processor
from draw_onnx.train.settings import TrainSettings
from draw_onnx.train.stages import place_of

MNIST = "MNIST, by Yann LeCun and Corinna Cortes, usually stated as CC BY-SA 3.0"
POINTS = 24  # of the curve's table
_PRINTED = "Printed by these commands ("  # and where


def figures_of(blocks: Sequence[Block]) -> dict[str, float]:
    """All test figures that a card shows."""
    return {name: value for block in blocks for name, value in block.figures.items()}


class Course(NamedTuple):
    """How the weights came about, over all runs that made them."""

    command: str  # of the first
    took: str
    ends: list[int]  # the last iterations of the stages
    points: list[Any]  # of the curve


def _course(last: Checkpoint, words: list[str], metrics: Path, before: Sequence[Run]) -> Course:
    assert last.training is not None
    command, ends = shlex.join(words), [*(end for one in before for end in one.ends), *stages(metrics)]
    took = f"{format_duration(last.training['seconds'])} of updates (validations not counted) on {last.training['machine']}."
    if not before:
        return Course(command, took, ends, curve(metrics, POINTS))
    points = spread([*(point for one in before for point in one.curve), *curve(metrics)], POINTS)
    return Course(before[0].command, _in_runs(before, f"- the rest: `{command}`, {took}\n"), ends, points)


def _in_runs(before: Sequence[Run], rest: str) -> str:
    """Each run's command and time, where the stages were trained one after the other."""
    parts = [
        f"- up to iteration {one.iterations:,}, [its record](../docs/results.md#{one.name}): `{one.command}`,"
        f" {format_duration(one.seconds)} on {one.hardware};"
        for one in before
    ]
    first = f"Here they were {len(before) + 1} runs, each from the weights of the one before:\n"
    return "\n".join([first, *parts, rest])


def page(
    name: str,
    best: Checkpoint,
    last: Checkpoint,
    words: list[str],
    blocks: Sequence[Block],
    metrics: Path,
    before: Sequence[Run] = (),
) -> str:
    """The whole card.

    Args:
        last: of the same run, with its training state.
        words: the command that made it.
        blocks: the commands that the card shows.
        metrics: its metrics.csv.
        before: the runs that made the stages before its own, in order.
    """
    assert last.training is not None
    settings, course = last.training["settings"], _course(last, words, metrics, before)
    plan = [stage.settings for stage in place_of(last).plan]
    parts = [
        front_matter(name, best, figures_of(blocks), LICENCE),
        _summary(name, best, last.iteration, settings["preset"]),
        _training(name, course, plan, settings, "nats" if isinstance(best.config, DrawConfig) else "% error"),
        _figures(name, best, blocks),
    ]
    return "\n".join(parts)


def _summary(name: str, best: Checkpoint, iterations: int, preset: str) -> str:
    draw = isinstance(best.config, DrawConfig)
    title = "A DRAW network that draws" if draw else "A glimpse classifier that reads"
    what = "digits" if draw else "a digit in a cluttered picture"
    if "mnist" not in best.dataset:
        what = "pictures"
    use = f"draw-gen --onnx {name} --gif out.gif" if draw else f"draw-classify --onnx {name} PICTURE"
    config = ", ".join(f"{k} {v}" for k, v in config_to_dict(best.config).items() if k != "labels")
    paper = EXPERIMENTS[preset].paper if preset in EXPERIMENTS else "no figure"
    return f"""# {name}

{title} {what}, trained on `{best.dataset}`. Use it by name: `{use}`.

- **Sizes**: {config}; {sum(w.numel() for w in best.weights.values()):,} weights.
- **Paper**: {paper}.{prior_remark(prior_of(best.config))}
- **Weights**: SHA-256 `{weights_sha256(best.weights, best.config)}`, iteration {best.iteration:,} of {iterations:,}.
- **Licence**: {LICENCE}. The data: {MNIST if "mnist" in best.dataset else "under its own terms"}.
- **Limits**: it knows pictures like those of `{best.dataset}` and nothing else.
"""


def _training(
    name: str, course: Course, plan: Sequence[TrainSettings], settings: dict[str, Any], unit: str
) -> str:
    ends, staged = course.ends, ""
    if ends:
        numbers = ", ".join(f"{end:,}" for end in ends)
        staged = f"It trains in {len(ends)} stages, which end at iterations {numbers}. "
    # Empty and image_* are for folders of pictures only, and a folder's place is nobody's business.
    shown = ", ".join(f"{k} {v}" for k, v in settings.items() if v != "" and not k.startswith("image_"))
    seen = [stage.all_digits for stage in plan]
    about = ""
    if any(seen):
        about = f"; from stage {seen.index(True) + 1} on these digits are trained on too, and say nothing of new ones"
    table = "\n".join(curve_table(course.points, unit))
    return f"""## Training

From random weights, by one command:

```sh
{course.command}
```

{staged}{course.took}
Another processor gives other bits and, as expected but not tried, a figure like this one: what chance in training does
([three seeds](../docs/training.md#three-seeds)) comes on top of the interval.

Settings{" of the last stage" if ends else ""} as they were: {shown}.

Validation ({unit}), the whole run{about}:

{table}

![The validation curve](../docs/images/{name}-curve.png)
"""


def _figures(name: str, best: Checkpoint, blocks: Sequence[Block]) -> str:
    shown = "\n\n".join(map(str, blocks))
    diagram = f"\n![How often it is right against how sure it is](../docs/images/{name}-calibration.png)\n"
    return f"""## Figures

{_PRINTED}{_machine()}):

{shown}
{"" if isinstance(best.config, DrawConfig) else diagram}"""


def _machine() -> str:
    return f"{platform.system()}, {processor()}"


def with_export(text: str, export: Block) -> str:
    """A card with another export in the place of its own, all else as it is.

    The evaluations beside it keep the machine that they ran on; the export's is named where it is another one.

    Raises:
        ValueError: the card shows no export.
    """
    lines, beside = text.split("\n"), "; draw-export: "
    begin = next((k for k, line in enumerate(lines) if line.startswith("$ draw-export ")), None)
    where = next((k for k, line in enumerate(lines) if line.startswith(_PRINTED)), None)
    if begin is None or where is None:
        raise ValueError("it shows no draw-export")
    end = lines.index("```", begin)
    machine = lines[where].removeprefix(_PRINTED).removesuffix("):").partition(beside)[0]
    if machine != _machine():
        machine += beside + _machine()
    block = str(export).split("\n")[1:-1]  # without the fences
    return "\n".join(
        [*lines[:where], f"{_PRINTED}{machine}):", *lines[where + 1 : begin], *block, *lines[end:]]
    )
