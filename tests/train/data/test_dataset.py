from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.config import ImageSize
from draw_onnx.train.data import cifar, downloads, svhn
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.data.downloads import Source
from draw_onnx.train.data.registry import (
    DATASETS,
    DataOptions,
    check_options,
    data_root,
    find_source,
    load_dataset,
)


def test_split_gives_intensities_by_index_and_by_range() -> None:
    stored = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2)
    split = Split(stored, torch.arange(6), maximum=23)
    assert len(split) == 6
    taken = split.take(torch.tensor([5, 0, 5]))
    assert taken.images.dtype == torch.float32
    assert torch.equal(taken.images, (stored[[5, 0, 5]].double() / 23).float())
    assert taken.labels is not None
    assert taken.labels.tolist() == [5, 0, 5]
    sliced = split.slice(4, 100)  # fewer at the end
    assert torch.equal(sliced.images, (stored[4:].double() / 23).float())
    assert stored.max() == 23  # the stored pictures are left as they are
    assert Split(stored).slice(0, 1).labels is None


def test_evaluation_sets_are_made_once_and_only_when_asked_for() -> None:
    calls = []

    def make() -> Split:
        calls.append(1)
        return Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))

    train = Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    data = Dataset(name="x", image=ImageSize(1, 2, 2), train=train, evaluations={"valid": make}, binary=True)
    assert not calls
    assert data.evaluation("valid") is data.evaluation("valid")
    assert len(calls) == 1
    with pytest.raises(DrawError, match="x has no split 'test': choose from valid"):
        data.evaluation("test")


def test_a_class_that_training_does_not_know(tmp_path: Path) -> None:
    pictures = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    splits = {name: Split(pictures, torch.tensor([0, 1, k])) for name, k in (("valid", 1), ("test", 2))}
    data = Dataset(
        name="x",
        image=ImageSize(1, 2, 2),
        train=splits["valid"],
        evaluations={name: (lambda split=split: split) for name, split in splits.items()},
        binary=True,
        labels=("a", "b"),
    )
    data.check_labels("valid")
    with pytest.raises(DrawError, match="'test' has the class number 2, and there are 2 classes, 0 to 1"):
        data.check_labels("test")


def test_digits_are_all_of_scikit_learns_split_once() -> None:
    from sklearn.datasets import load_digits

    data = load_dataset("digits", None, "cpu")
    splits = [data.evaluation(name) for name in ("train", "valid", "test")]
    assert [len(split) for split in splits] == [1397, 200, 200]
    assert (data.train_size, data.image, data.binary) == (1397, ImageSize(1, 8, 8), False)
    bunch: Any = load_digits()
    expected = sorted(
        (int(y), x.astype("uint8").tobytes()) for x, y in zip(bunch.data, bunch.target, strict=True)
    )
    got = []
    for split in splits:
        assert split.labels is not None
        got += [(int(y), x.numpy().tobytes()) for x, y in zip(split.images, split.labels, strict=True)]
    assert sorted(got) == expected
    batch = data.batch(torch.arange(1397), torch.Generator())
    assert torch.equal(batch.images * 16, splits[0].images.float())  # sixteenths are exact
    # The first keys of the fixed shuffle: the split is the same on every machine.
    assert batch.labels is not None
    assert batch.labels[:12].tolist() == [3, 5, 0, 0, 3, 0, 6, 2, 9, 1, 6, 6]


def test_names_and_options_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DrawError, match="unknown data set 'minst': choose from digits, mnist,"):
        load_dataset("minst", None, "cpu")
    with pytest.raises(DrawError, match="--channels is for images and labelled-images, not for digits"):
        load_dataset("digits", None, "cpu", channels=1)
    with pytest.raises(DrawError, match=r"--deform is for .* and cluttered-mnist, not for svhn"):
        load_dataset("svhn", tmp_path, "cpu", deform=1.0)
    # What is 0, False or None asks for nothing.
    assert load_dataset("digits", None, "cpu", shift=0, all_digits=False, image_dir=None).train_size == 1397
    with pytest.raises(DrawError, match=r"--data-dir: the folder .*/none does not exist"):
        load_dataset("digits", tmp_path / "none", "cpu")  # which needs none
    assert load_dataset("digits", tmp_path, "cpu").train_size == 1397
    monkeypatch.setenv("DRAW_DATA", str(tmp_path / "none"))
    assert (
        load_dataset("digits", tmp_path / "none", "cpu").train_size == 1397
    )  # as Typer hands the variable on
    monkeypatch.setenv("DRAW_DATA", f"{tmp_path / 'none'}/")
    assert load_dataset("digits", tmp_path / "none", "cpu").train_size == 1397
    monkeypatch.delenv("DRAW_DATA")
    nowhere = {key: Source(("http://127.0.0.1:9/never",), "sha256:0") for key in downloads.SOURCES}
    monkeypatch.setattr(downloads, "SOURCES", nowhere)
    for module, *names in ((cifar, "CIFAR10"), (svhn, "SVHN_TRAIN", "SVHN_TEST")):
        for name in names:
            monkeypatch.setattr(module, name, Source(("http://127.0.0.1:9/never.tar.gz",), ""))
    for name in set(DATASETS) - {"digits", "images", "labelled-images"}:
        with pytest.raises(
            DrawError, match=f"could not download .*: it belongs in {tmp_path}.*set --data-dir or DRAW_DATA"
        ):
            load_dataset(name, tmp_path, "cpu")
    assert not list(tmp_path.iterdir())

    with pytest.raises(DrawError, match=r"--data-dir: the folder .*/none does not exist"):
        data_root(tmp_path / "none")
    (tmp_path / "circle").symlink_to("circle")
    for name in (__file__, tmp_path / "circle"):
        with pytest.raises(DrawError, match=r"--data-dir: .* is no folder"):
            data_root(Path(name))
    monkeypatch.setenv("DRAW_DATA", str(tmp_path))
    assert data_root(None) == tmp_path
    assert data_root(tmp_path.parent) == tmp_path.parent
    monkeypatch.setenv("DRAW_DATA", str(tmp_path / "gone"))
    with pytest.raises(DrawError, match=r"DRAW_DATA: the folder .*/gone does not exist"):
        data_root(None)
    with pytest.raises(DrawError, match=r"DRAW_DATA: the folder"):
        data_root(tmp_path / "gone")  # as Typer hands the variable on
    monkeypatch.delenv("DRAW_DATA")
    assert data_root(None).name == "draw-onnx"


@pytest.mark.parametrize("name", DATASETS)
def test_loaders_take_what_the_table_says(name: str) -> None:
    source = DATASETS[name]
    loader = getattr(importlib.import_module(f"draw_onnx.train.data.{source.module}"), source.function)
    taken = set(inspect.signature(loader).parameters) - {"device"}
    assert taken == {*source.options, *(["root"] if source.in_root else [])}
    assert set(source.options) - {"labels"} <= set(DataOptions.__annotations__)
    for key, _ in source.needs:
        with pytest.raises(DrawError, match=f"{name} needs --{key.replace('_', '-')} "):
            check_options(name, set(source.options) - {key})
    for key in set(DataOptions.__annotations__) - set(source.options):
        with pytest.raises(DrawError, match=rf"--{key.replace('_', '-')} is for .*, not for {name}$"):
            check_options(name, [key])


def test_names_are_known_without_pytorch() -> None:
    """``--help`` and the answer to a misspelt name take no seconds of imports."""
    text = "import sys, draw_onnx.train.data.registry; print(*({'torch', 'h5py', 'PIL', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout == "\n"
    assert find_source("binarized-mnist") is find_source("mnist")


def test_training_labels_are_checked_too() -> None:
    pictures = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    data = Dataset(
        name="x",
        image=ImageSize(1, 2, 2),
        train=Split(pictures, torch.tensor([0, 1, 7])),
        evaluations={"test": lambda: Split(pictures)},
        binary=True,
        labels=("a", "b"),
    )
    with pytest.raises(DrawError, match="the training set has the class number 7, and there are 2 classes"):
        data.check_labels(None)
    with pytest.raises(DrawError, match="the split 'test' has no labels"):
        data.check_labels("test")


def test_a_model_of_other_sizes_or_of_classes_in_another_order_is_refused() -> None:
    pictures = Split(torch.zeros(2, 1, 2, 3, dtype=torch.uint8), torch.tensor([0, 1]))
    data = Dataset(
        name="x", image=ImageSize(1, 2, 3), train=pictures, evaluations={}, binary=True, labels=("a", "b")
    )
    data.check_classes(("a", "b"))
    with pytest.raises(DrawError, match=r"x has other classes than the model: a, b, not b, a$"):
        data.check_classes(("b", "a"))
    data.check_fits(ImageSize(1, 2, 3))
    with pytest.raises(DrawError, match="x has 1×2×3 pictures, the model takes 1×3×2"):
        data.check_fits(ImageSize(1, 3, 2))


def test_the_checksum_is_of_labels_too() -> None:
    """The same pictures under other names are no longer what a model was trained on."""
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    of = [Split(images, labels).checksum() for labels in (None, torch.tensor([0, 1]), torch.tensor([1, 0]))]
    assert len(set(of)) == 3
