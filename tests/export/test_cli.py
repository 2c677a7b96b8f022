"""draw-export as a stranger meets it."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import sys
from pathlib import Path

import onnx
import pytest
import torch

from draw_onnx.export import cli, export, graphs
from draw_onnx.models.checkpoint import save_checkpoint
from draw_onnx.runtime.metadata import Metadata

from .conftest import props


@pytest.fixture
def folder(tmp_path, monkeypatch, checkpoints) -> Path:
    """A working folder with draw.ckpt and classifier.ckpt."""
    save_checkpoint(tmp_path / "draw.ckpt", checkpoints["attention"])
    save_checkpoint(tmp_path / "classifier.ckpt", checkpoints["classifier"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metadata(path: Path) -> Metadata:
    return Metadata.from_props(props(onnx.load(path)))


def test_writes_a_file_and_the_report(folder, draw_export):
    code, out, err = draw_export("--ckpt", "draw.ckpt", "-o", "digits.onnx")
    assert code == 0, err
    written = metadata(folder / "digits.onnx")
    assert (written.model_type, written.parity_atol, written.outputs) == ("draw.decoder", "1e-05", "steps")
    nodes = len(onnx.load(folder / "digits.onnx").graph.node)
    assert re.search(rf"^nodes +{nodes}$", out, re.M)
    assert re.search(rf"^bytes +{(folder / 'digits.onnx').stat().st_size:,}$", out, re.M)
    assert re.search(r"^load +\d+ ms$", out, re.M)
    assert re.search(r"^speed +1 at once [\d.]+ ms; 32 at once [\d.]+ ms$", out, re.M)
    for name in ("image", "canvases", "write_attention"):
        assert re.search(rf"^  {name} +\d\.\de-\d+ +\d\.\de-\d+ .* ok$", out, re.M)
    assert err.splitlines()[-1] == "wrote digits.onnx; next: draw-gen --onnx digits.onnx --gif out.gif"


def test_the_graph_follows_the_checkpoint(folder, draw_export):
    assert draw_export("--ckpt", "classifier.ckpt")[0] == 0
    assert metadata(folder / "classifier.onnx").labels == ("cat", "dog")
    assert draw_export("--ckpt", "draw.ckpt")[0] == 0
    assert metadata(folder / "decoder.onnx").model_type == "draw.decoder"
    assert draw_export("--ckpt", "draw.ckpt", "--graph", "scorer")[0] == 0
    assert metadata(folder / "scorer.onnx").model_type == "draw.scorer"


def test_options_reach_the_file(folder, draw_export):
    options = ["--outputs", "image", "--time-steps", "6", "--opset", "18"]
    options += ["--model-license", "CC-BY-4.0", "--model-author", "Ada"]
    assert draw_export("--ckpt", "draw.ckpt", "-o", "x.onnx", *options)[0] == 0
    written = metadata(folder / "x.onnx")
    assert (written.time_steps, written.outputs) == (6, "image")
    assert (written.model_license, written.model_author) == ("CC-BY-4.0", "Ada")
    assert onnx.load("x.onnx").opset_import[0].version == 18
    assert draw_export("--ckpt", "draw.ckpt", "-o", "y.onnx", "--recurrence", "lstm")[0] == 0
    assert [n.op_type for n in onnx.load("y.onnx").graph.node].count("LSTM") == 1
    assert draw_export("--ckpt", "draw.ckpt", "-o", "z.onnx", "--dtype", "fp16", "--batch", "2")[0] == 0
    assert (metadata(folder / "z.onnx").parity_atol, onnx.load("z.onnx").graph.input[0].name) == (
        "0.02",
        "noise",
    )


def test_no_check_says_so(folder, draw_export):
    code, out, err = draw_export("--ckpt", "draw.ckpt", "-o", "x.onnx", "--no-check")
    assert code == 0
    assert "parity" not in out
    assert "not compared with torch" in err
    assert metadata(folder / "x.onnx").parity_atol == "unchecked"


def test_triton_repository(folder, draw_export):
    code, _, err = draw_export("--ckpt", "draw.ckpt", "--triton", "models")
    assert code == 0, err
    assert (folder / "models/decoder/config.pbtxt").exists()
    assert metadata(folder / "models/decoder/1/model.onnx").parity_atol == "1e-05"
    assert not (folder / "decoder.onnx").exists()


def test_a_failed_parity_leaves_no_file(folder, draw_export, monkeypatch):
    honest = graphs.build_decoder  # pyright: ignore[reportPrivateImportUsage]

    def dishonest(b, config, weights, **options):
        wrong = {**weights, "decoder.weight_hh": weights["decoder.weight_hh"] * 1.01}
        honest(b, config, wrong, **options)

    monkeypatch.setattr(graphs, "build_decoder", dishonest)
    (folder / "x.onnx").write_bytes(b"an older file")
    before = sorted(folder.iterdir())
    code, out, err = draw_export("--ckpt", "draw.ckpt", "-o", "x.onnx")
    assert code == 1
    assert "FAILED" in out
    *told, error = err.splitlines()  # a slow machine says how long it took
    assert all(line.startswith("comparing with torch: ") for line in told)
    assert re.fullmatch(
        r"draw-export: error: parity failed, no file written: image differs by .* \(--atol\)", error
    )
    assert (folder / "x.onnx").read_bytes() == b"an older file"
    assert draw_export("--ckpt", "draw.ckpt", "--triton", "models", "-o", "x.onnx")[0] == 1
    assert sorted(folder.iterdir()) == before


class Trap:
    """What a hostile pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("PWNED",)


def make_bad_checkpoints(folder: Path) -> None:
    whole = (folder / "draw.ckpt").read_bytes()
    (folder / "truncated.ckpt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.ckpt").write_bytes(b"")
    (folder / "text.ckpt").write_text("hello\n")
    (folder / "code.ckpt").write_bytes(pickle.dumps(Trap()))
    torch.save({"magic": Trap()}, folder / "code-in-zip.ckpt")
    torch.save({"weight": torch.zeros(3)}, folder / "foreign.ckpt")
    content = torch.load(folder / "draw.ckpt", weights_only=True)
    torch.save({**content, "format_version": 99}, folder / "newer.ckpt")
    torch.save({**content, "kind": "gan"}, folder / "kind.ckpt")


def test_bad_checkpoints_are_one_line_and_run_nothing(folder, draw_export):
    make_bad_checkpoints(folder)
    before = sorted(folder.iterdir())
    for name, message in {
        "truncated": "not a draw-onnx checkpoint",
        "empty": "not a draw-onnx checkpoint",
        "text": "not a draw-onnx checkpoint",
        "code": "not a draw-onnx checkpoint",
        "code-in-zip": "not a draw-onnx checkpoint",
        "foreign": "not a draw-onnx checkpoint",
        "newer": "newer than this package reads",
        "kind": "unknown model kind",
        "missing": "no checkpoint at missing.ckpt",
    }.items():
        code, out, err = draw_export("--ckpt", f"{name}.ckpt", "-o", "x.onnx")
        assert (code, out) == (1, ""), name
        assert err.startswith("draw-export: error: "), name
        assert err.count("\n") == 1, name
        assert message in err, name
        assert sorted(folder.iterdir()) == before, name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--ckpt", "draw.ckpt", "-o", "nowhere/x.onnx"], 1, "the folder nowhere does not exist"),
        (["--ckpt", "draw.ckpt", "-o", "."], 1, "it is a folder"),
        (
            ["--ckpt", "draw.ckpt", "-o", "draw.ckpt"],
            1,
            "cannot write draw.ckpt: it is one of the files that are read",
        ),
        (["--ckpt", "draw.ckpt", "-o", "x.pt"], 2, "--output writes .onnx files: x.pt should end in .onnx"),
        (["--ckpt", "classifier.ckpt", "--graph", "scorer"], 1, "needs a DRAW checkpoint"),
        (["--ckpt", "draw.ckpt", "--graph", "classifier"], 1, "needs a classifier checkpoint"),
        (["--ckpt", "draw.ckpt", "--graph", "gan"], 2, "--graph"),
        (["--ckpt", "draw.ckpt", "--time-steps", "0"], 2, "--time-steps"),
        (["--ckpt", "draw.ckpt", "--time-steps", "many"], 2, "--time-steps"),
        (["--ckpt", "draw.ckpt", "--opset", "12"], 2, "--opset"),
        (["--ckpt", "draw.ckpt", "--opset", "22"], 2, "--opset"),
        (["--ckpt", "draw.ckpt", "--atol", "0"], 1, "--atol must be a positive number"),
        (["--ckpt", "draw.ckpt", "--atol", "nan"], 1, "--atol must be a positive number"),
        (["--ckpt", "draw.ckpt", "--no-check", "--atol", "1e-3"], 2, "--no-check leaves out"),
        (["--ckpt", "classifier.ckpt", "--dtype", "int8", "--atol", "5"], 1, "at most 1, not 5"),
        (["--ckpt", "draw.ckpt", "--triton", "m", "-o", "a b.onnx"], 1, "no name for a Triton model"),
        (["--ckpt", "nosuchmodel"], 1, "no checkpoint nosuchmodel"),
        ([], 2, "--ckpt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_usage_is_one_line(folder, draw_export, arguments, code, message):
    before = sorted(folder.iterdir())
    got, out, err = draw_export(*arguments)
    assert (got, out) == (code, "")
    assert err.startswith("draw-export: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder(folder, draw_export):
    (folder / "locked").mkdir(mode=0o555)
    code, _, err = draw_export("--ckpt", "draw.ckpt", "-o", "locked/x.onnx")
    assert (code, "is not writable" in err) == (1, True)


def test_a_packaged_model_by_name(folder, draw_export, monkeypatch):
    from draw_onnx import pretrained

    monkeypatch.setattr(pretrained, "files", lambda _: folder)
    code, _, err = draw_export("--ckpt", "draw", "-o", "named.onnx", "--no-check")
    assert code == 0, err
    code, _, err = draw_export("--ckpt", "unknown")
    assert (code, "packaged models: classifier, draw" in err) == (1, True)


def test_failed_rows_are_red_on_a_terminal(checkpoints, monkeypatch, capsys):
    exported = export(checkpoints["attention"])
    wrong = dataclasses.replace(exported.rows[0], need=1.5 * exported.rows[0].gate.atol)
    exported = dataclasses.replace(exported, rows=(wrong, *exported.rows[1:]))
    cli.print_report(exported)
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    cli.print_report(exported)
    coloured = capsys.readouterr().out
    assert "\x1b" not in plain
    red = re.findall(r"\x1b\[31m(.*?)\x1b\[0m", coloured)
    assert red == [line for line in plain.splitlines() if "FAILED" in line]
    assert len(red) == 1
