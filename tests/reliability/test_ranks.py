"""Which of several processes this one is: what draw-train, torchrun and schedulers put into the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train.ranks import Rank, this_rank


def test_who_is_whose_child(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_rank(1) == Rank()
    assert this_rank(2).main
    monkeypatch.setenv("DRAW_TRAIN_RANK", f"{os.getppid()} 1 2 29500")
    assert this_rank(2) == Rank(1, 2, 29500, os.getppid(), 2)
    monkeypatch.setenv("DRAW_TRAIN_RANK", "1 1 2 29500" if os.getppid() != 1 else "2 1 2 29500")
    with pytest.raises(DrawError, match="the main process has ended"):
        this_rank(2)
    monkeypatch.delenv("DRAW_TRAIN_RANK")
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": "3",
    }.items():
        monkeypatch.setenv(name, value)
    assert this_rank(1) == this_rank(2) == Rank(3, 4, local=2, torchrun=True)
    with pytest.raises(DrawError, match="torchrun started 2 processes on this machine"):
        this_rank(3)


# The variables, named as arguments, are as they were: for what a program that imports this starts.
LEFT_OVER = """
import os, sys
before = dict(os.environ)
import draw_onnx.train.launch
from draw_onnx.train.ranks import Rank, this_rank
assert this_rank(1) == Rank()
assert dict(os.environ) == before
from draw_onnx.train.machine import launch_fabric, make_fabric
from draw_onnx.train.settings import Hardware
fabric = make_fabric(Hardware("cpu"), Rank())
launch_fabric(fabric)
assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
assert {name: os.environ[name] for name in sys.argv[1:]} == {name: before[name] for name in sys.argv[1:]}
"""


@pytest.mark.parametrize("value", ["", "x", "-1", "1,2"])
def test_left_over_variables_that_are_no_numbers(value: str) -> None:
    """Fabric reads them as it is imported: a process of its own."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "WORLD_SIZE", "SLURM_NTASKS")
    left = {**dict.fromkeys(names, value), "LT_CLI_USED": "1", "LT_DEVICES": "3"}
    left |= {"LT_ACCELERATOR": "tpu", "LT_PRECISION": "16"}
    subprocess.run([sys.executable, "-c", LEFT_OVER, *left], env={**os.environ, **left}, check=True)


@pytest.mark.parametrize(
    "values",
    [
        {"WORLD_SIZE": "x"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "7", "LOCAL_WORLD_SIZE": "1"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "0"},
        {"WORLD_SIZE": "3", "RANK": "0", "LOCAL_WORLD_SIZE": "2"},
    ],
)
def test_what_torchrun_does_not_say(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name in ("RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TORCHELASTIC_RUN_ID": "left", **values}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DrawError, match="TORCHELASTIC_RUN_ID is set, but torchrun sets no RANK="):
        this_rank(1)
    for mark in ("", "x", "1 2"):
        monkeypatch.setenv("DRAW_TRAIN_RANK", mark)
        with pytest.raises(DrawError, match="DRAW_TRAIN_RANK is not what draw-train gives"):
            this_rank(1)
