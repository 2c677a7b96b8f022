"""Readers of digits: real ones are read, torn ones are not, and samples are treated as the real ones are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint
from draw_onnx.models.config import DrawConfig
from draw_onnx.models.draw import Draw
from draw_onnx.train.data.dataset import Dataset, Pictures
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.data.torn import torn_digits
from draw_onnx.train.data.two_digit import PLACES, paint_pairs
from draw_onnx.train.evaluation import cli, pair_reader, recognisability, samples
from draw_onnx.train.evaluation.digit_reader import DigitReader
from draw_onnx.train.evaluation.figures import image_noise
from draw_onnx.train.evaluation.nearest import Uniqueness
from draw_onnx.train.evaluation.pair_reader import PairReader, training_windows
from draw_onnx.train.evaluation.recognisability import (
    Readings,
    Recognisability,
    check_recognise,
    recognise,
    recognised_sheet,
)
from draw_onnx.train.evaluation.samples import draw_samples


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits in MNIST's frame: 16 x 16 pixels of black or white in 28 x 28, shuffled."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    large = images.reshape(-1, 8, 8).repeat(2, 1).repeat(2, 2) > 7
    framed = np.pad(large, ((0, 0), (6, 6), (6, 6))).astype(np.uint8)
    return framed[order], np.asarray(labels, np.int64)[order]


def test_torn_digits_are_of_two(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images = np.repeat(np.arange(10, dtype=np.uint8), 5)[:, None, None] * np.ones((1, 4, 3), np.uint8)
    torn = torn_digits(images, images[:, 0, 0].astype(np.int64), np.random.default_rng(0))
    assert torn.shape[1:] == (4, 3)
    assert 35 < len(torn) < 50
    upper, lower = torn[:, :2].reshape(len(torn), -1), torn[:, 2:].reshape(len(torn), -1)
    assert (upper == upper[:, :1]).all()
    assert (lower == lower[:, :1]).all()
    assert (upper[:, 0] != lower[:, 0]).all()


def test_a_reader_of_digits_reads_digits_and_doubts_others(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    reader = DigitReader(images[:1200], labels[:1200])
    named, probabilities = reader.read(images[1200:])
    assert (named == labels[1200:]).mean() > 0.93
    assert (probabilities >= 0.9).mean() > 0.8
    torn = torn_digits(images[1200:], labels[1200:], np.random.default_rng(1))
    assert (reader.read(torn)[1] >= 0.9).mean() < 0.5
    shuffled = np.random.default_rng(2).permuted(images[1200:].reshape(597, -1), axis=1).reshape(-1, 28, 28)
    assert (reader.read(shuffled)[1] >= 0.9).mean() < 0.1
    assert reader.probabilities(images[:7]).sum(1) == pytest.approx(np.ones(7))
    again = DigitReader(images[:1200], labels[:1200])
    np.testing.assert_array_equal(
        again.probabilities(images[1200:1300]), reader.probabilities(images[1200:1300])
    )


def test_training_windows_hold_what_they_are_called() -> None:
    """Digits told from one another by their ink: the middle of a window is the digit that it is named after."""
    labels = np.arange(200) % 10
    images = np.zeros((200, 28, 28), np.uint8)
    for k, label in enumerate(labels):  # a bar in the column that is its name
        images[k, 8:20, 4 + 2 * label] = 1
    windows, answers = training_windows(images, labels, np.random.default_rng(0))
    assert windows.shape == (len(answers), 1, 28, 28)
    assert set(answers.tolist()) == set(range(11))
    whole = answers < pair_reader.NONE
    assert 0.6 < whole[:400].float().mean() < 0.9  # without the torn ones
    assert not whole[400:].any()
    for window, answer in zip(windows[:400, 0][whole[:400]], answers[:400][whole[:400]], strict=True):
        column = 4 + 2 * int(answer)
        assert window[9:19, max(column - 1, 0) : column + 2].any(1).all()


@pytest.fixture(scope="module")
def pairs(digits: tuple[np.ndarray, np.ndarray]) -> PairReader:
    """A reader of pairs, trained on 1,500 digits for as long as they need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_reader, "EPOCHS", 10)
        return PairReader(digits[0][:1500], digits[1][:1500])


def test_a_reader_of_pairs(pairs: PairReader, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits[0][1500:], digits[1][1500:]
    random = np.random.default_rng(3)
    corners = random.integers(PLACES, size=(140, 2, 2))
    found = pairs.read(paint_pairs(images[:140], images[140:280], corners))
    truth = np.sort(np.stack([labels[:140], labels[140:280]], 1), 1)
    assert found.accepted.mean() > 0.4
    right = (np.sort(found.labels, 1) == truth).all(1)
    assert right[found.accepted].mean() > 0.85
    # Where it is sure, the windows lie on the digits: the nearest of the two within two pixels.
    distance = abs(found.places[:, :, None] - corners[:, None]).max(3).min(2)
    assert (distance[found.accepted & right] <= 2).mean() > 0.95
    torn = torn_digits(images, labels, random)
    assert len(torn) > 240
    both = pairs.read(paint_pairs(torn[:120], torn[120:240], corners[:120]))
    assert both.accepted.mean() < 0.5 * found.accepted.mean()
    one = pairs.read(paint_pairs(images[:100], np.zeros_like(images[:100]), corners[:100]))
    assert one.accepted.mean() < 0.1
    assert not pairs.read(np.zeros((3, 60, 60), np.uint8)).accepted.any()


def test_ink_that_belongs_to_no_digit(pairs: PairReader, digits: tuple[np.ndarray, np.ndarray]) -> None:
    corners = np.tile([[0, 0], [0, 32]], (60, 1, 1))
    pictures = paint_pairs(digits[0][1500:1560], digits[0][1560:1620], corners)
    clean = pairs.read(pictures)
    assert clean.accepted.any()
    np.testing.assert_allclose(clean.stray[clean.accepted], 0, atol=0.03)
    pictures[:, 45:57, 20:40] = 1  # a slab of ink in the empty half
    slab = pairs.read(pictures)
    assert (slab.stray[clean.accepted] > 0.2).all()
    assert not slab.accepted[clean.accepted].any()


def test_every_place_is_asked_once(pairs: PairReader) -> None:
    """Sixteen passes over whole pictures are the network at each of the 33 x 33 windows."""
    pictures = torch.from_numpy((np.random.default_rng(4).random((2, 60, 60)) < 0.2).astype(np.uint8))
    maps = pairs._probability_maps(pictures)
    with torch.no_grad():
        for y, x in ((0, 0), (3, 1), (17, 32), (32, 32), (32, 2), (13, 14)):
            window = pictures[:, None, y : y + 28, x : x + 28].float()
            said = pairs._network(window)[:, :, 0, 0].softmax(1)[:, :10]
            torch.testing.assert_close(maps[:, :, y, x], said)


def test_training_a_reader_leaves_torchs_generator_alone(digits: tuple[np.ndarray, np.ndarray]) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    PairReader(digits[0][:20], digits[1][:20])
    assert torch.equal(torch.rand(3), expected)


def test_counts_and_entropy_are_of_what_was_read() -> None:
    labels = np.array([[3], [3], [5], [7]])
    sure = np.array([True, True, True, False])
    readings = Readings(labels, sure[:, None].astype(float), sure)
    assert readings.share == 75
    assert readings.counts.tolist() == [0, 0, 0, 2, 0, 1, 0, 0, 0, 0]
    assert readings.entropy == pytest.approx(np.log(3) - 2 / 3 * np.log(2))
    nothing = Readings(labels, sure[:, None].astype(float), np.zeros(4, bool))
    assert (nothing.share, nothing.entropy) == (0, 0)


def model(config: DrawConfig) -> Draw:
    torch.manual_seed(0)
    return Draw(config).eval()


def test_samples_are_drawn_as_their_data_are() -> None:
    network = model(DrawConfig(1, 6, 5, 2, 4, 2, 2, 2))
    means, drawn = (draw_samples(network, 130, 3, binary) for binary in (False, True))
    assert means.shape == drawn.shape == (130, 1, 6, 5)
    assert ((means > 0) & (means < 1)).all()
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(float(means.mean()), abs=0.03)
    assert torch.equal(draw_samples(network, 7, 3, True), drawn[:7])


class Copying:
    """A 'model' whose samples are given pictures: what a perfect one, and a hopeless one, would draw."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def __call__(self, *_: object, **__: object) -> torch.Tensor:
        return torch.from_numpy(self.pictures[:, None].astype(np.float32))


@pytest.mark.parametrize("name", ["digits", "mnist", "mnist-two-digit"])
def test_real_pictures_pass_and_noise_does_not(
    name: str,
    digits: tuple[np.ndarray, np.ndarray],
    pairs: PairReader,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    images, labels = digits
    train, test = (
        Pictures(images[part][:, None], labels[part], 1) for part in (slice(1500), slice(1500, None))
    )
    monkeypatch.setattr(recognisability, "training_digits", lambda *_: (train, None))
    monkeypatch.setattr(recognisability, "test_digits", lambda *_: test)
    monkeypatch.setattr(Pictures, "binarised", lambda self, _: self)  # they are black and white already
    monkeypatch.setattr(recognisability, "PairReader", lambda *_: pairs)
    if name == "digits":
        data = load_dataset("digits", None, "cpu")
        fresh = data.evaluation("valid").slice(0, 90).images[:, 0].numpy()
    else:
        data = Dataset.__new__(Dataset)
        data.name, data.binary = name, True
        fresh = images[1400:1490]
        if name == "mnist-two-digit":
            fresh = paint_pairs(
                fresh, images[1300:1390], np.random.default_rng(0).integers(PLACES, size=(90, 2, 2))
            )
    noise = (np.random.default_rng(0).random(fresh.shape) < 0.2).astype(np.float32)
    results = []
    for pictures in (fresh, noise):
        monkeypatch.setattr(recognisability, "draw_samples", Copying(pictures))
        results.append(recognise(model(DrawConfig(1, 6, 5, 2, 4, 2, 2, 2)), data, tmp_path, 90))
    good, bad = results
    assert good.samples.share > 0.7 * good.real.share > 0.25
    assert bad.samples.share < 0.5 * good.real.share
    assert good.torn.share < 0.6 * good.real.share
    assert good.right > 85
    assert len(good.lines) == 3
    assert f"90 samples: {good.samples.share:.1f} %" in good.lines[0]
    assert (
        sum(good.values["recognised_samples_counts"])
        == good.samples.sure.sum() * good.samples.labels.shape[1]
    )
    sheet = recognised_sheet(good)
    assert sheet.ndim == 3
    assert sheet.shape[0] < 1500


def test_the_command(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    config = DrawConfig(1, 8, 8, 2, 8, 2, 2, 2)
    save_checkpoint(tmp_path / "d.ckpt", Checkpoint(config, "digits", dict(build_model(config).state_dict())))
    arguments = ("--ckpt", tmp_path / "d.ckpt", "--recognise", 30, "--recognise-sheet", tmp_path / "s.png")
    code, out, error = command(cli.main, *arguments, "--json")
    assert code == 0, error
    values = json.loads(out)
    assert values["recognised_real"] > 70
    assert values["recognised_samples"] < 50  # untrained
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_at_a_temperature(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Other samples, said to be such; real and torn digits are the same."""
    config = DrawConfig(1, 8, 8, 2, 8, 2, 2, 2)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "d.ckpt", Checkpoint(config, "digits", dict(build_model(config).state_dict())))
    arguments = ("--ckpt", tmp_path / "d.ckpt", "--recognise", 30)
    plain, cool = (
        json.loads(command(cli.main, *arguments, "--json", *more)[1]) for more in ((), ("--temperature", 0.5))
    )
    assert (plain["temperature"], cool["temperature"]) == (1, 0.5)
    for name in ("bound", "recognised_real", "recognised_torn"):
        assert plain[name] == cool[name]
    code, out, error = command(cli.main, *arguments, "--temperature", 0.5)
    assert code == 0, error
    assert "30 samples at temperature 0.5: " in out
    model = build_model(config)
    assert isinstance(model, Draw)
    warm, cooler = (draw_samples(model, 5, 0, False, temperature=t) for t in (1.0, 0.5))
    noise = 0.5 * image_noise(model, 0, 0, 5)
    torch.testing.assert_close(cooler, model.generate(noise).image, rtol=0, atol=0)
    assert not torch.equal(warm, cooler)


def test_the_bar_covers_the_reader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """Which takes longer than the samples: a bar for each, full when it is done and not before."""
    images, labels = digits
    bars: list[tuple[str, float, list[float]]] = []

    @contextmanager
    def progress(text: str, total: float) -> Iterator[SimpleNamespace]:
        steps: list[float] = []
        bars.append((text, total, steps))
        yield SimpleNamespace(advance=steps.append)
        assert sum(steps) == pytest.approx(total)
        assert len(steps) > 1

    monkeypatch.setattr(recognisability, "progress", progress)
    monkeypatch.setattr(samples, "BATCH", 3)
    found = recognise(
        model(DrawConfig(1, 8, 8, 2, 4, 2, 2, 2)), load_dataset("digits", None, "cpu"), tmp_path, 5
    )
    assert [(text, total) for text, total, _ in bars] == [("drawing samples", 5), ("training a reader", 4)]
    assert len(found.samples.sure) == 5
    train = Pictures(images[:150, None], labels[:150], 1)
    recognisability._read_pairs(np.zeros((1, 1, 60, 60), np.float32), train, train)
    assert bars[-1][:2] == ("training a reader", 3 * 150)


def test_one_of_each_is_no_plural() -> None:
    one = Readings(np.array([[3]]), np.array([[0.5]]), np.array([True]))
    found = Recognisability(np.zeros((1, 1, 8, 8)), one, one, one, 100.0)
    assert found.lines[0].startswith("1 sample: ")
    assert "; 1 real test picture: " in found.lines[0]
    nothing = torch.zeros(1, 1, 2, 2)
    assert str(Uniqueness(nothing, nothing, np.zeros(1), np.ones(2))).startswith("1 sample: ")


def test_other_data_are_no_digits(bars: Dataset) -> None:
    with pytest.raises(DrawError, match=r"--recognise reads digits .* not bars"):
        check_recognise(bars)


@pytest.mark.slow
def test_mnist_is_read(data_dir: Path) -> None:
    """The whole reader on the real digits: what docs/training.md says of it."""
    data = load_dataset("mnist", data_dir, "cpu")
    train, test = recognisability._digits(data, data_dir)
    reader = DigitReader(train.images[:, 0].astype(np.float32), train.labels)
    named, _ = reader.read(test.images[:, 0].astype(np.float32))
    assert (named == test.labels).mean() >= 0.97


def test_letters_cannot_be_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST's folder may hold EMNIST's letters."""
    pictures = Pictures(np.zeros((20, 1, 4, 4), np.uint8), np.arange(20), 255)
    monkeypatch.setattr(recognisability, "training_digits", lambda *_: (pictures, None))
    monkeypatch.setattr(recognisability, "test_digits", lambda *_: pictures)
    data = Dataset.__new__(Dataset)
    data.name, data.binary = "mnist-dynamic", True
    with pytest.raises(DrawError, match="of more than ten classes"):
        recognise(model(DrawConfig(1, 4, 4, 2, 4, 2, 2, 2)), data, tmp_path, 5)


@pytest.mark.parametrize("read", [recognisability._read_digits, recognisability._read_pairs])
def test_digits_of_one_class_cannot_be_torn(read: Callable[..., object]) -> None:
    """Said before a reader is trained."""
    threes = Pictures(np.zeros((6, 1, 28, 28), np.uint8), np.full(6, 3), 1)
    with pytest.raises(DrawError, match="too few test digits"):
        read(np.zeros((2, 1, 28, 28), np.float32), threes, threes)
