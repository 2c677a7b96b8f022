"""What differs on Windows, as far as it can be seen elsewhere: files that are held, code pages, signals, names."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from draw_onnx import files
from draw_onnx.errors import DrawError
from draw_onnx.files import write_bytes
from draw_onnx.train.interrupt import Interrupt


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch):
    """(times) -> ``os.replace`` fails that often, as on Windows while another program holds the file."""
    real, pauses = os.replace, []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def hold(times: int, windows: bool) -> list[float]:
        left = [times]

        def replace(source: Path, target: Path) -> None:
            if left[0]:
                left[0] -= 1
                raise PermissionError(13, "Access is denied")
            real(source, target)

        monkeypatch.setattr(files, "_WINDOWS", windows)
        monkeypatch.setattr(os, "replace", replace)
        return pauses

    return hold


def test_a_file_held_for_a_moment_is_replaced(held, tmp_path: Path) -> None:
    pauses = held(3, windows=True)
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert len(pauses) == 3


@pytest.mark.parametrize(("times", "windows"), [(99, True), (1, False)])
def test_a_file_held_for_good_is_written_in_place(held, tmp_path: Path, times: int, windows: bool) -> None:
    """As where only the file may be written and not its folder; no endless wait, and elsewhere none at all."""
    (tmp_path / "a").write_bytes(b"old")
    pauses = held(times, windows)
    write_bytes(tmp_path / "a", b"new")
    assert sum(pauses) < 3
    assert bool(pauses) == windows
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


@pytest.mark.parametrize("windows", [True, False])
def test_a_new_file_that_cannot_take_its_place(held, tmp_path: Path, windows: bool) -> None:
    """One line, and nothing left behind."""
    held(99, windows)
    with pytest.raises(DrawError, match=r"^cannot write .*a: Access is denied$"):
        write_bytes(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code_page", ["cp437", "cp1252", "ascii"])
def test_characters_that_the_code_page_lacks(
    fake: Path, script: Callable[[str], str], code_page: str, tmp_path: Path
) -> None:
    """Output that goes to a file on Windows is in its code page: results come out, whatever letters they have."""
    model = onnx.load(fake / "classifier.onnx")
    for entry in model.metadata_props:
        if entry.key == "labels":
            entry.value = "круг,正方形,\N{WHITE UP-POINTING TRIANGLE}"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "picture.pgm").write_bytes(b"P5 4 4 255\n" + bytes(range(16)))
    environment = {**os.environ, "PYTHONIOENCODING": code_page}
    for arguments in (("picture.pgm",), ("picture.pgm", "--json"), ("picture.pgm", "--csv"), ("--help",)):
        got = subprocess.run(
            [script("draw-classify"), "--onnx", "model.onnx", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
        )
        assert got.returncode == 0, got.stderr
        assert got.stdout
        assert b"Traceback" not in got.stderr


def test_ctrl_break_ends_a_step_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(signal, "SIGBREAK", None) or signal.SIGUSR2
    monkeypatch.setattr(signal, "SIGBREAK", number, raising=False)
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.stop()
        signal.raise_signal(number)
        assert interrupt.stop()
        assert interrupt.signal == number
    assert signal.getsignal(number) == before


def test_every_file_has_a_name_that_windows_can_have(repository_files: list[str]) -> None:
    reserved = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
    for name in repository_files:
        assert not set(name) & set('<>:"|?*\\'), name
        for part in Path(name).parts:
            assert part.split(".")[0].lower() not in reserved, name
            assert not part.endswith((" ", ".")), name
    assert len({name.lower() for name in repository_files}) == len(repository_files)
