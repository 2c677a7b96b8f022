from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from draw_onnx.errors import DrawError
from draw_onnx.train.data.amat import read_amat

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def amat_bytes(pictures: np.ndarray, end: bytes = b"\n") -> bytes:
    return b"".join(b" ".join(b"%d" % v for v in row.reshape(-1)) + end for row in pictures)


@given(
    pictures=arrays(
        np.uint8, st.tuples(st.integers(1, 5), st.just(3), st.just(4)), elements=st.integers(0, 1)
    ),
    end=st.sampled_from([b"\n", b"\r\n"]),
    complete=st.booleans(),
    zipped=st.booleans(),
)
@FEW
def test_round_trip(tmp_path: Path, pictures: np.ndarray, end: bytes, complete: bool, zipped: bool) -> None:
    content = amat_bytes(pictures, end)
    if not complete:
        content = content[: -len(end)]
    path = tmp_path / "file.amat"
    path.write_bytes(gzip.compress(content) if zipped else content)
    np.testing.assert_array_equal(read_amat(path, 3, 4)[:, 0], pictures)


@given(data=st.data())
@FEW
def test_one_wrong_byte_is_named_with_its_line(tmp_path: Path, data: st.DataObject) -> None:
    pictures = np.indices((4, 3, 4)).sum(0).astype(np.uint8) % 2
    content = bytearray(amat_bytes(pictures))
    place = data.draw(st.integers(0, len(content) - 2))
    content[place] = data.draw(st.integers(0, 255).filter(lambda v: v != content[place]))
    path = tmp_path / "file.amat"
    path.write_bytes(content)
    changed = chr(content[place])
    if place % 2 == 0 and changed in "01":  # another picture, not a damaged one
        assert read_amat(path, 3, 4).reshape(-1)[place // 2] == int(changed)
        return
    with pytest.raises(DrawError, match=rf"file\.amat, line {place // 24 + 1}: ") as caught:
        read_amat(path, 3, 4)
    assert "\n" not in str(caught.value)


@given(cut=st.integers(1, 95))
@FEW
def test_cut_inside_a_line_is_refused(tmp_path: Path, cut: int) -> None:
    content = amat_bytes(np.ones((4, 3, 4), np.uint8))
    path = tmp_path / "file.amat"
    path.write_bytes(content[:cut])
    if cut % 24 in (0, 23):  # after a whole line, with or without its end
        assert len(read_amat(path, 3, 4)) == (cut + 1) // 24
    else:
        with pytest.raises(DrawError, match=f"line {cut // 24 + 1}"):
            read_amat(path, 3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n\n", r"line 1: value 1 is ''"),
        (b"0 1 2 0\n", r"line 1: value 3 is '2'"),
        (b"0 1 0 1\n0 1 0\n", "line 2: 3 values, expected 4"),
        (b"0 1 0 1 0\n", "line 1: 5 values"),
        (b"0  1 0 1\n", "line 1: value 2 is ''"),
        (b"0.0 1.0 0 1\n", "value 1 is '0.0'"),
        (b"\x80\x04\x95\x00\n", "line 1: value 1 is"),
        (b"x" * 1000, "line 1: 1,000 characters, expected 7"),
    ],
)
def test_other_files_are_named_errors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.amat"
    path.write_bytes(content)
    with pytest.raises(DrawError, match=message):
        read_amat(path, 2, 2)


def test_gzip_bomb_is_refused(tmp_path: Path, gzip_bomb: bytes, limited_memory) -> None:
    path = tmp_path / "file.amat"
    path.write_bytes(gzip_bomb)
    with limited_memory(40), pytest.raises(DrawError, match="longer than 100,000 lines of 25 values"):
        read_amat(path, 5, 5)


def test_official_files(data_dir: Path) -> None:
    means = {"valid": 0.1311, "test": 0.1325}  # ../shared data's README
    for split, mean in means.items():
        pictures = read_amat(data_dir / "binarized_mnist" / f"binarized_mnist_{split}.amat.gz")
        assert pictures.shape == (10_000, 1, 28, 28)
        assert round(float(pictures.mean()), 4) == mean
