"""A full disk, a read-only folder, no network: one line, and what was there before is still there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..conftest import TINY

# In a namespace of its own: a disk of a few kilobytes, a folder nobody can write, a network without a cable.
_INSIDE = """
set -e
mount -t tmpfs -o size={size} none "$DISK"
if [ -n "$KEEP" ]; then printf old > "$DISK/$KEEP"; fi
{more}
status=0; "$@" || status=$?
ls -A "$DISK" > "$DISK.names"
if [ -n "$KEEP" ]; then cat "$DISK/$KEEP" > "$DISK.kept"; fi
exit $status
"""


def namespaces() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, "-rmn", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not namespaces(), reason="no namespaces (unshare -rmn) here")


@pytest.fixture
def on_disk(tmp_path: Path, script):
    """Run a command with a small disk at ``disk/``: (its status, stderr, names on the disk, content of ``keep``)."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(
        *arguments: object, size: str = "8k", keep: str = "", more: str = "", **environment: str
    ) -> tuple[int, str, list[str], str]:
        inside = _INSIDE.format(size=size, more=more)
        command = ["unshare", "-rmn", "sh", "-c", inside + "\n", "sh", script(str(arguments[0]))]
        values = {**os.environ, "DISK": str(disk), "KEEP": keep, "OMP_NUM_THREADS": "1", **environment}
        for name in ("disk.names", "disk.kept"):
            (tmp_path / name).write_text("")
        ran = subprocess.run(
            [*command, *map(str, arguments[1:])],
            env=values,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        names, kept = ((tmp_path / name).read_text() for name in ("disk.names", "disk.kept"))
        return ran.returncode, ran.stderr, names.split(), kept

    return run


def one_error(error: str) -> str:
    assert "Traceback" not in error, error
    lines = [line for line in error.splitlines() if ": error: " in line]
    assert len(lines) == 1, error
    return lines[0]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (9, 11), np.uint8)).save(
            folder / f"{k}.png"
        )
    return folder


@pytest.mark.parametrize("option", ["--gif", "--png", "--grid", "--npz"])
def test_draw_gen(on_disk, fake: Path, option: str) -> None:
    file = {"--gif": "x.gif", "--npz": "x.npz"}.get(option, "x.png")
    options = ("--scale", 20) if option != "--npz" else ()
    got = on_disk(
        "draw-gen", "--onnx", fake / "decoder.onnx", "-n", 64, option, f"disk/{file}", *options, keep=file
    )
    assert got[0] == 1
    assert "No space left on device" in one_error(got[1])
    assert got[2:] == ([file], "old")


def test_draw_classify_and_draw_score(on_disk, fake: Path, pictures: Path) -> None:
    for command, model in (("draw-classify", "classifier"), ("draw-score", "scorer")):
        got = on_disk(
            command,
            "--onnx",
            fake / f"{model}.onnx",
            pictures,
            "--gif",
            "disk/x.gif",
            "--scale",
            40,
            keep="x.gif",
        )
        assert got[0] == 1
        assert "No space left on device" in one_error(got[1])
        assert got[2:] == (["x.gif"], "old")


def test_draw_export(on_disk, checkpoint: Path) -> None:
    got = on_disk("draw-export", "--ckpt", checkpoint, "-o", "disk/x.onnx", keep="x.onnx")
    assert got[0] == 1
    assert "No space left on device" in one_error(got[1])
    assert got[2:] == (["x.onnx"], "old")


def test_draw_eval(on_disk, checkpoint: Path) -> None:
    got = on_disk("draw-eval", "--ckpt", checkpoint, "--limit", 4, "--plot", "disk/x.png", keep="x.png")
    assert got[0] == 1
    assert "No space left on device" in one_error(got[1])
    assert got[2:] == (["x.png"], "old")


def test_draw_train(on_disk) -> None:
    """The disk fills up in the course of the run; what is left goes on elsewhere or when there is room."""
    options = ("--out", "disk/run", "--iterations", 30, "--save-every", 2, "--eval-every", 10, *TINY)
    got = on_disk("draw-train", *options, size="120k")
    assert got[0] == 1
    assert "No space left on device" in one_error(got[1])
    assert got[2] == ["run"]


def test_a_disk_that_may_not_be_written(on_disk, fake: Path) -> None:
    locked = 'mount -o remount,ro "$DISK"'
    got = on_disk("draw-gen", "--onnx", fake / "decoder.onnx", "--grid", "disk/x.png", more=locked)
    assert got[0] == 1
    assert "disk" in one_error(got[1])
    assert got[2] == []
    got = on_disk("draw-train", "--out", "disk/run", "--iterations", 2, *TINY, more=locked)
    assert got[0] == 1
    assert "cannot create disk/run: Read-only file system" in one_error(got[1])


def test_nothing_else_is_fetched(on_disk, fake: Path, tmp_path: Path) -> None:
    """With the network taken away all commands work; a data set that is missing says what it could not fetch."""
    grid = ("--grid", tmp_path / "x.png")
    assert on_disk("draw-gen", "--onnx", "mnist", "-n", 2, *grid, size="1m")[0] == 0
    assert on_disk("draw-doctor")[0] == 0
    got = on_disk("draw-train", "--out", "disk/run", "--iterations", 2, *TINY, size="20m")
    assert got[0] == 0, got[1]
    assert "downloading" not in got[1]
    got = on_disk("draw-train", "--preset", "mnist", "--data-dir", "disk", "--out", "disk/run", size="1m")
    assert got[0] == 1
    assert "could not download" in one_error(got[1])
