"""Decoding many pictures at once: in order, in bounded memory, errors at their place."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.commands.picture_files import PictureFiles
from draw_onnx.runtime.metadata import PictureRule
from draw_onnx.runtime.pictures import prepare, reading
from draw_onnx.runtime.pictures.decoders import Room

RULE = PictureRule((1, 4, 4), None)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Twelve, each of its own level, and the fifth is none."""
    paths = [tmp_path / f"{k:02}.png" for k in range(12)]
    for k, path in enumerate(paths):
        Image.fromarray(np.full((4, 4), 20 * k, np.uint8)).save(path)
    paths[4].write_text("no picture")
    return paths


def levels(batches: Any) -> list[int]:
    return [round(float(done.image.max()) * 255) for batch in batches for done in batch]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_in_order_and_not_far_ahead(
    pictures: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read, begun, together = prepare.prepare_file, [], []
    running, lock = set(), threading.Lock()

    def slowly(path: Path, rule: PictureRule, ink: str) -> Any:
        with lock:
            begun.append(path)
            running.add(path)
            together.append(len(running))
        time.sleep(0.03 if int(path.stem) % 2 else 0.001)
        try:
            return read(path, rule, ink)
        finally:
            with lock:
                running.remove(path)

    monkeypatch.setattr(prepare, "prepare_file", slowly)
    files = PictureFiles([pictures[0].parent], threads=threads)
    batches = files.prepared(3, RULE, "light")
    first = next(batches)
    assert len(begun) <= 3 + threads + (threads > 1)
    assert levels([first, *batches]) == [20 * k for k in range(12) if k != 4]
    assert max(together) <= threads
    assert (max(together) > 1) == (threads > 1)
    assert files.names == [str(path) for path in pictures if path != pictures[4]]
    assert "skipped: " in capsys.readouterr().err


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_place(pictures: list[Path], threads: int) -> None:
    """What came before a file that the user named, and that is none, is given."""
    batches = PictureFiles(pictures, threads=threads).prepared(2, RULE, "light")
    assert levels([next(batches), next(batches)]) == [0, 20, 40, 60]
    with pytest.raises(DrawError, match=r"04\.png is no picture"):
        next(batches)


def test_an_interrupt_does_not_wait_for_the_rest(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def slowly(path: Path, *_: object) -> None:
        begun.append(path)
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "prepare_file", slowly)
    with pytest.raises(KeyboardInterrupt):
        next(PictureFiles([pictures[0].parent], threads=2).prepared(8, RULE, "light"))
    assert len(begun) <= 5  # of twelve: those that wait are called off


def test_large_pictures_take_turns() -> None:
    room, inside, most, lock = Room(10), [0], [0], threading.Lock()

    def use(pixels: int) -> None:
        with room.taken(pixels):
            with lock:
                inside[0] += pixels
                most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            with lock:
                inside[0] -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [4, 6, 3, 3, 5, 10, 1, 2] * 5))
    assert 5 < most[0] <= 10
    use(25)  # more than there is: alone
    assert most[0] == 25
    with pytest.raises(ZeroDivisionError), room.taken(9):
        raise ZeroDivisionError
    use(10)


def test_a_picture_is_counted_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "x.png")
    room = Room(1000)
    monkeypatch.setattr(reading, "ROOM", room)
    with reading._decoded(tmp_path / "x.png"):
        assert room._taken == 600
    assert room._taken == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_what_is_upright_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, orientation: int
) -> None:
    """Ten megabytes of a photograph; turned ones are turned all the same."""
    pixels = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, 8, 0), 8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.dstack([pixels] * 3)).save(path, exif=exif)
    copies, copy = [], Image.Image.copy
    monkeypatch.setattr(Image.Image, "copy", lambda self: copies.append(self) or copy(self))
    turned = np.rot90(pixels, {1: 0, 3: 2, 6: -1}[orientation])
    with reading._decoded(path) as picture:
        assert not copies
        np.testing.assert_allclose(np.asarray(picture)[..., 0], turned, atol=12)
        assert picture.size == turned.shape[::-1]
