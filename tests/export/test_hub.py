"""``draw-export --hub``: a folder that a hub takes as it is, and that every command takes as a model."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from draw_onnx import Classifier, Sampler, Scorer, pretrained
from draw_onnx.errors import DrawError
from draw_onnx.export import cli
from draw_onnx.export.exported import Exported
from draw_onnx.export.model_card import front_matter
from draw_onnx.models.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from draw_onnx.runtime.commands.file_report import report
from draw_onnx.runtime.session import peek

from ..conftest import Command

DRAWN = {"decoder.onnx", "scorer.onnx", "drawing.gif", "samples.png"}
ALWAYS = {"README.md", "config.json", "model.safetensors"}


@pytest.fixture
def saved(checkpoints, tmp_path: Path):
    """(kind, metrics) -> the path of a checkpoint."""

    def save(kind: str, **metrics: float) -> Path:
        path = tmp_path / "best.ckpt"
        save_checkpoint(path, dataclasses.replace(checkpoints[kind], metrics=metrics))
        return path

    return save


def matter(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


@pytest.mark.parametrize("kind", ["attention", "no attention, colour"])
def test_a_drawing_model(draw_export, saved, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "my-model"
    path = saved(kind, test_bound=81.25, test_standard_error=0.5, test_images=100, valid_bound=3.0)
    whose = ("--model-license", "CC-BY-4.0", "--model-author", 'A, "B": c')
    code, out, err = draw_export("--ckpt", path, "--hub", folder, *whose)
    assert code == 0, err
    assert out.count("parity with torch float64") == 2
    assert {p.name for p in folder.iterdir()} == DRAWN | ALWAYS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "my-model"]

    checkpoint = load_checkpoint(folder / "model.safetensors")
    sha = weights_sha256(checkpoint.weights, checkpoint.config)
    assert json.loads((folder / "config.json").read_text())["weights_sha256"] == sha
    for graph in ("decoder", "scorer"):
        _, problems = report(str(folder / f"{graph}.onnx"))
        assert problems == []
        assert peek(folder / f"{graph}.onnx").weights_sha256 == sha
        assert peek(folder / f"{graph}.onnx").model_license == "CC-BY-4.0"

    card = matter(folder)
    assert card["license"] == "cc-by-4.0"
    assert card["pipeline_tag"] == "unconditional-image-generation"
    result = card["model-index"][0]
    assert result["name"] == "my-model"
    (metric,) = result["results"][0]["metrics"]
    assert (metric["value"], metric["args"]) == (81.25, {"standard_error": 0.5, "images": 100})
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "81.25" in text.split("---\n")[2]
    assert sha in text
    assert '- **Author**: A, "B": c.\n' in text
    assert text.count("| pictures within 1e-05, at every step |") == 2


def test_a_classifier(draw_export, saved, tmp_path: Path) -> None:
    folder = tmp_path / "clf"
    path = saved("classifier", test_error=4.0, test_error_low=3.5, test_error_high=4.5, test_images=9)
    assert draw_export("--ckpt", path, "--hub", folder)[0] == 0
    assert {p.name for p in folder.iterdir()} == {"classifier.onnx"} | ALWAYS
    values = {m["type"]: m["value"] for m in matter(folder)["model-index"][0]["results"][0]["metrics"]}
    assert values == {"accuracy": 0.96, "error_rate": 4.0}
    assert matter(folder)["pipeline_tag"] == "image-classification"
    # Somebody's own weights: whose they are and on what terms, nobody has said.
    assert (matter(folder)["license"], matter(folder)["license_name"]) == ("other", "not stated")
    assert "- **Licence**: not stated." in (folder / "README.md").read_text()
    assert ("licence", "not stated; no author stated") in report(str(folder))[0]
    assert "| probabilities within 1e-05 |" in (folder / "README.md").read_text()
    shape = (1, *peek(folder).image_shape)
    assert Classifier(folder, "cpu")(np.zeros(shape, np.float32)).answers[0] in ("cat", "dog")


FORGED = ["abc", None, [1, 2], True, 10**400, float("inf"), float("nan"), {"a": 1}, torch.zeros(2)]


@pytest.mark.parametrize("kind", ["no attention", "classifier"])
@pytest.mark.parametrize("value", FORGED, ids=lambda value: str(value)[:20])
def test_figures_that_are_no_numbers_are_left_out(
    draw_export, saved, tmp_path: Path, kind: str, value
) -> None:
    """A checkpoint's metrics may hold anything that a pickle can."""
    folder, figure = tmp_path / "m", "test_error" if kind == "classifier" else "test_bound"
    for forged, other in (("test_images", figure), (figure, "test_images")):
        path = saved(kind, **{forged: value, other: 4.5})
        code, _, err = draw_export("--ckpt", path, "--hub", folder, "--no-check")
        assert (code, "wrote" in err) == (0, True), err
        text = (folder / "README.md").read_text()
        assert ("| 4.5 |  |" in text, "It has no test figure" in text) == (other == figure, forged == figure)
        assert all("args" not in metric for metric in _metrics(folder))
        assert load_checkpoint(folder / "model.safetensors").metrics[other] == 4.5


def _metrics(folder: Path) -> list[dict]:
    index = matter(folder).get("model-index", [{"results": [{"metrics": []}]}])
    return index[0]["results"][0]["metrics"]


def test_a_folder_named_like_a_packaged_model(draw_export, saved, tmp_path: Path, monkeypatch) -> None:
    """Commands take such a name for the packaged model: the next command must not be given it bare."""
    monkeypatch.chdir(tmp_path)
    path = saved("attention")
    for given, named in (("mnist", "./mnist"), ("sub/mnist", "sub/mnist"), ("mine", "mine")):
        _, _, err = draw_export("--ckpt", path, "--hub", given, "--no-check", "--graph", "decoder")
        assert err.splitlines()[-1] == f"wrote {given}; next: draw-gen --onnx {named} --gif out.gif"
    assert "mnist" in pretrained.packaged_models(".onnx")
    assert peek("./mnist").hidden_size == 9 != peek("mnist").hidden_size


def test_everything_takes_the_folder(draw_export, saved, tmp_path: Path) -> None:
    """Sampler and Scorer find their own graph in it; draw-export and --init-from its weights."""
    folder = tmp_path / "m"
    draw_export("--ckpt", saved("attention"), "--hub", folder)
    direct = Sampler(folder / "decoder.onnx", "cpu").sample(3, 7).images
    assert np.array_equal(Sampler(folder, "cpu").sample(3, 7).images, direct)
    assert np.array_equal(Sampler(str(folder), "cpu").sample(3, 7).images, direct)
    assert len(Scorer(folder, "cpu")(direct).bound) == 3
    with pytest.raises(DrawError, match=r"the folder .*m holds no classifier.onnx"):
        Classifier(folder, "cpu")
    assert draw_export("--ckpt", folder, "-o", tmp_path / "again.onnx")[0] == 0
    assert (tmp_path / "again.onnx").read_bytes() == (folder / "decoder.onnx").read_bytes()
    assert report(str(folder))[1] == []


def test_options(draw_export, saved, tmp_path: Path) -> None:
    """One graph alone; without steps; beside -o; a second time over the first; no figure."""
    folder, path = tmp_path / "m", saved("attention")
    code, _, err = draw_export("--ckpt", path, "--hub", folder, "--graph", "scorer", "--no-check")
    assert (code, "parity_atol unchecked" in err) == (0, True)
    assert {p.name for p in folder.iterdir()} == {"scorer.onnx"} | ALWAYS
    assert "| no |" in (folder / "README.md").read_text()
    assert "metrics" not in matter(folder)
    assert "model-index" not in matter(folder)
    other = ("--outputs", "image", "--recurrence", "lstm", "-o", tmp_path / "x.onnx", "--graph", "decoder")
    assert draw_export("--ckpt", path, "--hub", folder, *other)[0] == 0
    assert "LSTM" in {node.op_type for node in onnx.load(folder / "decoder.onnx").graph.node}
    assert {p.name for p in folder.iterdir()} == {"decoder.onnx", "samples.png"} | ALWAYS
    assert (tmp_path / "x.onnx").exists()
    assert "![Samples](samples.png)" in (folder / "README.md").read_text()
    lean = tmp_path / "lean"
    assert draw_export("--ckpt", path, "--hub", lean, "--recurrence", "lstm", "--outputs", "image")[0] == 0
    assert {p.name for p in lean.iterdir()} == (DRAWN - {"drawing.gif"}) | ALWAYS
    assert (lean / "README.md").read_text().count("| pictures within 1e-05 |") == 2


def test_a_packaged_model_keeps_its_card(draw_export, saved, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        pretrained,
        "packaged_card",
        lambda name: (
            "---\nx: 1\n---\n\n# tiny\n\nA model, [told of](../a.md#b) on\n[a page](https://x.y).\n\n![Curve](../a.png)\n\nEnd.\n"
        ),
    )
    folder = tmp_path / "m"
    assert draw_export("--ckpt", saved("attention"), "--hub", folder)[0] == 0
    text = (folder / "README.md").read_text()
    assert text == (
        "---\nx: 1\n---\n\n# tiny\n\nA model, told of on\n[a page](https://x.y).\n\n![Being painted](drawing.gif)\n\nEnd.\n"
    )
    # Which is about other files than these.
    all_others = ("--no-check",), ("--time-steps", "2"), ("--model-license", "CC-BY-4.0"), ("--atol", "0.001")
    for others in all_others:
        assert draw_export("--ckpt", saved("attention"), "--hub", tmp_path / "other", *others)[0] == 0
        assert "End." not in (tmp_path / "other" / "README.md").read_text()


@pytest.mark.parametrize("name", pretrained.packaged_models(".ckpt"))
def test_front_matter_is_that_of_the_packaged_cards(name: str) -> None:
    """Written from the weights' own figures, it says what the card says that was printed and checked."""
    card = pretrained.packaged_card(name)
    assert card is not None
    checkpoint = load_checkpoint(pretrained.find_packaged(name, ".ckpt", "checkpoint"))
    written = front_matter(name, checkpoint, checkpoint.metrics, "MIT")
    assert yaml.safe_load(written.split("---\n")[1]) == yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize(
    "text", ["yes", "null", "1.0", "a: b", "#x", "", "- x", "it's", "Müller", "[a]", "2020-01-01"]
)
def test_texts_stay_texts_in_yaml(checkpoints, text: str) -> None:
    checkpoint = dataclasses.replace(checkpoints["attention"], dataset=text)
    written = yaml.safe_load(front_matter(text, checkpoint, {"test_bound": 1.5}, text).split("---\n")[1])
    assert written["license"] == "other"
    assert written["license_name"] == (text or "not stated")
    assert written["model-index"][0]["name"] == text
    assert written["model-index"][0]["results"][0]["dataset"]["name"] == text


@pytest.mark.parametrize("wrong", ["decoder", "scorer"])
def test_one_failed_parity_leaves_no_folder(
    draw_export, saved, tmp_path: Path, monkeypatch, wrong: str
) -> None:
    monkeypatch.setattr(Exported, "passed", property(lambda self: self.graph != wrong))
    draw_export("--ckpt", saved("attention"), "--hub", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_facts_for_other_programs(draw_export, checkpoints, tmp_path: Path) -> None:
    checkpoint = dataclasses.replace(
        checkpoints["attention"], binary=True, picture_fit="cover", figure_size=5
    )
    save_checkpoint(tmp_path / "best.ckpt", checkpoint)
    assert draw_export("--ckpt", tmp_path / "best.ckpt", "--hub", tmp_path / "hub", "--no-check")[0] == 0
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    facts = ("library_name", "model_type", "dataset", "binary", "picture_fit", "figure_size")
    assert [config[fact] for fact in facts] == ["draw-onnx", "draw", "digits", True, "cover", 5]
    assert config["hidden_size"] == 9


def test_a_failed_parity_leaves_no_folder(draw_export, saved, tmp_path: Path, monkeypatch) -> None:
    def refuse(self: Exported) -> None:
        raise DrawError("it differs")

    monkeypatch.setattr(Exported, "passed", property(lambda self: False))
    monkeypatch.setattr(Exported, "require_parity", refuse)
    code, _, err = draw_export("--ckpt", saved("attention"), "--hub", tmp_path / "new")
    assert (code, "it differs" in err) == (1, True)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_old_folder(draw_export, saved, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "hub"
    assert draw_export("--ckpt", saved("attention"), "--hub", folder)[0] == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(path: Path, *_: object) -> None:
        raise DrawError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("draw_onnx.export.hub.save_weights", full)
    code, _, err = draw_export("--ckpt", saved("attention"), "--hub", folder, "--time-steps", 2)
    assert (code, f"cannot write {folder}/model.safetensors: No space left on device\n" in err) == (1, True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_links_and_modes_stay(draw_export, saved, tmp_path: Path) -> None:
    folder, kept = tmp_path / "hub", tmp_path / "elsewhere.json"
    assert draw_export("--ckpt", saved("attention"), "--hub", folder)[0] == 0
    (folder / "config.json").rename(kept)
    (folder / "config.json").symlink_to(kept)
    (folder / "model.safetensors").chmod(0o600)
    for name, age in ((".draw-onnx-hub-killed", 2 * 24 * 3600), (".draw-onnx-hub-writing", 60)):
        (folder / name).mkdir()
        os.utime(folder / name, (time.time() - age, time.time() - age))
    assert draw_export("--ckpt", saved("attention"), "--hub", folder, "--time-steps", 2)[0] == 0
    assert (folder / "config.json").is_symlink()
    assert json.loads(kept.read_text())["library_name"] == "draw-onnx"
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == 0o600
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert hidden == [".draw-onnx-hub-writing"]  # of an export to the same folder that has not ended


def test_a_gif_too_long_is_left_out(draw_export, saved, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("draw_onnx.runtime.pictures.gif.MAX_GIF_PIXELS", 1000)
    code, _, err = draw_export("--ckpt", saved("attention"), "--hub", tmp_path / "hub")
    assert (code, "no picture of the steps: " in err) == (0, True)
    assert not (tmp_path / "hub" / "drawing.gif").exists()
    assert "![Samples](samples.png)" in (tmp_path / "hub" / "README.md").read_text()


def test_a_gate_of_eight_bits_is_not_the_scorers(draw_export, saved, tmp_path: Path) -> None:
    options = ("--dtype", "int8", "--atol", 0.25)
    assert draw_export("--ckpt", saved("no attention, colour"), "--hub", tmp_path / "hub", *options)[0] == 0
    gates = {name: peek(tmp_path / "hub" / f"{name}.onnx").parity_atol for name in ("decoder", "scorer")}
    assert gates == {"decoder": "0.25", "scorer": "1e-05"}
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "| pictures within 0.25 on average, at every step |" in text


def test_mistakes(draw_export, saved, tmp_path: Path) -> None:
    """Said before the work, and nothing is touched."""
    path = saved("attention")
    (tmp_path / "file").write_text("x")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("# My project")
    for folder, words in ((tmp_path / "file", "it is a file"), (mine, "is not a card that --hub wrote")):
        code, out, err = draw_export("--ckpt", path, "--hub", folder)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert words in err
    assert [p.name for p in mine.iterdir()] == ["README.md"]
    own = tmp_path / "own"
    own.mkdir()
    (own / "classifier.onnx").write_text("somebody's")
    code, _, err = draw_export("--ckpt", path, "--hub", own, "--no-check")
    assert (code, "holds classifier.onnx and no card that --hub wrote" in err) == (1, True)
    assert [(p.name, p.read_text()) for p in own.iterdir()] == [("classifier.onnx", "somebody's")]
    code, _, err = draw_export(
        "--ckpt", path, "--hub", tmp_path / "new", "-o", tmp_path / "nowhere" / "x.onnx"
    )
    assert (code, "nowhere does not exist" in err, (tmp_path / "new").exists()) == (1, True, False)
    code, _, err = draw_export("--ckpt", mine, "-o", tmp_path / "x.onnx")
    assert (code, err.rstrip().endswith("is a folder, not a checkpoint")) == (1, True)
    (mine / "best.ckpt").touch()
    code, _, err = draw_export("--ckpt", mine, "-o", tmp_path / "x.onnx")
    assert (code, f"not a checkpoint: give {mine / 'best.ckpt'}" in err) == (1, True)


def test_a_file_of_the_folder_is_not_written_twice(command: Command, saved, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    for output in (hub / "scorer.onnx", tmp_path / "there" / ".." / "hub" / "decoder.onnx"):
        (tmp_path / "there").mkdir(exist_ok=True)
        hub.mkdir(exist_ok=True)
        code, _, error = command(cli.main, "--ckpt", saved("attention"), "--hub", hub, "-o", output)
        assert (code, f"--output {output}: --hub writes that file" in error) == (1, True), error
    assert not list(hub.iterdir())
