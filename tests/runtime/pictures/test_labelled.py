"""Pictures with labels in an npz file: read whole, or refused in one line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.labelled import read_labelled

RNG = np.random.default_rng(3)

SCENES = RNG.integers(0, 256, (11, 20, 24), dtype=np.uint8)


def test_smaller_pictures_of_an_npz_are_centred(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=SCENES[:, :10, :10])
    part = next(read_labelled(tmp_path / "x.npz", ("a", "b")).prepared(4, (1, 20, 24)))
    got = np.stack([prepared.image for prepared in part])
    np.testing.assert_array_equal(got[:, 0, 5:15, 7:17], SCENES[:4, :10, :10] / np.float32(255))
    assert got.sum() == pytest.approx((SCENES[:4, :10, :10] / 255).sum(), rel=1e-5)


def forged(path: Path, header: str) -> None:
    """An npz whose array claims more than it holds."""
    text = header.ljust(118).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"abc")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"hello"), "not an npz file"),
        (lambda p: np.savez(p, pictures=SCENES), "no array named images"),
        (lambda p: np.savez(p, images=SCENES.astype(object)), "Python objects"),
        (lambda p: np.savez(p, images=np.zeros((3, 2))), "must have shape"),
        (lambda p: np.savez(p, images=SCENES[:0]), "must have shape"),
        (lambda p: np.savez(p, images=SCENES, labels=np.zeros(3, int)), r"labels must have shape \[11\]"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, 3)), "labels run from 3 to 3"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, "dog")), "'dog' is none of"),
        (lambda p: np.savez(p, images=SCENES, labels=np.zeros(11)), "class numbers or names"),
        (lambda p: np.savez(p, images=SCENES.astype(np.float32)), "divide by 255"),
        (
            lambda p: forged(p, "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
            "claims",
        ),
        (
            lambda p: forged(p, "{'descr': '<f8', 'fortran_order': False, 'shape': __import__('os')}"),
            "damaged",
        ),
    ],
)
def test_bad_npz_files_are_one_line(run, fake: Path, tmp_path: Path, make, message: str) -> None:
    import re

    make(tmp_path / "x.npz")
    got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path / "x.npz")
    assert got.code == 1
    assert re.search(message, got.err), got.err
    assert len(got.err.strip().splitlines()) == 1
    assert got.out == ""


@settings(
    deadline=None,
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_npz_files_never_surprise(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere and cut at the end: pictures or a one-line DrawError, and no more memory than the file."""
    path = tmp_path / "x.npz"
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(path, images=SCENES[:3, :4, :4], labels=np.array([0, 1, 2]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        got = read_labelled(path, ("a", "b", "c"))
    except DrawError as error:
        assert "\n" not in str(error)
    else:
        assert got.pictures.ndim == 4
