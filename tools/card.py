"""A packaged model's card: YAML front matter as model hubs read it, then the page for people.

Every figure is taken from what a command printed; the front matter's values are those of the page.
"""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from results import EXPERIMENTS, Run
from run_folder import curve, curve_table, machine_of, spread, stages

from draw_onnx.console import format_duration
from draw_onnx.export.model_card import front_matter
from draw_onnx.models.checkpoint import Checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig, config_to_dict, prior_of, prior_remark
from draw_onnx.train.machine import processor

MNIST = "MNIST, by Yann LeCun and Corinna Cortes, usually stated as CC BY-SA 3.0"
POINTS = 24  # of the curve's table
Printed = list[tuple[list[str], str]]  # commands and what they printed


def figures_of(printed: Printed) -> dict[str, float]:
    """The test figures in what draw-eval printed, under the names that a weights file's header has them by.

    A plain figure on part of a set (--limit) is no test figure; importance weighting is too dear for the whole.
    """
    figures: dict[str, float] = {}

    def take(pattern: str, text: str, *names: str) -> bool:
        match = re.search(pattern, text, re.MULTILINE)
        if match:
            values = (float(group.replace(",", "")) for group in match.groups())
            figures.update(
                {f"test_{n}": int(v) if n in _WHOLE else v for n, v in zip(names, values, strict=True)}
            )
        return match is not None

    number, images = r"([\d.]+)", r"([\d,]+) images?\)"
    for words, text in printed:
        if words[0] != "draw-eval":
            continue
        if "--limit" not in words:
            take(rf"^{number} ± {number} nats \(.*?{images}", text, "bound", "standard_error", "images")
            take(
                rf"^{number} % error \(95 % interval {number} to {number}, {images}",
                text,
                *("error", "error_low", "error_high", "images"),
            )
        if take(
            rf"^importance-weighted bound, K = (\d+): {number} ± {number} nats",
            text,
            *("importance_samples", "importance_bound", "importance_standard_error"),
        ):
            take(rf" nats \(.*?{images}", text, "importance_images")
        take(
            rf"^([\d,]+) samples: {number} % (?:accepted|read).*?real test pictures: {number} %.*?torn digits: {number} %",
            text,
            *("recognised_samples", "recognised", "recognised_real", "recognised_torn"),
        )
    return figures


_WHOLE = ("images", "importance_samples", "importance_images", "recognised_samples")


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
    printed: Printed,
    metrics: Path,
    before: Sequence[Run] = (),
) -> str:
    """The whole card.

    Args:
        last: of the same run, with its training state.
        words: the command that made it.
        metrics: its metrics.csv.
        before: the runs that made the stages before its own, in order.
    """
    assert last.training is not None
    ends = [*(end for one in before for end in one.ends), *stages(metrics)]
    command, points = shlex.join(words), curve(metrics, POINTS)
    took = f"{format_duration(last.training['seconds'])} of updates (validations not counted) on {machine_of(last, words)}."
    if before:
        took = _in_runs(before, f"- the rest: `{command}`, {took}\n")
        points = spread([*(point for one in before for point in one.curve), *curve(metrics)], POINTS)
        command = before[0].command
    config = ", ".join(f"{k} {v}" for k, v in config_to_dict(best.config).items() if k != "labels")
    draw, remark = isinstance(best.config, DrawConfig), prior_remark(prior_of(best.config))
    unit = "nats" if draw else "% error"
    given = last.training["settings"]
    # Empty and image_* are for folders of pictures only, and a folder's place is nobody's business.
    settings = ", ".join(f"{k} {v}" for k, v in given.items() if v != "" and not k.startswith("image_"))
    source = MNIST if "mnist" in best.dataset else "under its own terms"
    blocks = "\n\n".join(f"```console\n$ {shlex.join(words)}\n{text}\n```" for words, text in printed)
    title = "A DRAW network that draws" if draw else "A glimpse classifier that reads"
    what = "digits" if draw else "a digit in a cluttered picture"
    if "mnist" not in best.dataset:
        what = "pictures"
    use = "draw-gen --onnx NAME --gif out.gif" if draw else "draw-classify --onnx NAME PICTURE"
    staged = (
        f"It trains in {len(ends)} stages, which end at iterations {', '.join(f'{end:,}' for end in ends)}. "
        if ends
        else ""
    )
    diagram = f"\n![How often it is right against how sure it is](../docs/images/{name}-calibration.png)\n"
    seen = "; the last stage trains on these digits too, so that its figures say nothing of new ones"
    seen = seen if given.get("all_digits") else ""
    table = "\n".join(curve_table(points, unit))
    return f"""{front_matter(name, best, figures_of(printed))}
# {name}

{title} {what}, trained on `{best.dataset}`. Use it by name: `{use.replace("NAME", name)}`.

- **Sizes**: {config}; {sum(w.numel() for w in best.weights.values()):,} weights.
- **Paper**: {EXPERIMENTS[given["preset"]].paper if given["preset"] in EXPERIMENTS else "no figure"}.{remark}
- **Weights**: SHA-256 `{weights_sha256(best.weights, best.config)}`, iteration {best.iteration:,} of {last.iteration:,}.
- **Licence**: MIT. The data: {source}.
- **Limits**: it knows pictures like those of `{best.dataset}` and nothing else.

## Training

From random weights, by one command:

```sh
{command}
```

{staged}{took}
Another processor gives other bits and, as expected but not tried, a figure like this one: what chance in training does
([three seeds](../docs/training.md#three-seeds)) comes on top of the interval.

Settings{" of the last stage" if ends else ""} as they were: {settings}.

Validation ({unit}), the whole run{seen}:

{table}

![The validation curve](../docs/images/{name}-curve.png)

## Figures

Printed by these commands ({platform.system()}, {processor()}):

{blocks}
{"" if draw else diagram}"""
