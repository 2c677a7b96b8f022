from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.train.data import mnist
from draw_onnx.train.data.dataset import Pictures
from draw_onnx.train.data.mnist import training_note
from draw_onnx.train.data.registry import load_dataset


def grey(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def write_fixed(root: Path, split: str, pictures: np.ndarray) -> None:
    folder = root / "binarized_mnist"
    folder.mkdir(exist_ok=True)
    text = b"".join(b" ".join(b"%d" % v for v in row.reshape(-1)) + b"\n" for row in pictures)
    (folder / f"binarized_mnist_{split}.amat.gz").write_bytes(gzip.compress(text))


def test_fixed_files_are_taken_as_they_are(tmp_path: Path) -> None:
    pictures = {split: grey(n, n) // 128 for split, n in (("train", 5), ("valid", 3), ("test", 2))}
    for split, values in pictures.items():
        write_fixed(tmp_path, split, values)
    data = load_dataset("binarized-mnist", tmp_path, "cpu")
    assert (data.name, data.binary, data.labels, data.train_size) == ("mnist", True, (), 5)
    for split, values in pictures.items():
        assert torch.equal(data.evaluation(split).slice(0, 9).images[:, 0], torch.tensor(values).float())
    batch = data.batch(torch.tensor([4, 1]), torch.Generator())
    assert torch.equal(batch.images[:, 0], torch.tensor(pictures["train"][[4, 1]]).float())
    assert batch.labels is None
    assert data.note == "5 of 50,000 training images"


def test_dynamic_draws_every_pixel_with_its_intensity(write_mnist, monkeypatch) -> None:
    images = grey(24, 1)
    images[0, :2], images[0, 2:4] = 0, 255
    root = write_mnist(images, grey(6, 2))
    write_fixed(root, "test", grey(4, 3) // 128)
    monkeypatch.setattr(mnist, "MNIST_CRC32", zlib.crc32(images[:20].tobytes()))
    data = load_dataset("mnist-dynamic", root, "cpu")
    assert data.train_size == 20  # five sixths
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(28, 28)
    for _ in range(20):
        batch = data.batch(torch.zeros(100, dtype=torch.int64), generator).images
        assert set(batch.unique().tolist()) == {0.0, 1.0}
        total += batch.sum((0, 1))
    p = torch.tensor(images[0]) / 255
    assert (total[:2] == 0).all()
    assert (total[2:4] == 2000).all()
    deviation = (total / 2000 - p).abs() / (p * (1 - p) / 2000).sqrt().clamp(min=1e-3)
    assert deviation.max() < 5

    valid = data.evaluation("valid")  # the last sixth, drawn once
    assert valid.labels is not None
    assert valid.labels.tolist() == [0, 1, 2, 3]  # labels run on from 20 % 10
    grey_valid = torch.tensor(images[20:])[:, None]
    assert (valid.images[grey_valid == 0] == 0).all()
    assert (valid.images[grey_valid == 255] == 1).all()
    assert abs(valid.images.float().mean() - grey_valid.float().mean() / 255) < 0.03
    assert len(data.evaluation("test")) == 4  # the fixed file
    assert len(data.evaluation("test-dynamic")) == 6


def test_same_generator_state_same_batch(write_mnist) -> None:
    root = write_mnist(grey(60, 1), grey(6, 2))
    indices = torch.tensor([3, 40, 3])
    for name in ("mnist-dynamic", "mnist-two-digit", "cluttered-mnist"):
        data = load_dataset(name, root, "cpu")
        first, second = (data.batch(indices, torch.Generator().manual_seed(7)).images for _ in range(2))
        assert torch.equal(first, second)
        other = data.batch(indices, torch.Generator().manual_seed(8)).images
        assert not torch.equal(first, other)
        assert not torch.equal(first[0], first[2])  # one digit twice is drawn twice
        assert first.shape == (3, 1, data.image.height, data.image.width)
        assert first.dtype == torch.float32
        assert first.min() >= 0
        assert first.max() <= 1
        assert data.binary == (set(first.unique().tolist()) <= {0.0, 1.0})


def test_too_few_digits_to_split(write_mnist) -> None:
    with pytest.raises(DrawError, match="5 training digits are too few"):
        load_dataset("mnist-dynamic", write_mnist(grey(5, 1), grey(1, 2)), "cpu")


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


FIXED = {
    ("mnist-dynamic", "valid"): "d166f948869e5a904a301e26f4276a03e00f9d6ac46bab0084938da066450374",
    ("mnist-dynamic", "test-dynamic"): "8a2d6789a31632c806b586c0f389b179c22d0ba3c0923eb954281cb98e8a05a1",
    ("mnist-two-digit", "valid"): "2f31f1e457f97cfaebe079e6b69bfc43f857c693ad8c282d1c46252370f9f4c6",
    ("mnist-two-digit", "test"): "28ba47bf75cfeee4b850ca429fde6e2d18cf6d6a157a5897a8f7313853ffe846",
    ("cluttered-mnist", "valid"): "0caec4e5942634663a8b6cfdaf4ca23a6987606c5dd65113eccbddee90d03971",
    ("cluttered-mnist", "test"): "ba7bf3f9e74a768d470f6f51d2774dbd6853d443b13cf66ae1d5c35cf4ae8142",
}


@pytest.mark.parametrize(("name", "split"), FIXED)
def test_fixed_sets_made_from_the_real_mnist(data_dir: Path, name: str, split: str) -> None:
    """The fixed sets are part of every published figure: their bytes must never change."""
    data = load_dataset(name, data_dir, "cpu")
    assert (data.train_size, data.note) == (50_000, "")
    images = data.evaluation(split).images
    assert len(images) == 10_000
    assert digest(images) == FIXED[name, split]


def test_a_note_on_larger_and_smaller_sets() -> None:
    pictures = Pictures(np.zeros((104_000, 1, 1, 1), np.uint8))
    assert training_note(pictures) == "104,000 training images"
    assert training_note(pictures[:50_000]) == ""
    assert training_note(pictures[:7]) == "7 of 50,000 training images"
