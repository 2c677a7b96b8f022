"""Which files of a folder are pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.reading import open_picture
from draw_onnx.runtime.pictures.walk import picture_paths, suffixes, walk


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk(folder).files]


def test_pictures_of_all_folders_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg", "z/deep/c.jfif", "z/d.jpe", "below.png/e.tif", "notes.txt", "._a.jpg")
    touch(tmp_path, ".DS_Store", ".cache/f.png", "Thumbs.db", "x/y.txt", "LICENSE")
    assert names(tmp_path) == ["a.jpg", "b.PNG", "below.png/e.tif", "z/d.jpe", "z/deep/c.jfif"]
    found = walk(tmp_path)
    assert found.passed_over == {".txt": 2, "hidden": 3, ".db": 1, "without a suffix": 1}
    assert found.line() == (
        f"{tmp_path}: 5 pictures found, 7 files passed over (3 hidden, 2 .txt, 1 .db, 1 without a suffix)"
    )
    assert found.line({"unreadable": 4}).startswith(
        f"{tmp_path}: 1 picture used, 11 files passed over (4 unreadable"
    )
    assert [found.label(path) for path in found.files] == [None, None, "below.png", "z", "z"]


def test_nothing_is_said_of_what_there_is_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert walk(tmp_path).line() == f"{tmp_path}: 1 picture found"


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/one/a.png", "out/b.png")
    inside = tmp_path / "in"
    try:
        (inside / "two").symlink_to(tmp_path / "out")
    except OSError:
        pytest.skip("no symbolic links here")
    (inside / "again").symlink_to(tmp_path / "out")
    (inside / "loop").symlink_to(inside)
    (inside / "one" / "up").symlink_to("..")
    (inside / "link.png").symlink_to(tmp_path / "out" / "b.png")
    (inside / "broken.png").symlink_to(tmp_path / "nothing.png")
    assert names(inside) == ["again/b.png", "link.png", "one/a.png"]
    assert walk(inside).passed_over == {"links that lead nowhere": 1, "links to folders that are read": 3}


def test_a_linked_folder_keeps_its_pictures(tmp_path: Path) -> None:
    """A link in another class does not take them; a hidden folder is reached through one."""
    touch(tmp_path, "cross/a.png", ".hidden/b.png")
    (tmp_path / "circle").mkdir()
    try:
        (tmp_path / "circle" / "more").symlink_to("../cross")
    except OSError:
        pytest.skip("no symbolic links here")
    (tmp_path / "circle" / "kept").symlink_to("../.hidden")
    assert names(tmp_path) == ["circle/kept/b.png", "cross/a.png"]
    assert walk(tmp_path).passed_over == {"hidden": 1, "links to folders that are read": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert names(tmp_path) == ["a.png"]


def test_many_reasons_are_summed(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", *(f"{k}.x{k}" for k in range(9)))
    assert walk(tmp_path).line().endswith(", 3 others)")


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DrawError, match=r"cannot read .*: Permission denied"):
        walk(tmp_path)


def test_arguments(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/b.png", "pictures/a/c.png", "notes.txt")
    (tmp_path / "empty").mkdir()
    assert picture_paths([tmp_path / "notes.txt", tmp_path / "pictures"]) == [
        tmp_path / "notes.txt",  # who names a file means it
        tmp_path / "pictures" / "a" / "c.png",
        tmp_path / "pictures" / "b.png",
    ]
    with pytest.raises(DrawError, match=r"no pictures in the folder .*empty \(known by their suffix"):
        picture_paths([tmp_path / "empty"])
    touch(tmp_path, "empty/a.heic")
    with pytest.raises(DrawError, match=r"passed over: 1 \.heic"):
        picture_paths([tmp_path / "empty"])
    with pytest.raises(DrawError, match="no picture at"):
        picture_paths([tmp_path / "nothing.png"])


@pytest.mark.parametrize(
    "suffix", ["png", "jfif", "jpe", "jp2", "tga", "pcx", "sgi", "dds", "ico", "dib", "pnm"]
)
def test_what_is_listed_can_be_read(tmp_path: Path, suffix: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    kind = {"jfif": "JPEG", "jpe": "JPEG", "pnm": "PPM", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
    Image.fromarray(levels).save(path, kind)
    assert f".{suffix}" in suffixes()
    picture = open_picture(path, 3)
    assert picture.size == (16, 16)
    if kind not in ("JPEG", "JPEG2000"):
        np.testing.assert_array_equal(np.asarray(picture), levels)


def test_a_format_without_a_signature_needs_its_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.tga")
    (tmp_path / "a.tga").rename(tmp_path / "a.png")
    with pytest.raises(DrawError, match="no picture that can be read"):
        open_picture(tmp_path / "a.png", 3)


def test_no_interpreter_is_called() -> None:
    assert not {".eps", ".ps", ".pdf", ".wmf", ".emf", ".svg"} & suffixes()


def test_what_a_run_drew_is_no_training_picture(tmp_path: Path) -> None:
    """The default run folder lies below the current folder, and so may the pictures."""
    touch(tmp_path, "a.png", "samples/b.png", *(f"runs/images/{n}" for n in ("best.ckpt", "metrics.csv")))
    touch(tmp_path, "runs/images/samples/0000500.png", "best.ckpt")
    assert names(tmp_path) == ["a.png", "samples/b.png"]
    assert walk(tmp_path).passed_over == {".ckpt": 2, ".csv": 1, "samples of a run": 1}
    # Of a run whose best weights are lost.
    (tmp_path / "runs/images/best.ckpt").rename(tmp_path / "runs/images/last.ckpt")
    assert names(tmp_path) == ["a.png", "samples/b.png"]
    touch(tmp_path, "metrics.csv")
    assert names(tmp_path) == ["a.png"]
    assert names(tmp_path / "runs/images/samples") == ["0000500.png"]
