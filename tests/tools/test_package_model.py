"""Packaging a run: what its command made goes in, with figures that were printed; anything else is refused."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from draw_onnx.models.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from draw_onnx.runtime.session import peek

from ..conftest import TINY

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "tests" / "pretrained" / "card.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def tool(load_tool: Callable[[str], Any]) -> Any:
    return load_tool("package_model")


@pytest.fixture(scope="module")
def trained(whole_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a moment."""
    return whole_run(tmp_path_factory.mktemp("runs") / "tiny", "--iterations", 60, "--eval-every", 2, *TINY)


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change_settings(folder: Path, **changes: Any) -> None:
    last = load_checkpoint(folder / "last.ckpt")
    assert last.training is not None
    last.training["settings"] |= changes
    save_checkpoint(folder / "last.ckpt", last)
    (folder / "test.txt").touch()  # what a run writes last


def add_stages(folder: Path, last_of_first: int) -> None:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["stage"] = str(1 if int(row["iteration"]) <= last_of_first else 2)
    with (folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def packaged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root below which that run was packaged as `tiny`."""
    root = tmp_path_factory.mktemp("root")
    for folder in ("pretrained", "docs/images"):
        (root / folder).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        card = importlib.import_module("package_model").package(trained, "tiny", None, 3, 20, 30, root=root)
    assert card == root / "pretrained" / "tiny.md"
    return root


def test_a_card_is_what_the_commands_print(packaged: Path, trained: Path) -> None:
    weights = packaged / "pretrained" / "tiny.safetensors"
    text = weights.with_suffix(".md").read_text(encoding="utf-8")
    best, shipped = load_checkpoint(trained / "best.ckpt"), load_checkpoint(weights)
    sha = weights_sha256(best.weights, best.config)
    assert sha == weights_sha256(shipped.weights, shipped.config)
    assert sha == peek(str(weights.with_suffix(".onnx"))).weights_sha256
    assert sha in text
    matter = yaml.safe_load(text.split("---\n")[1])
    jsonschema.validate(matter, SCHEMA)
    # The figures: printed, in the header and in the front matter.
    printed = (trained / "test.txt").read_text(encoding="utf-8").strip()
    assert printed in text
    bound = float(printed.split()[0])
    assert shipped.metrics == best.metrics | {
        k: v for k, v in shipped.metrics.items() if k.startswith("test_")
    }
    assert shipped.metrics["test_bound"] == bound
    values = {m["type"]: m for m in matter["model-index"][0]["results"][0]["metrics"]}
    assert values["negative_log_likelihood_bound"]["value"] == bound
    assert values["negative_log_likelihood_bound"]["args"]["images"] == 200
    assert values["importance_weighted_bound"]["args"] == {
        "standard_error": shipped.metrics["test_importance_standard_error"],
        "samples": 3,
        "images": 20,
    }
    assert values["recognisability"]["args"]["samples"] == 30
    # Each with the decimals that are printed of it.
    figures = shipped.metrics
    assert (
        f"K = 3: {figures['test_importance_bound']:.2f} ± {figures['test_importance_standard_error']:.2f}"
        in text
    )
    assert f"30 samples: {figures['test_recognised']:.1f} % read" in text
    assert f"real test pictures: {figures['test_recognised_real']:.1f} %" in text
    assert f"torn digits: {figures['test_recognised_torn']:.1f} %" in text
    assert all(round(value, 2) == value for name, value in figures.items() if name.startswith("test_"))
    # The command without this machine's folders, and the whole curve in two dozen points.
    assert "```sh\ndraw-train --iterations 60 --eval-every 2 --hidden 8" in text
    assert str(packaged) not in text
    assert str(trained) not in text
    table = re.search(r"^\| iteration \|(.*)\|$", text, re.MULTILINE)
    assert table
    iterations = [int(n) for n in table[1].split("|")]
    assert (iterations[0], iterations[-1], len(iterations)) == (2, 60, 24)
    assert (
        "Another processor gives other bits and, as expected but not tried, a figure like this one"
        in " ".join(text.split())
    )
    assert "stages" not in text
    images = {p.name for p in (packaged / "docs" / "images").iterdir()}
    assert images == {"tiny-curve.png", "tiny-nearest.png", "tiny-recognised.png"}


def test_which_figures_are_of_the_test_set(load_tool: Callable[[str], Any]) -> None:
    """Not a plain one on a part of it, nor one of samples at another temperature."""
    blocks = load_tool("card_blocks")

    def figures(values: dict[str, Any], **options: Any) -> dict[str, float]:
        return blocks.test_figures(blocks.Request("x.ckpt", **options), values)

    bound: dict[str, Any] = {"bound": 80.7549, "standard_error": 0.2249, "images": 10_000}
    assert figures(bound) == {
        "test_bound": 80.75,
        "test_standard_error": 0.22,
        "test_images": 10_000,
    }
    part = bound | {"images": 1000}
    assert figures(part, limit=1000) == {}
    part |= {"importance_samples": 50, "importance_bound": 79.066, "importance_standard_error": 0.617}
    assert figures(part, limit=1000, importance=50) == {
        "test_importance_samples": 50,
        "test_importance_bound": 79.07,
        "test_importance_standard_error": 0.62,
        "test_importance_images": 1000,
    }
    read = {"recognised_samples": 86.66, "recognised_real": 87.94, "recognised_torn": 30.0}
    read |= {"temperature": 1.0}
    assert figures(bound | read, limit=10, recognise=30) == {
        "test_recognised_samples": 30,
        "test_recognised": 86.7,
        "test_recognised_real": 87.9,
        "test_recognised_torn": 30.0,
    }
    cool = read | {"temperature": 0.8}
    assert figures(bound | cool, limit=10, recognise=30, temperature=0.8) == {}
    error = {"error_percent": 3.3649, "interval": (3.0249, 3.7351), "images": 10_000}
    assert figures(error) == {
        "test_error": 3.36,
        "test_error_low": 3.02,
        "test_error_high": 3.74,
        "test_images": 10_000,
    }


def test_an_onnx_file_is_evaluated_too(
    load_tool: Callable[[str], Any], data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes((ROOT / "pretrained" / "cluttered-mnist-4.onnx").read_bytes())
    options = {"limit": 100, "calibration": Path("a.png")}
    block = load_tool("card_blocks").evaluated("onnx", "model.onnx", tmp_path, data_dir, **options)
    assert block.words == ["draw-eval", "--onnx", "model.onnx", "--limit", "100", "--calibration", "a.png"]
    first, error, calibration = block.text.split("\n")
    assert first == "cluttered-mnist test [100 of 10,000 images, evenly spread]"
    assert error.startswith("7.00 % error (95 % interval ")
    assert calibration.startswith("expected calibration error ")
    assert block.figures == {}
    assert (tmp_path / "a.png").exists()


def test_the_export_alone_anew(
    tool: Any, packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and its lines; the figures and the weights stay as they are, and a second machine is named."""
    root = Path(shutil.copytree(packaged, tmp_path / "root"))
    folder = root / "pretrained"
    weights, before = (folder / "tiny.safetensors").read_bytes(), (folder / "tiny.md").read_text("utf-8")
    onnx = (folder / "tiny.onnx").read_bytes()
    (folder / "tiny.onnx").write_bytes(b"of an older version")
    older = re.sub(r"(?m)^(\$ draw-export .*) --model-license .*\n(?:.+\n)+?```", r"\1\nnodes 7\n```", before)
    assert older != before
    (folder / "tiny.md").write_text(older, "utf-8")
    assert tool.renew_export("tiny", root) == folder / "tiny.md"
    assert (folder / "tiny.onnx").read_bytes() == onnx
    assert (folder / "tiny.safetensors").read_bytes() == weights

    def untimed(text: str) -> str:
        return re.sub(r"(?m)^(load|speed) .*", "", text)

    text = (folder / "tiny.md").read_text("utf-8")
    assert untimed(text) == untimed(before)
    card, machine = importlib.import_module("card"), importlib.import_module("card")._machine()
    for other in ("Windows, a CPU (R)", "Plan 9, another"):
        monkeypatch.setattr(card, "_machine", lambda other=other: other)
        text = card.with_export(text, tool.Block(["draw-export", "-o", "x"], "nodes 8"))
        assert f"\n{card._PRINTED}{machine}; draw-export: {other}):\n" in text
        assert "$ draw-export -o x\nnodes 8\n```" in text
    monkeypatch.setattr(card, "_machine", lambda: machine)
    assert f"\n{card._PRINTED}{machine}):\n" in card.with_export(text, tool.Block(["draw-export"], ""))


def test_what_has_no_export_to_renew(tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pretrained"
    folder.mkdir()
    with pytest.raises(SystemExit, match="no packaged model tiny"):
        tool.renew_export("tiny", tmp_path)
    for suffix in (".safetensors", ".md"):
        (folder / f"tiny{suffix}").write_text("# tiny\n")
    with pytest.raises(SystemExit, match="it shows no draw-export"):
        tool.renew_export("tiny", tmp_path)
    assert not (folder / "tiny.onnx").exists()


@pytest.mark.parametrize("words", [[], ["run"], ["run", "name", "--export-only", "mnist"]])
def test_a_run_and_a_name_or_a_packaged_model(
    tool: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["package_model.py", *words])
    with pytest.raises(SystemExit) as stop:
        tool.main()
    assert stop.value.code == 2
    assert "give a run folder and a name, or --export-only NAME alone" in capsys.readouterr().err


def write_record(tool: Any, folder: Path, name: str, **changes: Any) -> Any:
    values = {"figure": "25 nats", "command": "draw-train --threads 1", "iterations": 2, "epochs": 0.1}
    values |= {"seconds": 7200.0, "hardware": "1 x cpu", "sizes": "", "curve": [[1, "30.00"], [2, "29.00"]]}
    record = tool.Run(**{"name": name, "preset": "digits", "ends": [2], **values, **changes})
    text = json.dumps(dataclasses.asdict(record))
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return record


def test_the_first_stages_may_be_other_runs(tool: Any, copy: Path) -> None:
    """Named by the last one's record, whose weights this run began from; the card has the command that makes it all."""
    words = "draw-train --from-stage 3 --init-from second.safetensors"
    (copy / "command.txt").write_text(f"{words}\n")
    change_settings(copy, init_from="ab12")
    add_stages(copy, 0)
    write_record(tool, copy, "first", weights_sha256="ef56")
    later = "draw-train --from-stage 2 --init-from first.safetensors"
    of_second = {"iterations": 4, "curve": [[3, "28.50"], [4, "28.00"]], "ends": [4], "seconds": 3600.0}
    second = write_record(
        tool, copy, "second", weights_sha256="ab12", starts_sha256="ef56", command=later, **of_second
    )
    before = tool.runs_to(tool.load_record(copy / "second.json"), copy)
    assert [one.name for one in before] == ["first", "second"]
    tool.check_run(copy, before)
    for other in ({"weights_sha256": "cd34"}, {"preset": "mnist"}):
        with pytest.raises(SystemExit, match="does not train later stages of second"):
            tool.check_run(copy, [before[0], dataclasses.replace(second, **other)])
    with pytest.raises(SystemExit, match="began from other weights"):
        tool.check_run(copy)
    best, last = (load_checkpoint(copy / name) for name in ("best.ckpt", "last.ckpt"))
    text = tool.page("tiny", best, last, words.split(), [], copy / "metrics.csv", before)
    assert "```sh\ndraw-train --threads 1\n```" in text
    assert "trains in 3 stages, which end at iterations 2, 4, 60. Here they were 3 runs" in text
    records = "- up to iteration 2, [its record](../docs/results.md#first): `draw-train --threads 1`, 2.0 h on 1 x cpu;\n"
    records += (
        f"- up to iteration 4, [its record](../docs/results.md#second): `{later}`, 60 min on 1 x cpu;\n"
    )
    assert f"{records}- the rest: `{words}`, " in text
    assert "| iteration | 1 | 2 | 3 |" in text
    assert "| nats | 30.00 | 29.00 | 28.50 |" in text
    (copy / "first.json").unlink()
    with pytest.raises(SystemExit, match="no record of the run that made the weights of second's start"):
        tool.runs_to(second, copy)


def test_a_run_in_stages(tool: Any, copy: Path) -> None:
    """Iterations count the whole run; the settings are those of the last stage, and no reason to refuse it."""
    add_stages(copy, 24)
    change_settings(copy, iterations=36)
    tool.check_run(copy)
    assert tool.stages(copy / "metrics.csv") == [24, 60]
    best, last = (load_checkpoint(copy / name) for name in ("best.ckpt", "last.ckpt"))
    text = tool.page("tiny", best, last, ["draw-train"], [], copy / "metrics.csv")
    assert "It trains in 2 stages, which end at iterations 24, 60." in text
    assert "Settings of the last stage as they were" in text


def test_one_stage_is_none(tool: Any, copy: Path) -> None:
    add_stages(copy, 60)
    assert tool.stages(copy / "metrics.csv") == []


def test_what_the_command_did_not_make_is_refused(tool: Any, copy: Path) -> None:
    tool.check_run(copy)
    command = (copy / "command.txt").read_text(encoding="utf-8")
    for option in ("--init-from other/best.safetensors", "--init-from=mnist"):
        (copy / "command.txt").write_text(f"{command.strip()} {option}\n", encoding="utf-8")
        with pytest.raises(SystemExit, match="nothing is packaged that its command did not make"):
            tool.check_run(copy)
    (copy / "command.txt").write_text(command, encoding="utf-8")
    change_settings(copy, init_from="abc123")
    with pytest.raises(SystemExit, match=r"began from other weights \(abc123\)"):
        tool.check_run(copy)
    change_settings(copy, init_from="", iterations=100)
    with pytest.raises(SystemExit, match="resumed with --iterations 100 where its command plans 60"):
        tool.check_run(copy)
    change_settings(copy, iterations=60)
    tool.check_run(copy)
    (copy / "last.ckpt").touch()  # as of a run that was resumed, and stopped before its new end
    with pytest.raises(SystemExit, match=r"no finished run: its last\.ckpt is newer than its test\.txt"):
        tool.check_run(copy)
    (copy / "test.txt").unlink()
    with pytest.raises(SystemExit, match="no finished run"):
        tool.check_run(copy)
