from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from draw_onnx.errors import DrawError
from draw_onnx.train.data import cifar
from draw_onnx.train.data.cifar import RECORD, read_cifar
from draw_onnx.train.data.registry import load_dataset

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def batch_bytes(count: int, seed: int = 0) -> tuple[bytes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 10, count)
    data = b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True))
    return data, images, labels


@given(count=st.integers(1, 6), seed=st.integers(0, 9))
@FEW
def test_round_trip(tmp_path: Path, count: int, seed: int) -> None:
    data, images, labels = batch_bytes(count, seed)
    path = tmp_path / "batch.bin"
    path.write_bytes(data)
    got_images, got_labels = read_cifar(path)
    np.testing.assert_array_equal(got_images, images)
    np.testing.assert_array_equal(got_labels, labels)


@given(size=st.integers(0, 3 * RECORD).filter(lambda n: n == 0 or n % RECORD))
@FEW
def test_parts_of_records_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "batch.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(DrawError, match=f"batch.bin is not a CIFAR-10 binary batch: {size:,} bytes"):
        read_cifar(path)


def test_wrong_label_and_too_many_records(tmp_path: Path, limited_memory) -> None:
    path = tmp_path / "batch.bin"
    data = bytearray(3 * RECORD)
    data[RECORD] = 10
    path.write_bytes(data)
    with pytest.raises(DrawError, match="record 2 has the label 10"):
        read_cifar(path)
    path.write_bytes(bytes(10_001 * RECORD))
    with limited_memory(80), pytest.raises(DrawError, match="longer than the 10,000 records"):
        read_cifar(path)


def test_splits_are_fixed_apart_and_complete(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for i in (1, 3):  # the others are missing: taken as it is
        (folder / f"data_batch_{i}.bin").write_bytes(batch_bytes(20, i)[0])
    test = batch_bytes(7, 9)
    (folder / "test_batch.bin").write_bytes(test[0])
    data = load_dataset("cifar10", tmp_path, "cpu")
    assert data.note == "40 of 50,000 training images, first 7 test images"
    assert (data.train_size, len(data.evaluation("valid"))) == (36, 4)
    both = torch.cat([data.evaluation("train").images, data.evaluation("valid").images])
    everything = np.concatenate([batch_bytes(20, 1)[1], batch_bytes(20, 3)[1]])
    assert sorted(image.numpy().tobytes() for image in both) == sorted(
        image.tobytes() for image in everything
    )
    np.testing.assert_array_equal(data.evaluation("test").images.numpy(), test[1])
    labels = data.evaluation("test").slice(2, 5).labels
    assert labels is not None
    assert labels.tolist() == test[2][2:5].tolist()

    (folder / "data_batch_1.bin").unlink()
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DrawError, match="no training batch"):
        load_dataset("cifar10", tmp_path, "cpu")


def test_the_note_says_what_is_missing_and_nothing_of_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "RECORDS", 20)
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in cifar.TRAIN_FILES:
        (folder / name).write_bytes(batch_bytes(20)[0])
    (folder / "test_batch.bin").write_bytes(batch_bytes(20)[0])
    assert load_dataset("cifar10", tmp_path, "cpu").note == ""
    (folder / "data_batch_5.bin").unlink()
    (folder / "test_batch.bin").write_bytes(batch_bytes(19)[0])
    expected = "80 of 50,000 training images, first 19 test images"
    assert load_dataset("cifar10", tmp_path, "cpu").note == expected


def test_real_subset(data_dir: Path) -> None:
    data = load_dataset("cifar10", data_dir, "cpu")
    assert (data.train_size, len(data.evaluation("valid"))) == (7_262, 806)
    assert (data.picture_fit, data.binary) == ("cover", False)
    names = "airplane automobile bird cat deer dog frog horse ship truck"  # in the order of batches.meta.txt
    assert data.labels == tuple(names.split())
    counts = torch.zeros(10, dtype=torch.int64)
    for split in ("train", "valid"):
        labels = data.evaluation(split).labels
        assert labels is not None
        counts += torch.bincount(labels, minlength=10)
    assert counts.tolist() == [810, 777, 808, 783, 856, 782, 808, 799, 835, 810]
    test = data.evaluation("test").labels
    assert test is not None
    assert torch.bincount(test).tolist() == [105, 93, 100, 104, 92, 87, 114, 102, 110, 110]
    assert data.note == "8,068 of 50,000 training images, first 1,017 test images"


def test_pickles_beside_the_binary_files_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(bytes(20 * RECORD))
    assert load_dataset("cifar10", tmp_path, "cpu").train_size == 18


def test_pickles_are_named_and_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(
        DrawError, match=r"cifar-10-batches-py holds CIFAR-10 as Python pickles.*cifar-10-binary"
    ):
        load_dataset("cifar10", tmp_path, "cpu")
