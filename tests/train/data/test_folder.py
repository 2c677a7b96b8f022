from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.models.config import ImageSize
from draw_onnx.runtime.pictures.reading import read_picture
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.data.folder import cover
from draw_onnx.train.data.pictures import open_picture
from draw_onnx.train.data.registry import load_dataset


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
    again = load(folder)  # from the cache
    assert all(again.evaluation(name).images[:, 0, 0, 0].tolist() == splits[name] for name in splits)
    assert (data.note, data.binary, data.image) == ("", False, ImageSize(3, 4, 6))
    copy = tmp_path / "copy"  # elsewhere, other times of change: the same split
    folder.rename(copy)
    assert load(copy).evaluation("test").images[:, 0, 0, 0].tolist() == splits["test"]
    grey = load(copy, channels=1)
    assert grey.evaluation("test").images.shape == (2, 1, 4, 6)


def test_cover_keeps_proportions_and_cuts_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    picture = np.zeros((20, 80, 3), np.uint8)
    picture[:, 30:50] = 200  # the centre square
    save(path, picture)
    np.testing.assert_array_equal(cover(path, ImageSize(3, 20, 20)), np.full((3, 20, 20), 200))
    half = cover(path, ImageSize(1, 10, 20))  # twice as wide as high: columns 20..59, halved
    assert half.shape == (1, 10, 20)
    assert (half[:, :, 6:14] == 200).all()
    assert (half[:, :, :4] == 0).all()
    np.testing.assert_array_equal(half, half[:, :, ::-1])
    tall = tmp_path / "tall.png"
    save(tall, picture.transpose(1, 0, 2))
    np.testing.assert_array_equal(cover(tall, ImageSize(3, 20, 20)), np.full((3, 20, 20), 200))
    small = tmp_path / "small.png"
    save(small, np.full((2, 3, 3), 7, np.uint8))
    np.testing.assert_array_equal(cover(small, ImageSize(3, 40, 31)), np.full((3, 40, 31), 7))  # enlarged
    same = tmp_path / "same.png"
    exact = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    save(same, exact)
    np.testing.assert_array_equal(cover(same, ImageSize(3, 9, 7)), exact.transpose(2, 0, 1))


def test_every_kind_of_picture_becomes_grey_or_colour(tmp_path: Path) -> None:
    path = tmp_path / "p.png"

    def opened(picture: Image.Image, channels: int = 3, kind: str = "PNG", **options: Any) -> np.ndarray:
        picture.save(path, kind, **options)
        return np.asarray(open_picture(path, channels))

    red = Image.new("RGB", (3, 2), (255, 0, 0))
    assert (opened(red, 1) == 76).all()  # Rec. 601: 0.299 * 255
    assert (opened(Image.new("L", (3, 2), 9)) == 9).all()
    assert (opened(Image.new("1", (3, 2), 1)) == 255).all()
    half = Image.new("RGBA", (3, 2), (200, 100, 0, 128))  # over black
    assert opened(half)[0, 0].tolist() == [100, 50, 0]
    assert (opened(Image.new("LA", (3, 2), (200, 0)), 1) == 0).all()
    palette = red.convert("P", palette=Image.Palette.ADAPTIVE)
    assert opened(palette)[0, 0].tolist() == [255, 0, 0]
    transparent = palette.copy()
    transparent.info["transparency"] = palette.getpixel((0, 0))
    assert opened(transparent).max() == 0
    deep = Image.fromarray(np.array([[0, 128, 129, 65535]], np.uint16))
    assert opened(deep, 1).tolist() == [[0, 0, 1, 255]]
    assert opened(deep, 3).shape == (1, 4, 3)
    bright = Image.fromarray(np.array([[0.0, 0.5, 2.0, np.nan]], np.float32))
    assert opened(bright, 1, "TIFF").tolist() == [[0, 128, 255, 0]]
    assert opened(Image.new("CMYK", (3, 2)), 3, "JPEG").min() > 250
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    assert opened(Image.new("L", (3, 2)), 1, "JPEG", exif=turned).shape == (3, 2)
    frames = [Image.new("L", (3, 2), v) for v in (5, 250)]
    assert opened(frames[0], 1, "GIF", save_all=True, append_images=frames[1:]).max() < 10


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
    assert "bad2.png has more than 64 megapixels" in lines[2]
    assert lines[5] == "left out: 2 more that cannot be read"
    assert "bad0.png is not a picture (PNG, JPEG," in lines[0]
    with pytest.raises(DrawError, match="8,001 x 8,000 pixels, more than 64 megapixels"):
        open_picture(folder / "bad6.png", 3)
    assert data.note == "7 unreadable pictures left out"
    assert sum(len(data.evaluation(name)) for name in data.splits) == 5


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
                assert cover(path, ImageSize(3, 4, 5)).shape == (3, 4, 5)
            except DrawError as error:
                assert "\n" not in str(error)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="--image-dir DIR --image-size H W"):
        load_dataset("images", None, "cpu", image_size=(4, 6))
    with pytest.raises(DrawError, match="none does not exist"):
        load(tmp_path / "none")
    with pytest.raises(DrawError, match=r"0 x 6 pixels; each side must be between 1 and 4096"):
        load(tmp_path, (0, 6))
    with pytest.raises(DrawError, match=r"must be 1 .* or 3 .*, not 4"):
        load(tmp_path, channels=4)
    with pytest.raises(DrawError, match=r"holds no pictures \("):
        load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DrawError, match="holds no readable picture"):
        load(tmp_path)
    save(tmp_path / "b.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DrawError, match="holds 1 readable pictures: at least three"):
        load(tmp_path)


def test_real_photographs(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i:06}.png").symlink_to(data_dir / "house-numbers-unboxed" / f"{i:06}.png")
    data = load(folder, (54, 54))
    assert (data.train_size, data.note) == (28, "")
    assert data.evaluation("train").images.float().std() > 20


@pytest.mark.parametrize("size", [(3, 20, 20), (1, 31, 40), (3, 9, 50)])
def test_the_runtime_prepares_pictures_as_training_does(tmp_path: Path, size: tuple[int, int, int]) -> None:
    """To the rounding of eight bits (and of grey, which is rounded before the resizing here)."""
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 64, 3), dtype=np.uint8)).save(path)
    trained = cover(path, ImageSize(*size)).astype(np.float32)
    scored = read_picture(path, size, picture_fit="cover") * 255
    np.testing.assert_allclose(scored, trained, atol=1.5)
