"""Pictures with labels in an npz file: read whole, or refused in one line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.metadata import PictureRule
from draw_onnx.runtime.pictures.labelled import read_labelled
from draw_onnx.runtime.pictures.prepare import prepare_file
from draw_onnx.runtime.pictures.reading import read_picture

from ...damage import changed, cut
from ..conftest import SCENES


def test_smaller_pictures_of_an_npz_are_centred(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=SCENES[:, :10, :10])
    part = next(
        read_labelled(tmp_path / "x.npz", ("a", "b")).prepared(4, PictureRule((1, 20, 24), None), "auto")
    )
    got = np.stack([prepared.image for prepared in part])
    np.testing.assert_array_equal(got[:, 0, 5:15, 7:17], SCENES[:4, :10, :10] / np.float32(255))
    assert got.sum() == pytest.approx((SCENES[:4, :10, :10] / 255).sum(), rel=1e-5)


TRUTH = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": SCENES, "labels": TRUTH},
        {"x_train": SCENES[:3], "y_train": TRUTH[:3], "x_test": SCENES, "y_test": TRUTH},
        {"train_images": SCENES[:3], "test_images": SCENES, "test_labels": TRUTH[:, None]},
        {"X": SCENES, "Y": TRUTH.astype(np.float32)},
        {"x_test": SCENES, "y_test": np.eye(3, dtype=np.uint8)[TRUTH]},
        {"data": SCENES, "target": np.array(["0", "1", "2"])[TRUTH]},
        {"images": SCENES, "labels": np.array([b"0", b"1", b"2"])[TRUTH][:, None]},
    ],
)
def test_labels_of_every_kind(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    got = read_labelled(tmp_path / "x.npz", ("0", "1", "2"))
    assert got.labels is not None
    assert got.labels.tolist() == TRUTH.tolist()
    np.testing.assert_array_equal(got.pictures[:, 0], SCENES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(3, 30, 41), (1, 9, 50), (3, 12, 16)])
def test_arrays_and_files_are_covered_alike(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    """For a model of photographs, whose training cropped and resized them."""
    pixels = np.random.default_rng(2).integers(0, 256, (2, *shape), np.uint8)
    files = []
    for k, picture in enumerate(pixels.transpose(0, 2, 3, 1)):
        files.append(tmp_path / f"{k}.png")
        Image.fromarray(picture[..., 0] if shape[0] == 1 else picture).save(files[-1])
    np.savez(tmp_path / "x.npz", images=pixels)
    target = (channels, 12, 16)
    (part,) = read_labelled(tmp_path / "x.npz", ("a", "b")).prepared(
        4, PictureRule(target, None, "cover"), "auto"
    )
    for file, got in zip(files, part, strict=True):
        np.testing.assert_array_equal(got.image, read_picture(file, target, picture_fit="cover"))


@pytest.mark.parametrize("channels", [1, 3])
def test_large_arrays_are_averaged_as_files_are(tmp_path: Path, channels: int) -> None:
    """To at most 1024 pixels, in whole bytes where they have bytes; for models of figures of a known size."""
    pixels = np.full((1300, 1100, channels), 230, np.uint8)
    pixels[300:900, 500:560] = np.random.default_rng(3).integers(0, 90, (600, 60, channels))
    Image.fromarray(pixels.squeeze()).save(tmp_path / "x.png")
    expected = prepare_file(tmp_path / "x.png", PictureRule((1, 20, 24), 12))
    assert "cropped" in expected.steps
    for name, images in (("bytes", pixels[None]), ("floats", (pixels[None] / 255).astype(np.float32))):
        np.savez(tmp_path / "x.npz", images=images)
        source = read_labelled(tmp_path / "x.npz", ("a", "b"))
        ((got,),) = source.prepared(4, PictureRule((1, 20, 24), 12), "auto")
        assert got.steps == expected.steps
        np.testing.assert_allclose(got.image, expected.image, atol=0 if name == "bytes" else 0.02)


def test_a_wrong_range_names_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=SCENES.astype(np.float32))
    source = read_labelled(tmp_path / "x.npz", ("a", "b"))
    with pytest.raises(DrawError, match=r"x\.npz: images must be uint8, or numbers from 0 to 1"):
        next(source.prepared(4, PictureRule((1, 20, 24), None), "auto"))


def test_a_folder_of_that_name(run, fake: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npz").mkdir()
    got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path / "x.npz")
    assert (got.code, got.out) == (1, "")
    assert got.err.endswith("x.npz is a folder: give an ordinary file\n")


def test_labels_that_are_not_found_are_said(run, fake: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_test=SCENES, truth=TRUTH)
    got = run("classify", "--onnx", fake / "classifier.onnx", tmp_path / "x.npz")
    assert got.code == 0
    assert "has no labels named y_test beside x_test, so nothing is scored: it holds x_test, truth" in got.err


def forged(path: Path, header: str) -> None:
    """An npz whose array claims more than it holds."""
    text = header.ljust(118).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"abc")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b"hello"), "not an npz file"),
        (
            lambda p: np.savez(p, pictures=SCENES, y=[1]),
            r"no array named images .*: it holds pictures, y",
        ),
        (lambda p: np.savez(p, images=SCENES.astype(object)), "Python objects"),
        (lambda p: np.savez(p, images=np.zeros((3, 2))), "must have shape"),
        (lambda p: np.savez(p, images=SCENES[:0]), r"must have shape .*, not \[0, 20, 24\]"),
        (lambda p: np.savez(p, images=SCENES, labels=np.zeros(3, int)), r"labels must have shape \[11\]"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, 3)), "labels run from 3 to 3"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, "dog")), "'dog' is none of"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, 0.5)), "class numbers or names"),
        (lambda p: np.savez(p, images=SCENES, labels=np.ones((11, 3))), "one 1 a row"),
        (lambda p: np.savez(p, images=SCENES, labels=np.ones((11, 2))), r"shape \[11\], not \[11, 2\]"),
        (lambda p: np.savez(p, images=SCENES.astype(np.float32)), "from 0 to 1"),
        (
            lambda p: forged(p, "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
            "claims",
        ),
        (lambda p: forged(p, "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "claims"),
        (lambda p: np.savez(p, images=SCENES, labels=np.full(11, np.inf)), "labels run from inf to inf"),
        (
            lambda p: np.savez(p, images=SCENES, labels=np.full(11, 2**63 + 5, np.uint64)),
            "run from 9223372036854775813",
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


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_npz_files_never_surprise(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere and cut at the end: pictures or a one-line DrawError, and no more memory than the file."""
    path = tmp_path / "x.npz"
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(path, images=SCENES[:3, :4, :4], labels=np.array([0, 1, 2]))
    content = changed(data, path.read_bytes())
    path.write_bytes(cut(data, content, len(content) // 2))
    try:
        got = read_labelled(path, ("a", "b", "c"))
    except DrawError as error:
        assert "\n" not in str(error)
    else:
        assert got.pictures.ndim == 4
