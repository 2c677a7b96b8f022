"""draw-eval --dtype int8: what the weights of an int8 file cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint
from draw_onnx.models.config import DrawConfig
from draw_onnx.models.rounding import rounded_to_int8
from draw_onnx.train.evaluation import cli as eval_cli

from ...conftest import Command


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of a small network for the digits, with random weights."""
    config = DrawConfig(1, 8, 8, time_steps=3, hidden_size=12, latent_size=4, read_size=3, write_size=3)
    torch.manual_seed(0)
    weights = {k: 0.5 * torch.randn_like(w) for k, w in build_model(config).state_dict().items()}
    save_checkpoint(tmp_path / "x.ckpt", Checkpoint(config, "digits", weights))
    return tmp_path / "x.ckpt"


def test_the_figure_is_that_of_the_rounded_weights(command: Command, path: Path, tmp_path: Path) -> None:
    from draw_onnx.models.checkpoint import load_checkpoint

    save_checkpoint(tmp_path / "rounded.ckpt", rounded_to_int8(load_checkpoint(path)))
    figures = {}
    for name, arguments in {
        "float": ["--ckpt", path],
        "int8": ["--ckpt", path, "--dtype", "int8"],
        "rounded": ["--ckpt", tmp_path / "rounded.ckpt"],
    }.items():
        code, out, error = command(eval_cli.main, *arguments, "--threads", 1, "--limit", 50, "--json")
        assert code == 0, error
        figures[name] = json.loads(out)
    assert figures["int8"]["bound"] == figures["rounded"]["bound"] != figures["float"]["bound"]
    assert figures["int8"]["bound"] == pytest.approx(figures["float"]["bound"], rel=0.05)
    assert (figures["int8"].get("dtype"), figures["float"].get("dtype")) == ("int8", None)


def test_the_line_says_so(command: Command, path: Path) -> None:
    code, out, _ = command(eval_cli.main, "--ckpt", path, "--dtype", "int8", "--limit", 20)
    assert code == 0
    assert out.splitlines()[0].endswith("[weights rounded to int8]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--onnx", "x.onnx", "--dtype", "int8"], "--dtype is for checkpoints"),
        (["--ckpt", "x.ckpt", "--dtype", "int4"], "--dtype"),
    ],
)
def test_bad_usage_is_one_line(command: Command, arguments: list[str], message: str) -> None:
    code, out, error = command(eval_cli.main, *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error
