from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.train.data import svhn
from draw_onnx.train.data.dataset import Split
from draw_onnx.train.data.digit_struct import read_digit_struct
from draw_onnx.train.data.downloads import Source
from draw_onnx.train.data.registry import load_dataset

Entry = tuple[str, list[tuple[float, float, float, float, int]]]  # name; left, top, width, height, label
KEYS = ("left", "top", "width", "height", "label")


def write_digit_struct(path: Path, entries: list[Entry]) -> None:
    """As MATLAB v7.3 does: numbers directly for one digit, references for several."""

    def references(file: Any, name: str, values: list[Any]) -> None:
        table = np.empty((len(values), 1), h5py.ref_dtype)
        table[:, 0] = [value.ref for value in values]
        file.create_dataset(name, data=table, dtype=h5py.ref_dtype)

    with h5py.File(path, "w", userblock_size=512) as file:
        names, boxes = [], []
        for i, (name, digits) in enumerate(entries):
            characters = np.frombuffer(name.encode("utf-16-le"), np.uint16)[:, None]
            names.append(file.create_dataset(f"#refs#/n{i}", data=characters))
            group = file.create_group(f"#refs#/b{i}")
            boxes.append(group)
            for k, key in enumerate(KEYS):
                if len(digits) == 1:
                    group.create_dataset(key, data=np.array([[float(digits[0][k])]]))
                else:
                    cells = [
                        file.create_dataset(f"#refs#/{key}{i}_{j}", data=np.array([[float(digit[k])]]))
                        for j, digit in enumerate(digits)
                    ]
                    references(group, key, cells)
        references(file, "digitStruct/name", names)
        references(file, "digitStruct/bbox", boxes)


sizes = st.integers(1, 50).map(float)
digits = st.tuples(
    st.integers(-2, 99).map(float), st.integers(-2, 99).map(float), sizes, sizes, st.integers(1, 10)
)


@given(entries=st.lists(st.lists(digits, min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=25)
def test_digit_struct_round_trip(tmp_path: Path, entries: list[Any]) -> None:
    path = tmp_path / "digitStruct.mat"
    named = [(f"{i + 1}.png", boxes) for i, boxes in enumerate(entries)]
    write_digit_struct(path, named)
    got = read_digit_struct(path)
    assert [number.name for number in got] == [name for name, _ in named]
    for number, (_, boxes) in zip(got, named, strict=True):
        assert number.boxes.tolist() == [list(box[:4]) for box in boxes]
        assert number.digits == tuple(box[4] % 10 for box in boxes)


def test_damaged_digit_struct_gives_entries_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "digitStruct.mat"
    write_digit_struct(path, [("1.png", [(1, 2, 3, 4, 5)]), ("2.png", [(0, 0, 9, 9, 10), (9, 0, 9, 9, 1)])])
    good = path.read_bytes()
    choose = random.Random(1)
    refused = 0
    for _ in range(250):
        bad = bytearray(good)
        if choose.random() < 0.2:
            del bad[choose.randrange(len(bad)) :]
        for _ in range(choose.randint(1, 4) if len(bad) == len(good) else 0):
            bad[choose.randrange(len(bad))] = choose.randrange(256)
        path.write_bytes(bad)
        try:
            for number in read_digit_struct(path):
                assert np.isfinite(number.boxes).all()
                assert set(number.digits) <= set(range(10))
        except DrawError as error:
            refused += 1
            assert "digitStruct.mat" in str(error)
            assert "\n" not in str(error)
    assert refused > 50


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("../1.png", [(0, 0, 1, 1, 1)]), r"'\.\./1\.png' is not a file name"),
        (("..", [(0, 0, 1, 1, 1)]), "is not a file name"),
        (("a\\b.png", [(0, 0, 1, 1, 1)]), "is not a file name"),
        (("1.png", [(0, 0, 0, 1, 1)]), "a box has no size"),
        (("1.png", [(0, float("nan"), 1, 1, 1)]), "a box has no size or is out of range"),
        (("1.png", [(0, 0, 1, 1, 0)]), "a label is not 1 to 10"),
        (("1.png", [(0, 0, 1, 1, 1)] * 33), "33 values; between 1 and 32"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, entry: Any, message: str) -> None:
    path = tmp_path / "digitStruct.mat"
    write_digit_struct(path, [("0.png", [(0, 0, 1, 1, 1)]), entry])
    with pytest.raises(DrawError, match=f"not a usable digitStruct.mat, entry 2: .*{message}"):
        read_digit_struct(path)


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 5.0 MAT-file" + bytes(600), b"\x89HDF\r\n\x1a\n" + bytes(99)]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digitStruct.mat"
    path.write_bytes(content)
    with pytest.raises(DrawError, match=r"not a usable digitStruct\.mat"):
        read_digit_struct(path)
    with pytest.raises(DrawError, match=r"none\.mat is missing"):
        read_digit_struct(tmp_path / "none.mat")


def test_the_box_is_enlarged_about_its_centre_and_clipped() -> None:
    one = np.array([[40.0, 30.0, 10.0, 20.0]])
    assert svhn.enlarged_box(one, 100, 80) == (38.5, 27.0, 51.5, 53.0)
    two = np.array([[40.0, 30.0, 10.0, 20.0], [50.0, 20.0, 10.0, 20.0]])  # together 40..60, 20..50
    assert svhn.enlarged_box(two, 100, 80) == (37.0, 15.5, 63.0, 54.5)
    assert svhn.enlarged_box(two, 55, 50) == (37.0, 15.5, 55.0, 50.0)
    assert svhn.enlarged_box(np.array([[-1.0, 0.0, 9.0, 9.0]]), 20, 20) == (0.0, 0.0, 9.35, 10.35)
    for outside in ([200.0, 0.0, 9.0, 9.0], [21.0, 0.0, 9.0, 9.0], [0.0, 21.0, 9.0, 9.0]):
        # Of the last two a third of a pixel is left.
        assert svhn.enlarged_box(np.array([outside]), 20, 20) is None


def write_photographs(folder: Path, count: int) -> None:
    """Each with a dark border, and inside its enlarged box (26..52 x 13..39) one colour."""
    folder.mkdir(parents=True)
    entries: list[Entry] = []
    for i in range(count):
        picture = np.zeros((60, 80, 3), np.uint8)
        picture[13:39, 26:52] = (10 * i + 10, 100, 200)
        Image.fromarray(picture).save(folder / f"{i + 1}.png")
        entries.append((f"{i + 1}.png", [(29, 16, 20, 20, 10)]))
    write_digit_struct(folder / "digitStruct.mat", entries)


def test_prepared_cached_and_split(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photographs(tmp_path / "svhn" / "train", 20)
    write_photographs(tmp_path / "svhn" / "test", 3)
    data = load_dataset("svhn", tmp_path, "cpu")
    assert data.note == "20 of 33,402 training images, 3 of 13,068 test images"
    assert (data.train_size, data.image.channels, data.image.height, data.image.width) == (18, 3, 54, 54)
    reds = []
    for split in ("train", "valid"):
        images = data.evaluation(split).images
        assert images.shape[1:] == (3, 54, 54)
        inner = images[:, :, 2:-2, 2:-2]
        assert (inner[:, 1] == 100).all()
        assert (inner[:, 2] == 200).all()
        assert (inner[:, 0] == inner[:, :1, 0, 0, None]).all()
        reds += inner[:, 0, 0, 0].tolist()
    assert sorted(reds) == [10 * i + 10 for i in range(20)]
    assert data.evaluation("test").images[:, 0, 20, 20].tolist() == [10, 20, 30]  # in the file's order

    def unexpected(*_: Any) -> Any:
        raise AssertionError("prepared again")

    monkeypatch.setattr(svhn, "prepare_picture", unexpected)
    again = load_dataset("svhn", tmp_path, "cpu")
    assert torch.equal(again.evaluation("train").images, data.evaluation("train").images)
    monkeypatch.undo()
    monkeypatch.setattr("draw_onnx.train.data.prepared.cache_folder", lambda: cache)
    kept = sorted(cache.iterdir())
    for path in kept:
        path.write_bytes(path.read_bytes()[:-1000])
    again = load_dataset("svhn", tmp_path, "cpu")  # damaged: made anew
    assert torch.equal(again.evaluation("train").images, data.evaluation("train").images)
    (tmp_path / "svhn" / "train" / "3.png").write_bytes(b"no picture")  # changed: another key
    with pytest.raises(DrawError, match=r"3\.png is no picture that can be read \(PNG,"):
        load_dataset("svhn", tmp_path, "cpu")
    (tmp_path / "svhn" / "train" / "3.png").unlink()
    with pytest.raises(DrawError, match=r"no picture at .*3\.png"):
        load_dataset("svhn", tmp_path, "cpu")


def test_extra_pictures_train_too_and_an_unwritable_cache_is_said(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photographs(tmp_path / "svhn" / "train", 20)
    write_photographs(tmp_path / "svhn" / "extra", 10)
    cache.write_text("a file where the cache's folder belongs")
    data = load_dataset("svhn", tmp_path, "cpu")
    assert (data.train_size, len(data.evaluation("valid"))) == (27, 3)
    assert data.note == "20 of 33,402 training images, with 10 extra training images"
    assert capsys.readouterr().err.count("pictures are prepared again next time: ") == 2
    own = load_dataset("svhn", tmp_path / "svhn", "cpu")  # the set's own folder
    assert (own.train_size, own.note) == (data.train_size, data.note)
    monkeypatch.setattr(svhn, "SVHN_TEST", Source(("http://127.0.0.1:9/test.tar.gz",), ""))
    with pytest.raises(
        DrawError, match=r"could not download test\.tar\.gz .*: it belongs in .*/svhn/test\.tar\.gz"
    ):
        data.evaluation("test")


def test_training_crops_are_windows_of_the_stored_pictures() -> None:
    stored = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    split = Split(stored)
    indices = torch.tensor([4, 0, 0, 2])
    generator = torch.Generator().manual_seed(9)
    got = svhn.draw_crops(split, indices, generator).images
    generator.manual_seed(9)
    corners = torch.randint(11, (4, 2), generator=generator).tolist()
    for k, (row, column) in enumerate(corners):
        expected = stored[indices[k], :, row : row + 54, column : column + 54].float() / 255
        assert torch.equal(got[k], expected)
    assert torch.equal(svhn.centre_crops(split).images, stored[:, :, 5:59, 5:59])


def test_real_subset(data_dir: Path) -> None:
    expected = {
        "train": ([32, 112, 79, 72, 55, 53, 34, 36, 43, 38], [41, 143, 61, 11]),  # digits 0..9; per image
        "test": ([26, 94, 85, 52, 48, 31, 50, 36, 27, 37], [58, 169, 26, 3]),
    }
    for split, (counts, lengths) in expected.items():
        numbers = read_digit_struct(data_dir / "svhn" / split / "digitStruct.mat")
        assert [number.name for number in numbers] == [f"{i}.png" for i in range(1, 257)]
        assert np.bincount([d for number in numbers for d in number.digits]).tolist() == counts
        assert np.bincount([len(number.digits) for number in numbers]).tolist()[1:] == lengths
    data = load_dataset("svhn", data_dir, "cpu")
    assert (data.train_size, len(data.evaluation("valid")), len(data.evaluation("test"))) == (231, 25, 256)
    assert data.note == "256 of 33,402 training images, 256 of 13,068 test images"
