"""Homes that are not there, and what is kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train.data import places, prepared
from draw_onnx.train.data.prepared import cached_arrays
from draw_onnx.train.data.registry import data_root


def test_the_newest_of_each_source_is_kept(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def get(source: str, state: int) -> int:
        arrays = {"images": np.full((1, 1, 2, 2), state, np.uint8), "kept": np.ones(1, bool)}
        got = cached_arrays("images", source, state, lambda: arrays)
        assert got.keys() == arrays.keys()
        return int(got["images"].max())

    for source, state in (("a", 1), ("b", 2), ("a", 3), ("a", 3), ("b", 2)):
        assert get(source, state) == state
    kept = sorted(cache.iterdir())
    assert len(kept) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all(line.startswith(f"prepared pictures are kept in {cache}{os.sep}images-") for line in said)


def test_no_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown user without HOME, as containers have them: one line, and only where the folder is needed."""

    def unknown(_: str) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("pooch.os_cache", unknown)
    monkeypatch.delenv("DRAW_DATA", raising=False)
    monkeypatch.setattr(prepared, "cache_folder", lambda: places.cache_root())
    with pytest.raises(DrawError, match="set HOME, or DRAW_DATA"):
        data_root(None)
    one = {"images": np.ones((1, 1, 2, 2), np.uint8)}
    assert cached_arrays("images", 1, 1, lambda: one)["images"].max() == 1
    assert capsys.readouterr().err.startswith(
        "pictures are prepared again next time: there is no home folder"
    )
    with pytest.raises(DrawError, match="home folder is not known"):
        places.expand_home(Path("~nobody-of-this-name/x"))


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare to be an unknown user with")
def test_an_unknown_user_may_train_on_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    for k in range(4):
        Image.fromarray(np.full((8, 8), 60 * k, np.uint8)).save(tmp_path / f"{k}.png")
    unknown = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if subprocess.run([*unknown, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    script = Path(sys.executable).parent / "draw-train"
    sizes = (
        "--image-size",
        "8",
        "8",
        "--channels",
        "1",
        "--batch-size",
        "2",
        "--hidden",
        "8",
        "--time-steps",
        "2",
    )
    options = (
        "--preset",
        "images",
        "--image-dir",
        str(tmp_path),
        *sizes,
        "--iterations",
        "2",
        "--threads",
        "1",
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "DRAW_DATA", "XDG_CACHE_HOME")}
    ran = subprocess.run(
        [*unknown, str(script), *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "pictures are prepared again next time: there is no home folder" in ran.stderr


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    """Only hidden things of that name, a day old: another process may be at work."""
    for name in (".x-1.part", ".x-2.part", "x-3.npz"):
        (tmp_path / name).touch()
    (tmp_path / ".x-room").mkdir()
    (tmp_path / ".x-room" / "file").touch()
    for name in (".x-1.part", ".x-room", "x-3.npz"):
        os.utime(tmp_path / name, (0, 0))
    places.remove_leftovers(tmp_path, "*x-*")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x-2.part", "x-3.npz"]
