"""A new run writes over no file that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train import cli
from draw_onnx.train.settings import RunFolder

from ..conftest import TINY, Command

RUN = ("--iterations", 1, "--eval-every", 1, *TINY)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("last.ckpt", "", "already holds a run"),
        ("best.ckpt", "", "best.ckpt is the best of a run without a last.ckpt"),
        ("best.safetensors", "", "best.safetensors is the best of a run without a last.ckpt"),
        ("test.txt", "47.19 nats\n", "test.txt is the figure of another run"),
        ("metrics.csv", "iteration,loss\n1,2\n", "metrics.csv is not a table that draw-train wrote"),
        ("metrics.csv", "epoch;loss\n1;2\n", "metrics.csv is not a table that draw-train wrote"),
        ("command.txt", "make all\n", "command.txt is not a command line that draw-train wrote"),
        ("samples/0000500.png", "", "0000500.png is a sample sheet of another run"),
    ],
)
def test_what_a_new_run_would_replace(
    command: Command, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    before = contents(tmp_path)
    code, _, error = command(cli.main, "--out", tmp_path, *RUN)
    assert (code, error.count("\n")) == (1, 1)
    assert message in error
    assert "choose another --out" in error
    assert contents(tmp_path) == before


def test_what_a_run_without_a_checkpoint_leaves(tmp_path: Path) -> None:
    """It may be begun again; a folder of one's own pictures may be called samples."""
    (tmp_path / "metrics.csv").write_text("\ufeffiteration,stage,seconds,learning_rate\n1,1,1,1\n")
    (tmp_path / "command.txt").write_text("draw-train --out here\n")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "cat.png").touch()
    RunFolder(tmp_path).require_fresh()
    (tmp_path / "metrics.csv").write_text("")
    RunFolder(tmp_path).require_fresh()


def test_nothing_to_resume_is_said_whatever_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch;loss\n")
    with pytest.raises(DrawError, match="nothing to resume"):
        RunFolder(tmp_path).require_run()
