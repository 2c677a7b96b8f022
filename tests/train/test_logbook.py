"""metrics.csv as a crash, an editor or another program may have left it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.train.logbook import Logbook
from draw_onnx.train.settings import RunFolder

HEADER = "iteration,stage,seconds,learning_rate,images_per_second,train_bound"


def reopened(folder: Path, content: bytes) -> list[str]:
    (folder / "metrics.csv").write_bytes(content)
    book = Logbook(RunFolder(folder), ("train_bound",), 6)
    book.write({"iteration": 8, "stage": 1, "seconds": 2.0, "train_bound": 46.5})
    book.close()
    return (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "damage",
    [
        b"4,1,1.0,0.001,",  # cut short
        b"4,1,1,0.001,900,4\x007\n" + b"\0" * 4096,  # a power cut's zeros
        b"\xff\xfe\x80\n",
        "²,1,1,1,1,1\n".encode(),
        b'"4,1\n"\n',
        b"9" * 5000 + b",1,1,1,1,1\n",
        b"x" * 200_000,  # more than the csv module takes in a field
        b"4,1,1,1,1,1,1,1,1\n",
        b"8,1,1,1,1,1\n",  # after the checkpoint
    ],
)
def test_damaged_rows_are_left_out(tmp_path: Path, damage: bytes) -> None:
    found = reopened(tmp_path, f"{HEADER}\n2,1,0.5,0.001,900,47.25\n".encode() + damage)
    assert (found[0], found[1], found[-1]) == (HEADER, "2,1,0.5,0.001,900,47.25", "8,1,2,,,46.5")
    assert len(found) == 3 or (len(found) == 4 and found[2].startswith("4,1,1,0.001,900,4"))


def test_an_editor_s_mark_and_another_version_s_columns(tmp_path: Path) -> None:
    found = reopened(tmp_path, b"\xef\xbb\xbfiteration,other,stage\r\n2,7,1\r\n")
    assert found == [HEADER, "2,1,,,,", "8,1,2,,,46.5"]
    assert reopened(tmp_path, b"") == [HEADER, "8,1,2,,,46.5"]


def test_the_tags_of_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and validation are grouped, other names are whole."""
    book = Logbook(RunFolder(tmp_path), ("train_bound", "valid_best"), 0)
    assert book._events is not None
    tags = []
    monkeypatch.setattr(book._events, "add_scalar", lambda tag, *_: tags.append(tag))
    book.write({"iteration": 8, "learning_rate": 0.1, "train_bound": 46.5, "valid_best": 47.0})
    book.close()
    assert tags == ["learning_rate", "train/bound", "valid/best"]


def test_events_that_cannot_be_written_do_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a full disk: TensorBoard writes in a thread of its own, which fails first."""
    book = Logbook(RunFolder(tmp_path), ("train_bound",), 0)
    assert book._events is not None
    writer = book._events._get_file_writer().event_writer._async_writer  # pyright: ignore[reportOptionalMemberAccess]
    row = {"iteration": 8, "stage": 1, "seconds": 2.0, "train_bound": 46.5}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write", "flush"):
        monkeypatch.setattr(writer._writer, name, full)
    for _ in range(3):
        book.write(row)
        writer._worker.join(5)
    book.close()
    said = capsys.readouterr().err
    assert said == "no more TensorBoard events: No space left on device; metrics.csv has the figures\n"
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4


def test_another_table_is_not_written_over(tmp_path: Path) -> None:
    content = b"iteration;stage\n2;1\n"  # as a spreadsheet saves it
    with pytest.raises(DrawError, match="not the table that draw-train wrote"):
        reopened(tmp_path, content)
    assert (tmp_path / "metrics.csv").read_bytes() == content
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(DrawError, match="cannot read"):
        Logbook(RunFolder(tmp_path), ("train_bound",), 6)


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_a_folder_whose_name_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    assert reopened(folder, b"") == [HEADER, "8,1,2,,,46.5"]
    assert "no TensorBoard events" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["metrics.csv"]
