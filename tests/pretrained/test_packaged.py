"""What is packaged belongs together: weights, ONNX file and card of a name are of the same model."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig
from draw_onnx.pretrained import find_packaged, packaged_models
from draw_onnx.runtime.classifier import Classifier
from draw_onnx.runtime.session import peek
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.evaluation.figures import BoundFigures, evaluate
from draw_onnx.train.options import begin
from draw_onnx.train.presets import find_preset

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads(Path(__file__).with_name("card.schema.json").read_text(encoding="utf-8"))
NAMES = packaged_models(".onnx")
# Of a hundred test pictures, evenly spread (classifiers find them harder than the rest): nats of a DRAW, right answers.
FIGURES = {
    "cluttered-mnist": 94,
    "cluttered-mnist-4": 93,
    "mnist": 79.529,
    "mnist-no-attention": 82.676,
    "mnist-two-digit": 169.124,
}


@pytest.fixture(scope="module")
def card_tool() -> Any:
    """tools/card.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        return importlib.import_module("card")


def split_card(name: str) -> tuple[dict[str, Any], str]:
    """The front matter of a card, read as YAML, and the page below it."""
    text = (ROOT / "pretrained" / f"{name}.md").read_text(encoding="utf-8")
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    assert match, "the card does not begin with front matter"
    return yaml.safe_load(match[1]), match[2]


def test_every_model_has_its_three_files() -> None:
    assert {"mnist", "mnist-two-digit", "cluttered-mnist"} <= set(NAMES)
    for suffix in (".safetensors", ".md"):
        assert sorted(p.stem for p in (ROOT / "pretrained").glob(f"*{suffix}")) == NAMES
    # The package leaves the largest weights out; a checkout has them.
    assert set(NAMES) - {"mnist-no-attention"} <= set(packaged_models(".ckpt")) <= set(NAMES)
    assert not list((ROOT / "pretrained").glob("*.ckpt"))


@pytest.mark.parametrize("name", NAMES)
def test_weights_graph_and_card_are_of_one_model(name: str) -> None:
    path = ROOT / "pretrained" / f"{name}.safetensors"
    checkpoint = load_checkpoint(path)
    sha = weights_sha256(checkpoint.weights, checkpoint.config)
    metadata = peek(name)
    assert metadata.weights_sha256 == sha
    assert metadata.dataset == checkpoint.dataset
    assert metadata.time_steps == checkpoint.config.time_steps
    page = split_card(name)[1]
    assert f"SHA-256 `{sha}`, iteration {checkpoint.iteration:,} of" in page
    assert page.lstrip().startswith(f"# {name}\n")


def console_blocks(page: str) -> list[tuple[list[str], str]]:
    """The commands that a page shows, and what it says they printed."""
    found = re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    return [(shlex.split(command), text) for command, text in found]


@pytest.mark.parametrize("name", NAMES)
def test_front_matter(name: str, card_tool: Any) -> None:
    """It fits the schema, and it is what the weights' header gives."""
    matter, page = split_card(name)
    jsonschema.validate(matter, SCHEMA)
    assert matter["model-index"][0]["name"] == name
    checkpoint = load_checkpoint(ROOT / "pretrained" / f"{name}.safetensors")
    again = card_tool.front_matter(name, checkpoint, checkpoint.metrics, card_tool.LICENCE)
    assert (ROOT / "pretrained" / f"{name}.md").read_text(encoding="utf-8").startswith(again)
    values = {m["type"]: m["value"] for m in matter["model-index"][0]["results"][0]["metrics"]}
    assert list(values) == matter["metrics"]
    if isinstance(checkpoint.config, DrawConfig):
        assert values["negative_log_likelihood_bound"] == checkpoint.metrics["test_bound"]
        assert values["importance_weighted_bound"] < values["negative_log_likelihood_bound"]
        assert f"{values['negative_log_likelihood_bound']:.2f} ± " in page
    else:
        assert values["error_rate"] == checkpoint.metrics["test_error"]
        assert values["accuracy"] == pytest.approx(1 - values["error_rate"] / 100)
        assert f"{values['error_rate']:.2f} % error" in page


@pytest.mark.parametrize("name", NAMES)
def test_the_header_has_the_figures_of_the_page(name: str) -> None:
    """Each as the command printed it, and no others."""
    checkpoint = load_checkpoint(ROOT / "pretrained" / f"{name}.safetensors")
    figures = {k[5:]: v for k, v in checkpoint.metrics.items() if k.startswith("test_")}
    blocks = [(words, text) for words, text in console_blocks(split_card(name)[1]) if words[0] == "draw-eval"]
    words, plain = blocks[0]
    assert "--limit" not in words
    images = f"{figures.pop('images'):,} images)"
    if not isinstance(checkpoint.config, DrawConfig):
        error, low, high = (figures.pop(key) for key in ("error", "error_low", "error_high"))
        for _, text in blocks:  # of the weights and of the ONNX file
            assert f"\n{error:.2f} % error (95 % interval {low:.2f} to {high:.2f}, {images}" in text
        assert not figures
        return
    assert f"\n{figures.pop('bound'):.2f} ± {figures.pop('standard_error'):.2f} nats (" in plain
    assert images in plain
    samples = figures.pop("importance_samples")
    mean, error = figures.pop("importance_bound"), figures.pop("importance_standard_error")
    weighted = f"\nimportance-weighted bound, K = {samples}: {mean:.2f} ± {error:.2f} nats"
    of_weighted = next(text for _, text in blocks if weighted in text)
    assert f"{figures.pop('importance_images'):,} images)" in of_weighted
    count, share = figures.pop("recognised_samples"), figures.pop("recognised")
    read = re.escape(f"\n{count:,} samples: {share:.1f} % ") + "(read|accepted) .*; "
    read += re.escape(f"{count:,} real test pictures: {figures.pop('recognised_real'):.1f} %") + ".*; "
    read += re.escape(f"{count:,} of torn digits: {figures.pop('recognised_torn'):.1f} %")
    assert any(re.search(read, text) for _, text in blocks)
    assert not figures


@pytest.mark.parametrize("name", NAMES)
def test_the_preset_is_the_one_on_the_card(name: str) -> None:
    """A card's command makes its weights only as long as the preset has the stages that it had."""
    page = split_card(name)[1]
    plan = begin(find_preset(name), {}, {}).place.plan
    ends = [sum(stage.settings.iterations for stage in plan[: k + 1]) for k in range(len(plan))]
    stages = re.search(r"It trains in \d+ stages, which end at iterations ([\d, ]+)\.", page)
    assert ", ".join(f"{end:,}" for end in ends) == (stages[1] if stages else f"{ends[-1]:,}")
    settings = re.search(r"^Settings.* as they were: (.*)\.$", page, re.MULTILINE)
    assert settings
    was = dict(words.split(" ") for words in settings[1].split(", "))
    last = plan[-1].settings
    for field in ("iterations", "batch_size", "learning_rate", "weight_decay", "all_digits", "optimizer"):
        assert was.get(field, "adam") == str(getattr(last, field)), field


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_hold(name: str, data_dir: Path) -> None:
    """What a packaged file says of real pictures is what it said when it was packaged."""
    checkpoint = load_checkpoint(ROOT / "pretrained" / f"{name}.safetensors")
    test = load_dataset(checkpoint.dataset, data_dir, "cpu").evaluation("test").spread(100)
    if isinstance(checkpoint.config, DrawConfig):
        figures = evaluate(checkpoint.build(), test)
        assert isinstance(figures, BoundFigures)
        assert figures.bound == pytest.approx(FIGURES[name], abs=0.01)
        return
    pictures = test.slice(0, 100)
    assert pictures.labels is not None
    answers = Classifier(name)(pictures.images.numpy(), steps=False).probabilities.argmax(1)
    assert int((answers == pictures.labels.numpy()).sum()) == FIGURES[name]


def test_the_schema_is_not_met_by_anything() -> None:
    good = split_card("mnist")[0]
    metric = good["model-index"][0]["results"][0]["metrics"][0]
    for target, key, value in (
        (good, "license", "other"),
        (good, "datasets", []),
        (good, "surprise", 1),
        (metric, "value", "84.03"),
        (metric, "args", {"images": "all"}),
    ):
        before = target.get(key)
        target[key] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good, SCHEMA)
        if before is None:
            del target[key]
        else:
            target[key] = before
    jsonschema.validate(good, SCHEMA)


def test_an_unknown_name_lists_the_packaged_ones() -> None:
    with pytest.raises(DrawError, match=r"no checkpoint minst \(packaged models: .*cluttered-mnist.*mnist"):
        find_packaged("minst", ".ckpt", "checkpoint")
