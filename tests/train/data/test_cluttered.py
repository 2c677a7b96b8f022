"""Cluttered and two-digit MNIST against their definitions, followed pixel by pixel in plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from draw_onnx.train.data import cluttered, two_digit
from draw_onnx.train.data.dataset import Pictures, Split
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.data.stream import draws

CPU = torch.device("cpu")


def random_digits(count: int) -> Pictures:
    rng = np.random.default_rng(4)
    return Pictures(rng.integers(0, 256, (count, 1, 28, 28), np.uint8), np.arange(count) % 10)


def constant_digits(values: list[int]) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8), 28 * 28).reshape(-1, 28, 28)


def clutter_by_hand(digits: np.ndarray, own, place, pieces) -> np.ndarray:
    canvas = np.zeros((100, 100), np.int64)
    for source, crop_row, crop_column, row, column in pieces:
        for y in range(8):
            for x in range(8):
                canvas[row + y, column + x] += digits[source, 0, crop_row + y, crop_column + x]
        canvas = np.minimum(canvas, 255)  # clipped after every step, as the paper's set is made
    for y in range(28):
        for x in range(28):
            canvas[place[0] + y, place[1] + x] += digits[own, 0, y, x]
    return np.minimum(canvas, 255)


def test_training_clutter_follows_its_definition() -> None:
    digits = random_digits(9)
    indices = torch.tensor([8, 0, 3, 3])
    generator = torch.Generator().manual_seed(11)
    batch = cluttered.draw_cluttered(digits.on(CPU), indices, generator)

    generator.manual_seed(11)  # the documented order of draws
    place = torch.randint(73, (4, 2), generator=generator)
    source = torch.randint(9, (4, 8), generator=generator)
    crop = torch.randint(21, (4, 8, 2), generator=generator)
    corner = torch.randint(93, (4, 8, 2), generator=generator)
    pieces = torch.cat([source[..., None], crop, corner], -1).tolist()
    for k, own in enumerate(indices.tolist()):
        expected = clutter_by_hand(digits.images, own, place[k].tolist(), pieces[k])
        np.testing.assert_array_equal(batch.images[k, 0].numpy(), (expected / 255).astype(np.float32))
    assert batch.labels is not None
    assert batch.labels.tolist() == [8, 0, 3, 3]


def test_fixed_clutter_follows_its_definition() -> None:
    digits = random_digits(1003)  # crosses a chunk of a thousand
    made = cluttered.clutter_fixed(digits, 4)
    assert made.images.dtype == np.uint8
    assert made.labels.tolist() == digits.labels.tolist()
    for k in (0, 1, 999, 1000, 1002):
        top = [int(v) >> 32 for v in draws(4, 42 * k, 42)]

        def choice(j: int, bound: int, top: list[int] = top) -> int:
            return top[j] * bound >> 32

        pieces = [
            [choice(2 + 5 * i + j, bound) for j, bound in enumerate((1003, 21, 21, 93, 93))] for i in range(8)
        ]
        expected = clutter_by_hand(digits.images, k, (choice(0, 73), choice(1, 73)), pieces)
        np.testing.assert_array_equal(made.images[k, 0], expected)


def test_one_whole_digit_and_eight_pieces_always_inside() -> None:
    ones = Pictures(np.ones((50, 1, 28, 28), np.uint8), np.zeros(50, np.int64))
    batch = cluttered.draw_cluttered(ones.on(CPU), torch.arange(50), torch.Generator().manual_seed(1))
    sums = (batch.images * 255).round().sum((1, 2, 3))
    assert (sums == 28 * 28 + 8 * 64).all()  # nothing falls off the edge, nothing is clipped below 255
    assert (cluttered.clutter_fixed(ones, 5).images.sum((1, 2, 3)) == 28 * 28 + 8 * 64).all()


def test_sums_are_clipped_at_full_intensity() -> None:
    full = Pictures(np.full((20, 1, 28, 28), 255, np.uint8), np.zeros(20, np.int64))
    batch = cluttered.draw_cluttered(full.on(CPU), torch.arange(20), torch.Generator().manual_seed(1)).images
    assert set(batch.unique().tolist()) == {0.0, 1.0}
    fixed = cluttered.clutter_fixed(full, 5).images
    assert set(np.unique(fixed).tolist()) == {0, 255}
    assert ((fixed > 0).sum((1, 2, 3)) < 28 * 28 + 8 * 64).any()  # some overlap, so that clipping was met


@pytest.mark.parametrize("fixed", [False, True])
def test_places_are_uniform(fixed: bool) -> None:
    """The digit's corner, told from the pieces by its value, is spread evenly over its 73 x 73 places."""
    count = 4000
    images = np.ones((count, 1, 28, 28), np.uint8)
    if fixed:
        images[:, 0, 0, 0] = 100  # the digit's corner; pieces show it only when cut at the corner: 1 in 441
        digits = Pictures(images, np.zeros(count, np.int64))
        pictures = cluttered.clutter_fixed(digits, 5).images[:, 0].astype(np.int64)
    else:
        images[:, 0, 0, 0] = 100
        split = Pictures(images, np.zeros(count, np.int64)).on(CPU)
        generator = torch.Generator().manual_seed(3)
        parts = [
            cluttered.draw_cluttered(split, part, generator).images[:, 0]
            for part in torch.arange(count).split(1000)
        ]
        pictures = (torch.cat(parts) * 255).round().to(torch.int64).numpy()
    # Pictures with one bright pixel only: no piece cut at its digit's corner.
    bright = (pictures >= 100).sum((1, 2))
    assert (bright >= 1).all()
    assert abs((bright == 1).mean() - (1 - 1 / 441) ** 8) < 0.01
    _, row, column = np.nonzero((pictures >= 100) & (bright == 1)[:, None, None])
    for places in (row, column):
        counts = np.bincount(places, minlength=73)
        assert len(counts) == 73
        expected = len(places) / 73
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - 72) < 5 * np.sqrt(144)
    assert abs(np.corrcoef(row, column)[0, 1]) < 5 / np.sqrt(len(row))
    # The pieces: each of the 93 places a side equally likely, so a pixel's mean is known.
    cover = np.convolve(np.full(93, 1 / 93), np.ones(8))
    digit = np.convolve(np.full(73, 1 / 73), np.ones(28))
    dim = np.minimum(pictures, 10)  # the bright pixels differ, a little
    expected_mean = 8 * np.outer(cover, cover) + np.outer(digit, digit)
    assert np.abs(dim.mean(0) - expected_mean)[2:-2, 2:-2].max() < 0.04


def test_splits_share_no_digit(write_mnist) -> None:
    """Training digits are all 1, validation 16, test 27: whole digit and pieces come from one split."""
    root = write_mnist(constant_digits([1] * 50 + [16] * 10), constant_digits([27] * 10))
    data = load_dataset("cluttered-mnist", root, "cpu")
    batch = data.batch(torch.arange(50), torch.Generator().manual_seed(1)).images * 255
    assert batch.max() <= 9
    valid = data.evaluation("valid").images
    assert (valid % 16 == 0).all()
    assert valid.max() >= 32
    test = data.evaluation("test").images
    assert (test % 27 == 0).all()
    assert test.max() >= 54
    labels = data.evaluation("valid").labels
    assert labels is not None
    assert labels.tolist() == list(range(10))  # labels of digits 50 .. 59


def test_training_pairs_follow_their_definition() -> None:
    digits = random_digits(9)
    split = digits.on(CPU)
    indices = torch.tensor([8, 0, 3])
    generator = torch.Generator().manual_seed(11)
    batch = two_digit.draw_pairs(split, indices, generator).images

    generator.manual_seed(11)
    second = torch.randint(9, (3,), generator=generator)
    places = torch.randint(33, (3, 2, 2), generator=generator).tolist()
    both = torch.stack([indices, second], 1)
    pixels = torch.bernoulli(split.images[both, 0].float() / 255, generator=generator)
    for k in range(3):
        expected = torch.zeros(60, 60)
        for j in range(2):
            row, column = places[k][j]
            expected[row : row + 28, column : column + 28] += pixels[k, j]
        assert torch.equal(batch[k, 0], expected.clamp(max=1))


def test_fixed_pairs_follow_their_definition() -> None:
    digits = random_digits(40).binarised(2)
    made = two_digit.pair_fixed(digits, 6, CPU)
    assert made.maximum == 1
    for k in (0, 7, 39):
        top = [int(v) >> 32 for v in draws(6, 5 * k, 5)]
        second = top[0] * 40 >> 32
        row_1, column_1, row_2, column_2 = (v * 33 >> 32 for v in top[1:])
        expected = np.zeros((60, 60), np.int64)
        expected[row_1 : row_1 + 28, column_1 : column_1 + 28] += digits.images[k, 0]
        expected[row_2 : row_2 + 28, column_2 : column_2 + 28] += digits.images[second, 0]
        np.testing.assert_array_equal(made.images[k, 0].numpy(), np.minimum(expected, 1))


def test_pairs_are_two_whole_digits_of_one_split(write_mnist) -> None:
    """Full squares: two of them cover 784 pixels where they coincide, 1,568 where they are apart."""
    root = write_mnist(constant_digits([255] * 50 + [0] * 10), constant_digits([255] * 10))
    data = load_dataset("mnist-two-digit", root, "cpu")
    covered = data.batch(torch.arange(50).repeat(8), torch.Generator().manual_seed(1)).images.sum((1, 2, 3))
    assert covered.min() >= 784
    assert covered.max() == 1568
    assert data.evaluation("valid").images.max() == 0  # blank validation digits: none of training's
    assert data.evaluation("test").images.sum((1, 2, 3)).min() >= 784
    assert data.binary
    assert data.labels == ()


def test_batches_leave_the_stored_digits_alone() -> None:
    digits = random_digits(6).on(CPU)
    before = digits.images.clone()
    split = Split(digits.images, digits.labels)
    for draw in (cluttered.draw_cluttered, two_digit.draw_pairs):
        draw(split, torch.arange(6), torch.Generator().manual_seed(1))
    assert torch.equal(split.images, before)


def test_digits_have_the_size_that_the_set_names(data_dir: Path) -> None:
    """Longer sides of MNIST's ink: 20 pixels, but for a handful of 19."""
    from draw_onnx.train.data.mnist import test_digits

    ink = test_digits(data_dir).images[:, 0] > 0
    sides = [np.ptp(np.flatnonzero(line)) + 1 for line in np.concatenate([ink.any(2), ink.any(1)])]
    longer = np.maximum(sides[: len(ink)], sides[len(ink) :])
    assert (longer == cluttered.INK).mean() > 0.999
    assert load_dataset("cluttered-mnist", data_dir, "cpu").figure_size == cluttered.INK
