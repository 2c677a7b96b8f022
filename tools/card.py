"""A packaged model's card: YAML front matter as model hubs read it, then the page for people.

Every figure is taken from what a command printed; the front matter's values are those of the page.
"""

from __future__ import annotations

import platform
import re
import shlex
from typing import Any

import yaml

from draw_onnx.console import format_duration
from draw_onnx.models.checkpoint import Checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig, config_to_dict
from draw_onnx.train.machine import processor

MNIST = "MNIST, by Yann LeCun and Corinna Cortes, usually stated as CC BY-SA 3.0"
PAPER = {  # by preset
    "mnist": "80.97 nats",
    "mnist-no-attention": "87.40 nats",
    "mnist-two-digit": "pictures only",
    "cluttered-mnist": "3.36 % error",
    "cluttered-mnist-4": "4.18 % error",
}
SETS = {  # by data set: its name, and what a hub calls the set that its pictures come from
    "mnist": ("MNIST, fixed binarised", "ylecun/mnist"),
    "mnist-dynamic": ("MNIST, binarised afresh in every batch", "ylecun/mnist"),
    "mnist-two-digit": ("Two MNIST digits, 60x60", "ylecun/mnist"),
    "cluttered-mnist": ("Cluttered MNIST, 100x100", "ylecun/mnist"),
    "svhn": ("Street View House Numbers, 54x54 crops", "ufldl-stanford/svhn"),
    "cifar10": ("CIFAR-10", "uoft-cs/cifar10"),
}
Printed = list[tuple[list[str], str]]  # commands and what they printed


def console_blocks(page: str) -> Printed:
    """The commands that a page shows, and what it says they printed."""
    found = re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    return [(shlex.split(command), text) for command, text in found]


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


def front_matter(name: str, checkpoint: Checkpoint, figures: dict[str, float]) -> str:
    """The YAML between two lines of dashes that a hub's index is made from.

    Args:
        figures: of :func:`figures_of`.
    """
    draw = isinstance(checkpoint.config, DrawConfig)
    title, source = SETS.get(checkpoint.dataset, (checkpoint.dataset, checkpoint.dataset))
    task = "unconditional-image-generation" if draw else "image-classification"
    metrics = _metrics(figures)
    content = {
        "license": "mit",
        "library_name": "draw-onnx",
        "pipeline_tag": task,
        "tags": ["draw", "onnx", "safetensors", "pytorch", "attention", "vae" if draw else "glimpses"],
        "datasets": [source],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"type": checkpoint.dataset, "name": title, "split": "test"},
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{text}---\n"


def _metrics(figures: dict[str, float]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(kind: str, name: str, value: float, **arguments: float) -> None:
        found.append(
            {"type": kind, "name": name, "value": value, **({"args": arguments} if arguments else {})}
        )

    if "test_bound" in figures:
        add(
            "negative_log_likelihood_bound",
            "test bound, nats per image (mean and standard error)",
            figures["test_bound"],
            standard_error=figures["test_standard_error"],
            images=figures["test_images"],
        )
    if "test_importance_bound" in figures:
        add(
            "importance_weighted_bound",
            "importance-weighted test bound, nats per image",
            figures["test_importance_bound"],
            standard_error=figures["test_importance_standard_error"],
            samples=figures["test_importance_samples"],
            images=figures["test_importance_images"],
        )
    if "test_recognised" in figures:
        add(
            "recognisability",
            "samples that a classifier of real digits can read, % (real and torn digits beside them)",
            figures["test_recognised"],
            samples=figures["test_recognised_samples"],
            real=figures["test_recognised_real"],
            torn=figures["test_recognised_torn"],
        )
    if "test_error" in figures:
        add("accuracy", "test accuracy", round(1 - figures["test_error"] / 100, 6))
        add(
            "error_rate",
            "test error, % (95 % interval)",
            figures["test_error"],
            low=figures["test_error_low"],
            high=figures["test_error_high"],
            images=figures["test_images"],
        )
    return found


def page(
    name: str,
    best: Checkpoint,
    last: Checkpoint,
    command: str,
    printed: Printed,
    points: list[tuple[int, str]],
    ends: list[int],
    machine: str,
) -> str:
    """The whole card.

    Args:
        last: of the same run, with its training state.
        points: (iteration, validation figure), over the whole run.
        ends: the stages' last iterations, empty for a run in one stage.
        machine: what it computed on.
    """
    config = ", ".join(f"{k} {v}" for k, v in config_to_dict(best.config).items() if k != "labels")
    draw = isinstance(best.config, DrawConfig)
    unit = "nats" if draw else "% error"
    assert last.training is not None
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
    header, values = (" | ".join(str(p[i]) for p in points) for i in (0, 1))
    return f"""{front_matter(name, best, figures_of(printed))}
# {name}

{title} {what}, trained on `{best.dataset}`. Use it by name: `{use.replace("NAME", name)}`.

- **Sizes**: {config}; {sum(w.numel() for w in best.weights.values()):,} weights.
- **Paper**: {PAPER.get(given["preset"], "no figure")}.
- **Weights**: SHA-256 `{weights_sha256(best.weights, best.config)}`, iteration {best.iteration:,} of {last.iteration:,}.
- **Licence**: MIT. The data: {source}.
- **Limits**: it knows pictures like those of `{best.dataset}` and nothing else.

## Training

From random weights, by one command:

```sh
{command}
```

{staged}{format_duration(last.training["seconds"])} of updates (validations not counted) on {machine}.
Another processor gives the same figure within its interval, and not the same bits.

Settings{" of the last stage" if ends else ""} as they were: {settings}.

Validation ({unit}), the whole run:

| iteration | {header} |
|---|{"---|" * len(points)}
| {unit} | {values} |

![The validation curve](../docs/images/{name}-curve.png)

## Figures

Printed by these commands ({platform.system()}, {processor()}):

{blocks}
{"" if draw else diagram}"""
