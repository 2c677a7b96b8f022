"""How many samples can be read, and do all digits occur? A classifier of real digits is asked.

Its answer means little alone: it is sure of some pictures that are no digits and unsure of some that are. So the same
number is given for as many real test pictures, treated alike, and for as many of torn digits (../data/torn.py): a good
model is near the first and far from the second.

Samples of black and white data are drawn from their Bernoulli means (samples.py), and real digits from their grey values,
each pixel once. Grey data (``digits``) stay grey on both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...console import progress
from ...errors import DrawError
from ...models.draw import Draw
from ...runtime.error_rate import ErrorRate
from ...runtime.pictures.captions import captioned
from ...runtime.pictures.drawing import Rgb, arrange, fitting_scale, gap_width, to_rgb
from ..data.dataset import Dataset, Pictures
from ..data.mnist import test_digits, training_digits
from ..data.registry import data_root
from ..data.stream import BINARISE_TEST, BINARISE_TRAIN, TWO_DIGIT_TEST
from ..data.torn import torn_digits
from ..data.two_digit import PLACES, paint_pairs, pair_draws
from .digit_reader import MEMBERS, DigitReader
from .pair_reader import CONFIDENT, EPOCHS, PairReader
from .samples import at_temperature, draw_samples

DIGITS = 10
PAIRS = "mnist-two-digit"
DATASETS = ("mnist", "mnist-dynamic", "digits", PAIRS)
SEED = 0  # of the readers' training and of the torn digits
SHEET = 100  # pictures at most


@dataclass(frozen=True)
class Readings:
    """What was read in n pictures of d digits each."""

    labels: np.ndarray  # int64 [n, d]
    probabilities: np.ndarray  # float64 [n, d]
    sure: np.ndarray  # bool [n]

    @property
    def share(self) -> float:
        """Percentage of pictures that the reader is sure of."""
        return 100 * float(self.sure.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, 95 % (Wilson), in percent."""
        low, high = ErrorRate(len(self.sure), int((~self.sure).sum())).interval
        return 100 * (1 - high), 100 * (1 - low)

    @property
    def counts(self) -> np.ndarray:
        """How often each digit occurs in the pictures that it is sure of: int64 [10]."""
        return np.bincount(self.labels[self.sure].reshape(-1), minlength=DIGITS)

    @property
    def entropy(self) -> float:
        """Of these counts, in nats: log 10 = 2.30 where all digits are equally frequent."""
        shares = self.counts[self.counts > 0] / max(self.counts.sum(), 1)
        return float((shares * np.log(1 / shares)).sum())


@dataclass(frozen=True)
class Recognisability:
    """Samples, real test pictures and torn digits, read alike."""

    pictures: np.ndarray  # the samples, float32 [n, C, H, W]
    samples: Readings
    real: Readings
    torn: Readings
    right: float  # percentage of real pictures read rightly, of those that the reader is sure of
    temperature: float = 1.0  # of the samples

    @property
    def lines(self) -> list[str]:
        low, high = self.samples.interval
        rightly = "" if math.isnan(self.right) else f" ({self.right:.1f} % of these rightly)"
        pairs = self.samples.labels.shape[1] == 2
        reader = "accepted as two digits" if pairs else "read with p ≥ 0.9"
        count, reals = len(self.samples.sure), len(self.real.sure)
        samples = f"{count:,} sample{'s' * (count != 1)}{at_temperature(self.temperature)}"
        return [
            f"{samples}: {self.samples.share:.1f} % {reader} by a classifier of real ones"
            f" (95 % interval {low:.1f} to {high:.1f});"
            f" {reals:,} real test picture{'s' * (reals != 1)}: {self.real.share:.1f} %{rightly};"
            f" {len(self.torn.sure):,} of torn digits: {self.torn.share:.1f} %",
            *(
                f"digits 0 to 9 in {name} that were {'accepted' if pairs else 'read'}:"
                f" {' '.join(map(str, each.counts))}"
                f" (entropy {each.entropy:.2f} of {math.log(DIGITS):.2f} nats)"
                for name, each in (("samples", self.samples), ("real pictures", self.real))
            ),
        ]

    @property
    def values(self) -> dict[str, Any]:
        """The figures as plain values."""
        result: dict[str, Any] = {
            "recognised_interval": self.samples.interval,
            "recognised_right": self.right,
            "temperature": self.temperature,
        }
        for name, each in (("samples", self.samples), ("real", self.real), ("torn", self.torn)):
            result[f"recognised_{name}"] = each.share
            result[f"recognised_{name}_counts"] = each.counts.tolist()
            result[f"recognised_{name}_entropy"] = each.entropy
        return result


def check_recognise(dataset: Dataset) -> None:
    """Raises DrawError for data that are no digits."""
    if dataset.name not in DATASETS:
        raise DrawError(f"--recognise reads digits ({', '.join(DATASETS)}), not {dataset.name}")


def _torn(images: np.ndarray, test: Pictures, needed: int, random: np.random.Generator) -> np.ndarray:
    """:func:`~..data.torn.torn_digits` of test digits; raises DrawError where there are not the few ``needed``."""
    torn = torn_digits(images, test.labels, random)
    if len(torn) < needed:
        raise DrawError(
            "--recognise tears digits of two classes and puts their halves together: there are too few test digits"
        )
    return torn


def recognise(
    model: Draw,
    dataset: Dataset,
    data_dir: Path | None,
    count: int,
    seed: int = 0,
    temperature: float = 1.0,
) -> Recognisability:
    """Samples 0..count-1 of ``seed``, beside as many real and torn pictures (fewer where the test set has fewer).

    A bar says how far the samples are drawn, and then how far the reader is trained, which takes the most of the time.
    The data set is one that :func:`check_recognise` lets pass.

    Raises:
        DrawError: files that are missing, or not of digits.
    """
    digits = _digits(dataset, data_dir)
    with progress("drawing samples", count) as bar:
        samples = draw_samples(model, count, seed, dataset.binary, bar.advance, temperature).cpu().numpy()
    read = _read_pairs if dataset.name == PAIRS else _read_digits
    samples_read, real, torn, truth = read(samples, *digits)
    right = 100 * float((real.labels == truth).all(1)[real.sure].mean()) if real.sure.any() else math.nan
    return Recognisability(samples, samples_read, real, torn, right, temperature)


def _digits(dataset: Dataset, data_dir: Path | None) -> tuple[Pictures, Pictures]:
    """Training and test digits as the set's pictures show them: the fixed files have no labels."""
    if dataset.binary:
        root = data_root(data_dir)
        train, test = training_digits(root)[0], test_digits(root)
        if max(train.labels.max(), test.labels.max()) > 9:
            raise DrawError(
                f"--recognise reads digits, and the labels in {root} are of more than ten classes"
            )
        return train.binarised(BINARISE_TRAIN), test.binarised(BINARISE_TEST)
    return dataset.evaluation("train").arrays(), dataset.evaluation("test").arrays()


def _read_digits(
    samples: np.ndarray, train: Pictures, test: Pictures
) -> tuple[Readings, Readings, Readings, np.ndarray]:
    """Of samples, real and torn digits, and the labels of the real ones [m, 1]."""
    chosen = _spread(len(test), len(samples))
    images = _intensities(test)
    torn = _torn(images, test, 1, np.random.default_rng(SEED))[: len(chosen)]
    with progress("training a reader", MEMBERS) as bar:
        reader = DigitReader(_intensities(train), train.labels, SEED, bar.advance)

    def read(images: np.ndarray) -> Readings:
        labels, probabilities = reader.read(images)
        return Readings(labels[:, None], probabilities[:, None], probabilities >= CONFIDENT)

    return read(samples[:, 0]), read(images[chosen]), read(torn), test.labels[chosen][:, None]


def _read_pairs(
    samples: np.ndarray, train: Pictures, test: Pictures
) -> tuple[Readings, Readings, Readings, np.ndarray]:
    """The same of pairs; labels are sorted, since no digit of a pair is the first."""
    digits, random = test.images[:, 0], np.random.default_rng(SEED)
    torn = _torn(digits, test, 2, random)
    with progress("training a reader", EPOCHS * len(train)) as bar:
        reader = PairReader(train.images[:, 0], train.labels, SEED, bar.advance)

    def read(pictures: np.ndarray) -> Readings:
        found = reader.read(pictures)
        return Readings(np.sort(found.labels, 1), found.probabilities, found.accepted)

    second, places = pair_draws(TWO_DIGIT_TEST, len(test))  # the data set's own test pictures
    chosen = _spread(len(test), len(samples))
    real = paint_pairs(digits[chosen], digits[second[chosen]], places[chosen])
    truth = np.sort(np.stack([test.labels, test.labels[second]], 1)[chosen], 1)
    size, corners = len(torn) // 2, random.integers(PLACES, size=(len(torn), 2, 2))
    both = paint_pairs(torn[:size], torn[size : 2 * size], corners[:size])[: len(chosen)]
    return read(samples[:, 0].astype(np.uint8)), read(real), read(both), truth


def _intensities(digits: Pictures) -> np.ndarray:
    """float32 [n, H, W] in [0, 1]"""
    return digits.images[:, 0].astype(np.float32) / digits.maximum


def _spread(size: int, count: int) -> np.ndarray:
    """``count`` of ``size`` indices, evenly spread; all where there are no more."""
    return np.arange(size) if count >= size else np.arange(count) * size // count


def recognised_sheet(found: Recognisability) -> Rgb:
    """The first hundred samples with what was read in them; red and with its probability where it is not sure."""
    pictures, readings = found.pictures[:SHEET], found.samples
    columns = min(10, len(pictures))
    height, width = pictures.shape[-2:]
    scale = max(2, fitting_scale(columns, -(-len(pictures) // columns), width, height, limit=8))
    tiles = []
    for k, picture in enumerate(pictures):
        tile = to_rgb(picture, scale)
        text = " ".join(map(str, readings.labels[k]))
        if not readings.sure[k]:
            tile[..., 1:] //= 3
            text += f"? {readings.probabilities[k].min():.2f}"
        tiles.append(captioned(tile, text))
    return arrange(tiles, columns, gap_width(scale))
