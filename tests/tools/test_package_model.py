"""Packaging a run: what its command made goes in, with figures that were printed; anything else is refused."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from draw_onnx.models.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from draw_onnx.runtime.session import peek
from draw_onnx.train import cli

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "tests" / "pretrained" / "card.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """tools/package_model.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("package_model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a moment."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    sizes = ("--hidden", 8, "--time-steps", 2, "--latent", 2, "--threads", 1)
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--out", folder, "--iterations", 60, "--eval-every", 2, *sizes]
        patch.setattr(sys, "argv", ["draw-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change_settings(folder: Path, **changes: Any) -> None:
    last = load_checkpoint(folder / "last.ckpt")
    assert last.training is not None
    last.training["settings"] |= changes
    save_checkpoint(folder / "last.ckpt", last)


def add_stages(folder: Path, last_of_first: int) -> None:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["stage"] = str(1 if int(row["iteration"]) <= last_of_first else 2)
    with (folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_a_card_is_what_the_commands_print(tool: Any, trained: Path, tmp_path: Path) -> None:
    for folder in ("pretrained", "docs/images"):
        (tmp_path / folder).mkdir(parents=True)
    card = tool.package(trained, "tiny", None, 3, 20, 30, root=tmp_path)
    text = card.read_text(encoding="utf-8")
    weights = tmp_path / "pretrained" / "tiny.safetensors"
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
    # The command without this machine's folders, and the whole curve in two dozen points.
    assert "```sh\ndraw-train --iterations 60 --eval-every 2 --hidden 8" in text
    assert str(tmp_path) not in text
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
    images = {p.name for p in (tmp_path / "docs" / "images").iterdir()}
    assert images == {"tiny-curve.png", "tiny-nearest.png", "tiny-recognised.png"}


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
    (copy / "test.txt").unlink()
    with pytest.raises(SystemExit, match="no finished run"):
        tool.check_run(copy)
