"""Deformed digits: what a strength means, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.train.data.deform import deformed
from draw_onnx.train.data.registry import load_dataset


def bars(count: int) -> torch.Tensor:
    """A thick upright bar in the middle of 28x28."""
    squares = torch.zeros(count, 28, 28, dtype=torch.uint8)
    squares[:, 6:22, 11:17] = 255
    return squares


def moments(squares: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Ink, centre (row, column) in pixels and the angle of the long axis in degrees, each [k]."""
    ink = squares.double()
    total = ink.sum((1, 2))
    line = torch.arange(28, dtype=torch.float64)
    row, column = (ink.sum(2) @ line) / total, (ink.sum(1) @ line) / total
    y, x = line[:, None] - row[:, None, None], line - column[:, None, None]
    yy, xx, xy = (ink * y * y).sum((1, 2)), (ink * x * x).sum((1, 2)), (ink * x * y).sum((1, 2))
    return total, row, column, torch.rad2deg(0.5 * torch.atan2(2 * xy, yy - xx))


def test_almost_no_strength_is_almost_no_change() -> None:
    squares = bars(8)
    same = deformed(squares, 1e-6, torch.Generator().manual_seed(0))
    assert same.dtype == torch.uint8
    assert (same.int() - squares.int()).abs().max() <= 1


def test_strength_one_is_as_much_as_it_says() -> None:
    ink, row, column, angle = moments(deformed(bars(4000), 1.0, torch.Generator().manual_seed(0)))
    before = moments(bars(1))
    # Both stretches by up to e^0.12, each axis for itself.
    assert float((ink / before[0]).log().abs().max()) == pytest.approx(0.24, abs=0.05)
    # 0.07 of half a side of 28 pixels is one pixel.
    for centre, own in ((row, before[1]), (column, before[2])):
        assert 0.8 < float((centre - own).abs().max()) < 1.4
    # 12 degrees, and 0.15 columns a row of slant, which are 8.5 more.
    assert 14 < float(angle.abs().max()) < 25
    assert abs(float(angle.mean())) < 0.5


def test_a_deformed_digit_follows_its_definition() -> None:
    """Stretched, slanted, rotated, then shifted: each pixel comes from between four others."""
    count, side, strength = 4, 28, 0.7
    random = np.random.default_rng(0)
    squares = random.integers(0, 256, (count, side, side)).astype(np.uint8)
    got = deformed(torch.from_numpy(squares), strength, torch.Generator().manual_seed(4)).numpy()
    draws = 2 * torch.rand((6, count), generator=torch.Generator().manual_seed(4)).double().numpy() - 1
    line = (2 * np.arange(side) + 1) / side - 1
    for square, result, draw in zip(squares, got, strength * draws.T, strict=True):
        angle, slant, (width, height) = np.deg2rad(12) * draw[0], 0.15 * draw[1], np.exp(0.12 * draw[2:4])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.array([[1, slant], [0, 1]]) @ np.diag([width, height])
        places = np.stack(np.meshgrid(line, line), -1) @ matrix.T + 0.07 * draw[4:]
        column, row = np.moveaxis((places + 1) * side / 2 - 0.5, -1, 0)
        expected = np.zeros((side, side))
        for r, c in np.ndindex(side, side):
            near = np.clip(1 - abs(row - r), 0, None) * np.clip(1 - abs(column - c), 0, None)
            expected += near * square[r, c]
        assert abs(result - expected).max() < 0.51  # rounded


def test_the_same_generator_state_gives_the_same_digits() -> None:
    first, second = (deformed(bars(5), 1.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", ["mnist-dynamic", "mnist-two-digit"])
def test_digits_are_deformed_before_they_are_binarised(name: str, data_dir: Path) -> None:
    """As much ink on average at other places; the generator's draws before them are the same."""
    plain, other = (load_dataset(name, data_dir, "cpu", deform=s) for s in (0.0, 1.0))
    indices = torch.arange(2000)
    a, b = (d.batch(indices, torch.Generator().manual_seed(0)).images for d in (plain, other))
    assert set(b.unique().tolist()) == {0.0, 1.0}
    assert float(b.mean()) == pytest.approx(float(a.mean()), rel=0.03)
    rows = torch.arange(a.shape[2], dtype=torch.float32)
    centres = [(x.sum(3)[:, 0] * rows).sum(1) / x.sum((1, 2, 3)) for x in (a, b)]
    moved = centres[1] - centres[0]
    assert 0.2 < moved.std() < 1.5  # of a deformation, not of other places
    assert torch.equal(plain.evaluation("valid").images, other.evaluation("valid").images)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("name", ["mnist-dynamic", "mnist-two-digit"])
def test_pixels_that_are_drawn_are_as_sure_as_before(
    name: str, strength: float, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bilinear interpolation alone would add more than half of the entropy again, for a model to draw."""
    monkeypatch.setattr(torch, "bernoulli", lambda p, generator: p)

    def entropy(deform: float) -> float:
        data = load_dataset(name, data_dir, "cpu", deform=deform)
        p = data.batch(torch.arange(500), torch.Generator().manual_seed(0)).images.double()
        return float((torch.special.entr(p) + torch.special.entr(1 - p)).sum((1, 2, 3)).mean())

    assert entropy(strength) == pytest.approx(entropy(0.0), rel=0.08)


def test_only_training_digits_change(data_dir: Path) -> None:
    plain, deformed = (load_dataset("cluttered-mnist", data_dir, "cpu", deform=s) for s in (0.0, 1.0))
    a, b = (d.batch(torch.arange(4), torch.Generator().manual_seed(0)) for d in (plain, deformed))
    assert a.labels is not None
    assert b.labels is not None
    assert torch.equal(a.labels, b.labels)
    assert not torch.equal(a.images, b.images)
    # The clutter and the places are drawn first, and are the same.
    assert ((a.images - b.images).abs() > 0).float().mean() < 0.05
    assert torch.equal(plain.evaluation("valid").images, deformed.evaluation("valid").images)


@pytest.mark.parametrize("name", ["mnist", "cluttered-mnist", "mnist-two-digit", "mnist-dynamic"])
def test_all_digits_are_those_of_the_training_file(name: str, data_dir: Path) -> None:
    some, data = (load_dataset(name, data_dir, "cpu", all_digits=every) for every in (False, True))
    assert (some.train_size, data.train_size) == (50_000, 60_000)
    assert torch.equal(some.evaluation("valid").images, data.evaluation("valid").images)
    assert len(data.evaluation("valid")) == 10_000
    assert data.note == ""
    batch = data.batch(torch.tensor([0, 59_999]), torch.Generator().manual_seed(0))
    assert batch.images.flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["digits", "mnist", "images", "labelled-images"])
def test_others_are_not_deformed(name: str, data_dir: Path) -> None:
    with pytest.raises(DrawError, match=r"--deform is for .* and cluttered-mnist, not"):
        load_dataset(name, data_dir, "cpu", deform=1.0)


@pytest.mark.parametrize("name", ["digits", "svhn", "cifar10", "images", "labelled-images"])
def test_others_have_no_digits_held_back(name: str, data_dir: Path) -> None:
    with pytest.raises(DrawError, match=f"--all-digits is for .*, not for {name}"):
        load_dataset(name, data_dir, "cpu", all_digits=True)
