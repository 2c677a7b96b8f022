"""Closed streams, streams of other encodings, readers that went away: files are written all the same."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from draw_onnx.console import make_app, run_app
from draw_onnx.streams import printable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes and redirects")


@pytest.mark.parametrize("shell", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "<&-"])
def test_missing_streams(spawn, fake: Path, tmp_path: Path, shell: str) -> None:
    got = spawn("draw-gen", "--onnx", fake / "decoder.onnx", "-n", 2, "--npz", "x.npz", shell=shell)
    assert got.returncode == 0
    with np.load(tmp_path / "x.npz") as arrays:  # and nothing of what was said has gone into the file
        assert arrays["images"].shape[0] == 2
    assert got.stdout == (b"" if ">&-" in shell.replace("2>&-", "") else b"x.npz\n")


def test_an_error_without_stderr_is_a_status(spawn) -> None:
    got = spawn("draw-gen", "--onnx", "none.onnx", "--gif", "x.gif", shell="2>&-")
    assert (got.returncode, got.stdout) == (1, b"")


@pytest.mark.parametrize(("shell", "code"), [(">/dev/full", 1), ("| true", None)])
def test_files_are_written_before_they_are_talked_about(
    spawn, fake: Path, tmp_path: Path, shell: str, code: int | None
) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    outputs = ("--gif", "x.gif", "--png", "x.png", "--grid", "g.png", "--npz", "x.npz", "--check")
    got = spawn(
        *("draw-gen", "--onnx", fake / "decoder.onnx", "-n", 2, *outputs),
        shell=shell,
        environment={"PYTHONUNBUFFERED": None},
    )
    assert {path.name for path in tmp_path.iterdir()} == {"x.gif", "x.png", "g.png", "x.npz"}
    error = got.stderr.decode()
    assert "Traceback" not in error
    assert "Exception ignored" not in error
    if code is not None:
        assert got.returncode == code
        assert "draw-gen: error: stdout: " in error


def test_a_reader_that_went_away(spawn, fake: Path, tmp_path: Path) -> None:
    for k in range(200):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"{'n' * 200}{k}.png")
    got = spawn("draw-classify", "--onnx", fake / "classifier.onnx", tmp_path, "--json", shell="| head -c 10")
    assert got.stdout == b'[\n {\n  "pi'
    assert b"Traceback" not in got.stderr
    assert b"BrokenPipe" not in got.stderr


@pytest.mark.parametrize("encoding", ["cp932", "ascii", "latin-1"])
def test_encodings_that_lack_characters(spawn, checkpoint: Path, tmp_path: Path, encoding: str) -> None:
    got = spawn("draw-train", "--help", environment={"PYTHONIOENCODING": encoding})
    assert got.returncode == 0, got.stderr
    if encoding == "cp932":
        got = spawn(
            *("draw-export", "--ckpt", checkpoint, "-o", "pièce \U0001f600.onnx"),
            environment={"PYTHONIOENCODING": encoding},
        )
        assert got.returncode == 0, got.stderr
        assert (tmp_path / "pièce \U0001f600.onnx").exists()
        assert b"\\U0001f600" in got.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_json_in_every_encoding(spawn, fake: Path, tmp_path: Path, encoding: str) -> None:
    name = "é\U0001f600.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    got = spawn(
        *("draw-classify", "--onnx", fake / "classifier.onnx", tmp_path / name, "--json"),
        environment={"PYTHONIOENCODING": encoding},
    )
    assert got.returncode == 0, got.stderr
    (row,) = json.loads(got.stdout.decode(encoding))
    assert row["picture"] == str(tmp_path / name)


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_not_utf8(spawn, fake: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \x1b[31m")
    odd.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(odd / "a.png")
    (odd / "bad.png").write_bytes(b"no picture")
    model = odd / "m.onnx"
    model.write_bytes((fake / "classifier.onnx").read_bytes())
    for form in ("--json", "--csv", "--gif"):
        arguments = [form, odd / "out.gif"] if form == "--gif" else [form]
        got = spawn("draw-classify", "--onnx", model, odd, *arguments)
        assert got.returncode == 0, got.stderr
        assert rb"caf\udce9" in got.stdout
        assert rb"caf\udce9 \x1b[31m/bad.png is no picture" in got.stderr
        assert b"\x1b" not in got.stderr
        if form == "--gif":
            assert b"\x1b" not in got.stdout
    assert (odd / "out.gif").exists()
    got = spawn("draw-classify", "--onnx", odd / "none.onnx", odd)
    assert got.returncode == 1
    assert got.stderr.startswith(rb"draw-classify: error: no model at " + os.fsencode(str(tmp_path)))


def test_what_a_terminal_is_not_sent() -> None:
    assert printable("97 % of 1×28 µ 絵 é") == "97 % of 1×28 µ 絵 é"
    assert printable("a\udce9\x1b[2J\n\x00\u202e") == r"a\udce9\x1b[2J\n\x00\u202e"


@pytest.mark.parametrize("columns", [80, 90, 100, 120])
def test_help_breaks_its_lines_where_the_terminal_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """And not where the source does too; examples keep theirs."""
    monkeypatch.setenv("COLUMNS", str(columns))
    sentence = (
        "Every word of it is said in turn, and no line ends before there is no more room for the next one. "
    )
    app = make_app()

    @app.command()
    def command() -> None:
        pass

    command.__doc__ = f"""Do it.

    {sentence.replace("room ", "room" + chr(10) + "    ") * 3}

        draw-x --one \\
            --two
    """
    with pytest.raises(SystemExit):
        run_app(app, "draw-x", ["--help"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    begin = next(k for k, line in enumerate(lines) if line.startswith("Every"))
    text = lines[begin : lines.index("", begin)]
    assert " ".join(text) == (sentence * 3).strip()
    for line, following in itertools.pairwise(text):
        assert len(line) + 1 + len(following.split()[0]) > columns - 2
    assert "--two" in lines


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (typer.BadParameter("nothing to write: give --gif FILE."), "nothing to write: give --gif FILE."),
        (typer.BadParameter("no.", param_hint="--gif"), "Invalid value for --gif: no."),
    ],
)
def test_a_sentence_of_ours_is_said_as_it_is(
    capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    app = make_app()

    @app.command()
    def command(number: int = 0) -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        run_app(app, "draw-x", [])
    assert (stop.value.code, capsys.readouterr().err) == (2, f"draw-x: error: {said} Try 'draw-x --help'.\n")
    with pytest.raises(SystemExit) as stop:
        run_app(app, "draw-x", ["--number", "one"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("draw-x: error: Invalid value for '--number': ")


@pytest.mark.parametrize("chained", [False, True])
def test_an_import_that_was_interrupted(capsys: pytest.CaptureFixture[str], chained: bool) -> None:
    """NumPy makes an ImportError of it."""
    app = make_app()

    @app.command()
    def command() -> None:
        try:
            raise KeyboardInterrupt if chained else OSError
        except BaseException as error:
            raise ImportError("numpy could not be imported") from error

    with pytest.raises(SystemExit if chained else ImportError) as stop:
        run_app(app, "draw-gen", [])
    if chained:
        assert (getattr(stop.value, "code", None), capsys.readouterr().err) == (
            130,
            "draw-gen: error: interrupted\n",
        )
