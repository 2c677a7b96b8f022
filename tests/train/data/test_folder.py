from __future__ import annotations

import io
import os
import random
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.models.config import ImageSize
from draw_onnx.runtime.pictures.cover import cover
from draw_onnx.runtime.pictures.reading import open_picture, read_picture
from draw_onnx.train.data import folder as folder_module
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.data.stream import FOLDER_SPLIT, permutation


def load(folder: Path, size: tuple[int, int] = (4, 6), channels: int | None = None) -> Dataset:
    return load_dataset("images", None, "cpu", image_dir=folder, image_size=size, channels=channels)


def save(path: Path, array: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100) + b"IDAT"


def test_pictures_are_split_once_and_the_same_every_time(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for i in range(40):
        save(folder / f"{'abc'[i % 3]}" / f"{i:03}.png", np.full((4, 6, 3), i, np.uint8))
    save(folder / ".hidden.png", np.full((4, 6, 3), 99, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    data = load(folder)
    splits = {name: data.evaluation(name).images[:, 0, 0, 0].tolist() for name in ("train", "valid", "test")}
    assert {name: len(values) for name, values in splits.items()} == {"train": 36, "valid": 2, "test": 2}
    assert sorted(value for values in splits.values() for value in values) == list(range(40))
    by_path = sorted(range(40), key=lambda i: ("abc"[i % 3], i))
    shuffled = [by_path[k] for k in permutation(FOLDER_SPLIT, 40)]
    assert [splits[name] for name in ("valid", "test", "train")] == [
        shuffled[:2],
        shuffled[2:4],
        shuffled[4:],
    ]
    again = load(folder)  # from the cache
    assert all(again.evaluation(name).images[:, 0, 0, 0].tolist() == splits[name] for name in splits)
    assert (data.note, data.binary, data.image) == ("", False, ImageSize(3, 4, 6))
    copy = tmp_path / "copy"  # elsewhere, other times of change: the same split
    folder.rename(copy)
    assert load(copy).evaluation("test").images[:, 0, 0, 0].tolist() == splits["test"]
    grey = load(copy, channels=1)
    assert grey.evaluation("test").images.shape == (2, 1, 4, 6)


def test_unreadable_files_are_named_up_to_five_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    for i in range(5):
        save(folder / f"good{i}.png", np.full((4, 6, 3), i, np.uint8))
    (folder / "bad0.png").write_bytes(b"not a picture")
    save(folder / "bad1.png", np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8))
    (folder / "bad1.png").write_bytes((folder / "bad1.png").read_bytes()[:3000])
    (folder / "bad2.png").write_bytes(png_header(30_000, 30_000))
    (folder / "bad3.jpg").write_bytes(b"")
    (folder / "bad4.gif").write_bytes(b"\x80\x04\x95pickle")
    (folder / "bad5.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # never run
    (folder / "bad6.png").write_bytes(png_header(8_001, 8_000))
    data = load(folder)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(lines) == 6
    assert [f"bad{i}" in line for i, line in enumerate(lines)] == [True] * 5 + [False]
    assert "bad2.png has more than the 64 megapixels" in lines[2]
    assert lines[5] == "left out: 2 more that cannot be read"
    assert "bad0.png is no picture that can be read (PNG, JPEG," in lines[0]
    with pytest.raises(DrawError, match="8001 x 8000 pixels, more than the 64 megapixels"):
        open_picture(folder / "bad6.png", 3)
    assert data.note == "7 unreadable pictures left out"
    assert sum(len(data.evaluation(name)) for name in data.evaluations) == 5
    load(folder)  # from the cache: named as before
    assert [x for x in capsys.readouterr().err.splitlines() if x.startswith("left out")] == lines


def test_what_can_be_read_by_now_is_read(tmp_path: Path) -> None:
    """Neither size nor time of change say that a disk, or permissions, gave a file back."""
    folder = tmp_path / "pictures"
    for i in range(4):
        save(folder / f"{i}.png", np.full((4, 6, 3), i, np.uint8))
    whole, status = (folder / "3.png").read_bytes(), (folder / "3.png").stat()
    (folder / "3.png").write_bytes(bytes(len(whole)))
    os.utime(folder / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(folder).note == "1 unreadable picture left out"
    (folder / "3.png").write_bytes(whole)
    os.utime(folder / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(folder).note == ""


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DrawError, match=r"--image-dir: .*a\.png is no folder"):
        load(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_pictures_give_a_picture_or_an_error(tmp_path: Path) -> None:
    choose = random.Random(3)
    array = np.random.default_rng(1).integers(0, 256, (12, 9, 3), np.uint8)
    path = tmp_path / "p"
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind)
        good = buffer.getvalue()
        for _ in range(40):
            bad = bytearray(good)
            for _ in range(choose.randint(1, 3)):
                bad[choose.randrange(len(bad))] = choose.randrange(256)
            if choose.random() < 0.3:
                del bad[choose.randrange(len(bad)) :]
            path.write_bytes(bad)
            try:
                assert cover(open_picture(path, 3), 5, 4).shape == (3, 4, 5)
            except DrawError as error:
                assert "\n" not in str(error)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="images needs --image-dir DIR, a folder of picture files"):
        load_dataset("images", None, "cpu", image_size=(4, 6))
    with pytest.raises(DrawError, match="images needs --image-size H W"):
        load_dataset("images", None, "cpu", image_dir=tmp_path)
    with pytest.raises(DrawError, match="none does not exist"):
        load(tmp_path / "none")
    for size in ((0, 6), (6, 0), (4097, 6), (6, 4097)):
        expected = f"{size[0]} x {size[1]} pixels; each side must be between 1 and 4096"
        with pytest.raises(DrawError, match=expected):
            load(tmp_path, size)
    with pytest.raises(DrawError, match=r"must be 1 .* or 3 .*, not 4"):
        load(tmp_path, channels=4)
    with pytest.raises(DrawError, match=r"no pictures in the folder"):
        load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DrawError, match="holds no readable picture"):
        load(tmp_path)
    save(tmp_path / "b.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DrawError, match="holds 1 readable picture: at least three"):
        load(tmp_path)
    save(tmp_path / "c.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DrawError, match="holds 2 readable pictures: at least three"):
        load(tmp_path)


def test_pictures_that_do_not_fit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png", np.zeros((4, 6, 3), np.uint8))
    monkeypatch.setattr(folder_module, "MAX_BYTES", 3 * 4 * 6 * 3)
    assert load(tmp_path).train_size == 1
    with pytest.raises(
        DrawError, match="3 pictures of that size take more than 16 GiB: choose a smaller size"
    ):
        load(tmp_path, (4, 7))


def test_real_photographs(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for i in range(30):
        shutil.copyfile(data_dir / "house-numbers-unboxed" / f"{i:06}.png", folder / f"{i:06}.png")
    data = load(folder, (54, 54))
    assert (data.train_size, data.note) == (28, "")
    assert data.evaluation("train").images.float().std() > 20


@pytest.mark.parametrize("size", [(3, 20, 20), (1, 31, 40), (3, 9, 50)])
def test_the_runtime_prepares_pictures_as_training_does(tmp_path: Path, size: tuple[int, int, int]) -> None:
    """To the bit: what draw-score is given is what the model was trained on."""
    channels, height, width = size
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name, alpha in (("a", 0), ("b", 1), ("c", 1)):
        save(folder / f"{name}.png", rng.integers(0, 256, (37, 64, 3 + alpha), np.uint8))
    data = load(folder, (height, width), channels)
    stored = {split.images[0].numpy().tobytes() for split in map(data.evaluation, data.evaluations)}
    scored = [read_picture(path, size, picture_fit="cover") for path in folder.iterdir()]
    assert {np.round(picture * 255).astype(np.uint8).tobytes() for picture in scored} == stored
    for picture in scored:
        np.testing.assert_array_equal(picture, np.round(picture * 255).astype(np.uint8) / np.float32(255))


def test_every_folder_and_size_keeps_prepared_pictures_of_its_own(tmp_path: Path, cache: Path) -> None:
    """Also where two folders' files have the same names, sizes and times."""
    for name, level in (("a", 10), ("b", 20)):
        for i in range(3):
            path = tmp_path / name / f"{i}.bmp"
            save(path, np.full((5, 7, 3), level, np.uint8))
            os.utime(path, ns=(0, 0))
    sizes = (4, 6), (4, 7), (5, 6)
    for size in sizes:
        for name, level in (("a", 10), ("b", 20)):
            assert load(tmp_path / name, size).evaluation("train").images.unique().tolist() == [level]
    assert len(list(cache.iterdir())) == 2 * len(sizes)


def test_what_a_killed_process_left_in_the_cache_goes(tmp_path: Path, cache: Path) -> None:
    for i in range(3):
        save(tmp_path / "pictures" / f"{i}.png", np.zeros((4, 6, 3), np.uint8))
    cache.mkdir()
    for name in (".images-old", ".images-young", ".svhn-other"):
        (cache / name).touch()
    for name in (".images-old", ".svhn-other"):
        os.utime(cache / name, (0, 0))
    load(tmp_path / "pictures")
    left = {path.name for path in cache.iterdir() if path.name.startswith(".")}
    assert left == {".images-young", ".svhn-other"}
