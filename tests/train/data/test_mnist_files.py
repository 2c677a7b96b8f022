"""Files in MNIST's format as other programs leave them: found, read, and never fetched beside what is there."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.train.data import downloads, mnist
from draw_onnx.train.data.downloads import Source
from draw_onnx.train.data.mnist_files import TEST, TRAIN, read_part
from draw_onnx.train.data.registry import load_dataset

from .conftest import idx_bytes

RNG = np.random.default_rng(5)
IMAGES = {part: RNG.integers(0, 256, (n, 28, 28), np.uint8) for part, n in ((TRAIN, 24), (TEST, 6))}
LABELS = {part: (np.arange(len(images)) % 10).astype(np.uint8) for part, images in IMAGES.items()}


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {key: Source(("http://127.0.0.1:9/never",), "sha256:0") for key in downloads.SOURCES}
    monkeypatch.setattr(downloads, "SOURCES", nowhere)


def write(
    folder: Path, name: str = "{part}-{kind}-idx{axes}-ubyte", labels: bool = True, shift: int = 0
) -> None:
    for part in IMAGES:
        for kind, axes, values in (
            ("images", 3, IMAGES[part]),
            ("labels", 1, LABELS[part] + np.uint8(shift)),
        ):
            if kind == "images" or labels:
                path = folder / name.format(
                    part=part, kind=kind, axes=axes, test="test" if part == TEST else part
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                data = idx_bytes(values)
                path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


LAYOUTS = {
    "as downloaded here": ("mnist", "{part}-{kind}-idx{axes}-ubyte.gz"),
    "torchvision": ("MNIST/raw", "{part}-{kind}-idx{axes}-ubyte"),
    "torchvision, FashionMNIST as the data folder": ("raw", "{part}-{kind}-idx{axes}-ubyte"),
    "Kaggle": ("mnist", "{part}-{kind}.idx{axes}-ubyte"),
    "Kaggle, folders around the files": (
        ".",
        "{part}-{kind}-idx{axes}-ubyte/{part}-{kind}-idx{axes}-ubyte",
    ),
    "the files' own folder": (".", "{part}-{kind}-idx{axes}-ubyte.gz"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", [TRAIN, TEST])
def test_layouts(tmp_path: Path, layout: str, part: str) -> None:
    folder, name = LAYOUTS[layout]
    write(tmp_path / folder, name)
    digits = read_part(tmp_path, part, labelled=True)
    np.testing.assert_array_equal(digits.images[:, 0], IMAGES[part])
    np.testing.assert_array_equal(digits.labels, LABELS[part])
    assert digits.names == tuple("0123456789")


def test_keras(tmp_path: Path) -> None:
    arrays = {
        f"{axis}_{ending}": values[part]
        for part, ending in ((TRAIN, "train"), (TEST, "test"))
        for axis, values in (("x", IMAGES), ("y", LABELS))
    }
    np.savez_compressed(tmp_path / "mnist.npz", allow_pickle=False, **arrays)
    data = load_dataset("cluttered-mnist", tmp_path, "cpu")
    assert (data.train_size, len(data.evaluation("test"))) == (20, 6)
    assert load_dataset("mnist-dynamic", tmp_path, "cpu").labels == tuple("0123456789")
    digits = read_part(tmp_path, TEST, labelled=True)
    np.testing.assert_array_equal(digits.images[:, 0], IMAGES[TEST])
    np.testing.assert_array_equal(digits.labels, LABELS[TEST])
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES[TRAIN], z=LABELS[TRAIN])
    assert len(read_part(tmp_path, TRAIN, labelled=False).images) == 24
    with pytest.raises(DrawError, match=r"mnist\.npz holds no array y_train: it holds x_train, z"):
        read_part(tmp_path, TRAIN, labelled=True)
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES[TRAIN], y_train=LABELS[TRAIN].astype(np.uint64) + 2**63)
    with pytest.raises(DrawError, match=r"has the class number 92233720368547758\d\d; up to 255 are read"):
        read_part(tmp_path, TRAIN, True)
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES[TRAIN] / 255, y_train=LABELS[TRAIN])
    with pytest.raises(DrawError, match=r"x_train must be bytes \[n, 28, 28\], not float64 \[24, 28, 28\]"):
        read_part(tmp_path, TRAIN, labelled=True)
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES[TRAIN], y_train=LABELS[TEST])
    with pytest.raises(DrawError, match="y_train must be 24 class numbers"):
        read_part(tmp_path, TRAIN, labelled=True)


def test_emnist_lies_on_its_side_and_letters_begin_at_one(tmp_path: Path) -> None:
    write(tmp_path, "emnist-letters-{test}-{kind}-idx{axes}-ubyte.gz", shift=1)
    digits = read_part(tmp_path, TEST, labelled=True)
    names = digits.names
    np.testing.assert_array_equal(digits.images[:, 0], IMAGES[TEST].swapaxes(1, 2))
    np.testing.assert_array_equal(digits.labels, LABELS[TEST])
    assert (len(names), names[0], names[-1]) == (26, "a", "z")
    data = load_dataset("mnist-dynamic", tmp_path, "cpu")
    assert data.labels == names
    write(tmp_path, "emnist-letters-{test}-{kind}-idx{axes}-ubyte.gz")
    with pytest.raises(DrawError, match="has the label 0; EMNIST's letters are 1 to 26"):
        read_part(tmp_path, TEST, labelled=True)


@pytest.mark.parametrize(
    ("kind", "count", "last"),
    [("digits", 10, "9"), ("balanced", 47, "t"), ("bymerge", 47, "t"), ("byclass", 62, "z")],
)
def test_emnist_classes(tmp_path: Path, kind: str, count: int, last: str) -> None:
    write(tmp_path, f"emnist-{kind}-" + "{test}-{kind}-idx{axes}-ubyte")
    names = read_part(tmp_path, TRAIN, labelled=True).names
    assert (len(names), len(set(names)), names[-1]) == (count, count, last)


def test_other_sets_with_a_name_in_front_stand_upright(tmp_path: Path) -> None:
    write(tmp_path, "qmnist-{test}-{kind}-idx{axes}-ubyte")
    np.testing.assert_array_equal(read_part(tmp_path, TEST, labelled=True).images[:, 0], IMAGES[TEST])


def test_several_sets_in_one_folder(tmp_path: Path) -> None:
    for kind in ("letters", "digits"):
        write(tmp_path / "raw", f"emnist-{kind}-" + "{test}-{kind}-idx{axes}-ubyte")
    with pytest.raises(
        DrawError, match=r"several sets \(emnist-digits, emnist-letters\): put the one that is meant"
    ):
        read_part(tmp_path, TRAIN, labelled=True)


def test_pictures_need_no_labels_where_none_are_used(tmp_path: Path) -> None:
    write(tmp_path / "mnist", labels=False)
    data = load_dataset("mnist-dynamic", tmp_path, "cpu")
    assert (data.labels, data.train_size) == ((), 20)
    assert data.note == "20 of 50,000 training images, other pictures than MNIST's"
    batch = data.batch(torch.arange(20), torch.Generator().manual_seed(0))
    assert batch.labels is None
    # Not MNIST's fixed file: these pictures' own.
    assert len(data.evaluation("test")) == 6
    assert torch.equal(data.evaluation("test").images, data.evaluation("test-dynamic").images)
    assert len(load_dataset("mnist-two-digit", tmp_path, "cpu").evaluation("test")) == 6
    with pytest.raises(DrawError, match=r"mnist has no train-labels-idx1-ubyte.gz beside t10k-images"):
        load_dataset("cluttered-mnist", tmp_path, "cpu")


def test_mnists_own_labels_are_fetched_beside_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that was ended half way goes on; another set's pictures never get MNIST's labels (above)."""
    write(tmp_path / "mnist", "{part}-{kind}-idx{axes}-ubyte.gz", labels=False)
    name = "mnist/train-images-idx3-ubyte.gz"
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    monkeypatch.setitem(downloads.SOURCES, name, Source((), f"sha256:{digest}"))
    with pytest.raises(DrawError, match=r"could not download train-labels-idx1-ubyte\.gz"):
        load_dataset("cluttered-mnist", tmp_path, "cpu")


def test_every_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DrawError) as caught:
        read_part(tmp_path, TRAIN, labelled=True)
    for place in ("mnist", "mnist/raw", "MNIST/raw", "raw"):
        assert str(tmp_path / place) in str(caught.value)
    assert "mnist.npz" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_mnist_is_known_by_its_pictures(data_dir: Path) -> None:
    images = read_part(data_dir, TRAIN, labelled=False).images
    assert zlib.crc32(images[:1000].tobytes()) == mnist.MNIST_CRC32
    assert load_dataset("mnist-dynamic", data_dir, "cpu").note == ""
