from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from draw_onnx.errors import DrawError
from draw_onnx.train.data.idx import read_idx, read_labels, read_pictures

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=9)), zipped=st.booleans())
@FEW
def test_round_trip(tmp_path: Path, array: np.ndarray, zipped: bool) -> None:
    path = tmp_path / "file"  # the name says nothing: the content decides
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path, array.ndim), array)


@given(data=st.data())
@FEW
def test_damaged_header_is_refused_and_other_bytes_are_data(tmp_path: Path, data: st.DataObject) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    good = idx_bytes(array)
    place = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != good[place]))
    bad = bytearray(good)
    bad[place] = value
    path = tmp_path / "file"
    path.write_bytes(bad)
    if place < 16:
        with pytest.raises(DrawError, match="file"):
            read_idx(path, 3)
    else:
        assert read_idx(path, 3).tobytes() == bytes(bad[16:])


@given(cut=st.integers(0, 75))
@FEW
def test_cut_off_or_extended_is_refused(tmp_path: Path, cut: int) -> None:
    good = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    path = tmp_path / "file"
    for bad in (good[:cut], good + bytes(cut + 1), gzip.compress(good)[:-1]):
        path.write_bytes(bad)
        with pytest.raises(DrawError, match="file"):
            read_idx(path, 3)


@given(place=st.integers(0, 200), value=st.integers(0, 255))
@FEW
def test_damaged_gzip_gives_the_array_or_an_error(tmp_path: Path, place: int, value: int) -> None:
    array = np.arange(200, dtype=np.uint8).reshape(8, 5, 5)
    zipped = bytearray(gzip.compress(idx_bytes(array)))
    zipped[place % len(zipped)] = value
    path = tmp_path / "file"
    path.write_bytes(zipped)
    try:
        np.testing.assert_array_equal(read_idx(path, 3), array)
    except DrawError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("shape", [(0xFFFFFFFF,) * 3, (1 << 30, 2, 1), (0, 28, 28)])
def test_absurd_sizes_are_refused_before_allocating(tmp_path: Path, limited_memory, shape) -> None:
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, *shape) + bytes(100))
    with limited_memory(4), pytest.raises(DrawError, match=r"declares an array of [\d, x]+ bytes"):
        read_idx(path, 3)


def test_memory_follows_the_content_not_the_declaration(tmp_path: Path, limited_memory) -> None:
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 1 << 20, 28, 28) + bytes(100))
    with limited_memory(4), pytest.raises(DrawError, match="cut off: 100 bytes of 1,048,576 x 28 x 28"):
        read_idx(path, 3)


def test_gzip_bomb_is_refused(tmp_path: Path, gzip_bomb: bytes, limited_memory) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 10, 28, 28)) + gzip_bomb)
    with limited_memory(16), pytest.raises(DrawError, match="bytes after"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"hello, this is text", "not an idx file"),
        (b"\x80\x04\x95pickle", "not an idx file"),
        (struct.pack(">HBBI", 0, 8, 1, 3) + b"abc", "0x08 with 1 axes; expected"),
        (struct.pack(">HBB3I", 0, 0x0D, 3, 1, 1, 1) + bytes(4), "0x0d with 3 axes"),
        (struct.pack(">HBBI", 0, 8, 3, 3), "cut off inside its header"),
        (gzip.compress(b"")[:10] + b"\xff" * 20, "file is damaged: Error -3 while decompressing"),
    ],
)
def test_other_files_are_named_errors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DrawError, match=message):
        read_idx(path, 3)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="No such file"):
        read_idx(tmp_path / "none", 3)
    with pytest.raises(DrawError, match="Is a directory"):
        read_idx(tmp_path, 3)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx_bytes(np.zeros((4, 28, 28), np.uint8)))
    assert read_pictures(images).shape == (4, 1, 28, 28)
    for count in (3, 5):
        labels.write_bytes(idx_bytes(np.zeros(count, np.uint8)))
        with pytest.raises(DrawError, match=f"{count} labels for 4 pictures"):
            read_labels(labels, 4, 10)
    labels.write_bytes(idx_bytes(np.array([0, 1, 2, 10], np.uint8)))
    with pytest.raises(DrawError, match="the label 10"):
        read_labels(labels, 4, 10)
    images.write_bytes(idx_bytes(np.zeros((4, 32, 28), np.uint8)))
    with pytest.raises(DrawError, match="32 x 28 pixels; expected 28 x 28"):
        read_pictures(images)


def test_official_files(data_dir: Path) -> None:
    folder = data_dir / "mnist"
    images = read_pictures(folder / "t10k-images-idx3-ubyte.gz")
    labels = read_labels(folder / "t10k-labels-idx1-ubyte.gz", len(images), 10)
    assert images.shape == (10_000, 1, 28, 28)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
