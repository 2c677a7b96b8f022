"""Outputs where a user did not mean them: over what is read, in a folder of pictures, by an empty name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.console import make_app, run_app
from draw_onnx.errors import DrawError
from draw_onnx.files import check_not_read


def picture(path: Path) -> bytes:
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(path)
    return path.read_bytes()


def test_a_file_that_is_read_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    (tmp_path / "other").touch()
    for name in ("a", "link", "hard"):
        with pytest.raises(DrawError, match=f"cannot write .*{name}: it is one of the files that are read"):
            check_not_read([None, tmp_path / name], [tmp_path / "none", tmp_path / "a"])
    check_not_read([tmp_path / "new", tmp_path / "other"], ["mnist", tmp_path / "a", "\0"])


@pytest.mark.parametrize(
    ("command", "model", "option"),
    [
        ("draw-score", "scorer.onnx", "--png"),
        ("draw-score", "scorer.onnx", "--gif"),
        ("draw-classify", "classifier.onnx", "--gif"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_picture_is_not_replaced_by_what_is_drawn_of_it(
    spawn, fake: Path, tmp_path: Path, command: str, model: str, option: str, folder: bool
) -> None:
    path = tmp_path / f"digit.{option[2:]}"
    before = picture(path)
    got = spawn(command, "--onnx", fake / model, tmp_path if folder else path, option, path.name)
    assert (got.returncode, got.stdout) == (1, b"")
    assert got.stderr.endswith(
        f"{command}: error: cannot write {path.name}: it is one of the files that are read\n".encode()
    )
    assert path.read_bytes() == before


def test_a_model_is_not_replaced_by_a_picture(spawn, fake: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.gif"
    model.write_bytes((fake / "decoder.onnx").read_bytes())
    got = spawn("draw-gen", "--onnx", model, "--gif", "m.gif")
    assert got.returncode == 1
    assert model.read_bytes() == (fake / "decoder.onnx").read_bytes()


def test_a_model_in_a_folder_is_not_replaced_either(spawn, fake: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "config.json").write_text("{}")
    before = (fake / "decoder.onnx").read_bytes()
    (hub / "decoder.onnx").write_bytes(before)
    (tmp_path / "x.gif").symlink_to("hub/decoder.onnx")
    got = spawn("draw-gen", "--onnx", hub, "--gif", "x.gif", "-n", 1)
    assert (got.returncode, b"one of the files that are read" in got.stderr) == (1, True)
    assert (hub / "decoder.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("draw-train", "--out", ""), "--out"),
        (("draw-train", "--out="), "--out"),
        (("draw-train", "--preset", "images", "--image-dir", ""), "--image-dir"),
        (("draw-export", "--ckpt", "x.ckpt", "--hub", ""), "--hub"),
        (("draw-export", "--ckpt", "x.ckpt", "-o", ""), "-o"),
        (("draw-eval", "--ckpt", ""), "--ckpt"),
        (("draw-gen", "--gif", ""), "--gif"),
        (("draw-score", "--onnx", "x", ""), "an argument"),
        (("draw-classify", ""), "an argument"),
        (("draw-doctor", "--onnx="), "--onnx"),
        (("draw-onnx", "train", "--out", ""), "--out"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    spawn, tmp_path: Path, arguments: tuple[str, ...], name: str
) -> None:
    """`--out "$OUT"` where OUT is not set."""
    got = spawn(*arguments)
    assert got.returncode == 2
    assert got.stderr.endswith(f": error: {name} is empty: is a variable not set?\n".encode())
    assert got.stderr.count(b"\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a current folder cannot be removed there")
@pytest.mark.parametrize("arguments", [("draw-gen", "--gif", "x.gif"), ("draw-train",), ("draw-onnx", "gen")])
def test_a_current_folder_that_was_removed(spawn, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """PyTorch's libraries would end the process with a line about themselves."""
    gone = tmp_path / "gone"
    gone.mkdir()
    got = spawn(*arguments, before=("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh"), cwd=gone)
    assert (got.returncode, got.stdout, got.stderr.count(b"\n")) == (1, b"", 1)
    assert b": error: the current folder cannot be used, it may have been removed" in got.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize(
    "arguments",
    [
        ("draw-train", "--init-from", "pipe"),
        ("draw-export", "--ckpt", "pipe"),
        ("draw-eval", "--ckpt", "/dev/zero"),
        ("draw-classify", "pipe.png"),
        ("draw-classify", "/dev/zero"),
        ("draw-classify", "pipe.npz"),
    ],
)
def test_a_pipe_is_not_waited_for(spawn, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Nor a device read until the memory is full."""
    for name in ("pipe", "pipe.png", "pipe.npz"):
        os.mkfifo(tmp_path / name)
    got = spawn(*arguments, timeout=60)
    assert got.returncode == 1
    assert got.stderr.endswith(b" is a pipe or a device: give an ordinary file\n"), got.stderr
    assert got.stderr.count(b"\n") == 1


STOPPED = """
import os, signal, sys, time
from draw_onnx.console import make_app, run_app
from draw_onnx.files import atomic_write

app = make_app()

@app.command()
def command() -> None:
    with atomic_write("big.npz") as file:
        file.write(b"half of it")
        file.flush()
        for name in sys.argv[1:]:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(0.1)

run_app(app, "draw-x", [])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(
    ("before", "sent", "heard"),
    [
        ("", ["SIGTERM"], "SIGTERM"),
        ("", ["SIGHUP"], "SIGHUP"),
        ("trap '' HUP;", ["SIGHUP", "SIGTERM"], "SIGTERM"),  # what is ignored, as under nohup, goes on being
        ("trap '' HUP TERM;", ["SIGHUP", "SIGTERM"], ""),
    ],
)
def test_what_a_signal_stops_leaves_no_half_file(
    tmp_path: Path, before: str, sent: list[str], heard: str
) -> None:
    (tmp_path / "big.npz").write_bytes(b"old")
    got = subprocess.run(
        ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-c", STOPPED, *sent],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert got.returncode == (128 + getattr(signal, heard) if heard else 0)
    assert got.stderr == (f"draw-x: error: stopped by {heard}\n" if heard else "")
    assert [path.name for path in tmp_path.iterdir()] == ["big.npz"]
    assert (tmp_path / "big.npz").read_bytes() == (b"old" if heard else b"half of it")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("heard_signals")
def test_a_signal_is_not_kept_waiting_by_a_reader(tmp_path: Path) -> None:
    """Of our output, which takes none of it."""
    script = """
import os, signal
from draw_onnx.console import make_app, run_app
app = make_app()
@app.command()
def command() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    print("x" * 1_000_000)
run_app(app, "draw-x", [])
"""
    read, write = os.pipe()
    try:
        got = subprocess.run(
            [sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(read)
        os.close(write)
    assert (got.returncode, got.stderr) == (143, b"draw-x: error: stopped by SIGTERM\n")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("heard_signals")
def test_handlers_are_lent(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that runs a command in its own process has its handlers, and gets the others back as they were."""
    app, heard = make_app(), []

    @app.command()
    def command() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)

    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with pytest.raises(SystemExit) as stop:
            run_app(app, "draw-x", [])
        assert (stop.value.code, heard) == (129, [signal.SIGTERM])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "draw-x: error: stopped by SIGHUP\n"
