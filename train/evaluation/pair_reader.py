"""A reader of pictures with two digits: a small convolutional network that is asked at all 33 x 33 places.

It looks at a window of 28 x 28 pixels and says which digit is centred in it, or none. It is trained on real pairs, as
the data set makes them. "None" is the answer for windows beside a digit, and for torn digits: the upper half of one
joined to the lower half of another.

Without the torn ones a network takes what it is shown for digits: a somewhat narrower one, trained so, accepted 55 %
of pictures of two torn digits and 83 % of real ones. This one accepts 5 % and 77 %: real digits often cover one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional

from ..data.torn import torn_digits
from ..data.two_digit import DIGIT, PLACES, SIDE, paint_pairs

NONE = 10  # the class of windows with no digit in the middle
TORN = 0.25  # share of the training pairs' digits
NEAR = 4  # pixels: a window further from every digit has none in its middle; in between nothing is asked
EPOCHS = 3
BATCH = 128
CONFIDENT = 0.9
STRAY_INK = 0.03  # share of a picture's ink outside both digits' windows; 93 % of real pairs have less


@dataclass(frozen=True)
class PairReading:
    """What was read in n pictures."""

    labels: np.ndarray  # int64 [n, 2], the surer digit first
    places: np.ndarray  # int64 [n, 2, 2], row and column of the windows
    probabilities: np.ndarray  # float64 [n, 2]
    stray: np.ndarray  # float64 [n], the share of the ink that lies in neither window

    @property
    def accepted(self) -> np.ndarray:
        """bool [n]: both digits are read with p >= 0.9, and hardly any ink is left over."""
        return (self.probabilities >= CONFIDENT).all(1) & (self.stray <= STRAY_INK)


class PairReader:
    """Reads two digits in pictures uint8 0/1 [n, 60, 60]."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        seed: int = 0,
        advance: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Trains on binarised digits uint8 [n, 28, 28], labels int64 [n]: 100 s on one core for 50,000.

        ``advance`` counts the digits that it has seen, to n times :data:`EPOCHS`.
        """
        random = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):  # the caller's generator is none of our business
            torch.manual_seed(seed)
            self._network = nn.Sequential(
                nn.Conv2d(1, 24, 5, 2),
                nn.ReLU(),
                nn.Conv2d(24, 48, 5, 2),
                nn.ReLU(),
                nn.Conv2d(48, 128, 4),
                nn.ReLU(),
                nn.Conv2d(128, NONE + 1, 1),
            )
        optimizer = torch.optim.Adam(self._network.parameters())
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None
        for _ in range(EPOCHS):
            windows, answers = training_windows(images, labels, random)
            steps = -(-len(answers) // BATCH)
            if schedule is None:  # other epochs differ by a few windows
                schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, (steps + 2) * EPOCHS)
            order = torch.from_numpy(random.permutation(len(answers)))
            for part in order.split(BATCH):
                said = self._network(windows[part].float())[:, :, 0, 0]
                optimizer.zero_grad()
                functional.cross_entropy(said, answers[part]).backward()
                optimizer.step()
                if schedule.last_epoch < schedule.total_steps:
                    schedule.step()
                advance(len(part) * len(images) / len(answers))  # a digit is in several windows

    def read(self, pictures: np.ndarray) -> PairReading:
        """The two likeliest digits of each picture; the second at least five pixels from the first."""
        parts = [self._read(pictures[start : start + 100]) for start in range(0, len(pictures), 100)]
        return PairReading(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _read(self, pictures: np.ndarray) -> tuple[np.ndarray, ...]:
        maps = self._probability_maps(torch.from_numpy(pictures)).numpy()  # [n, 10, 33, 33]
        count = len(maps)
        index = np.arange(count)
        best, answers = maps.max(1), maps.argmax(1)
        left = pictures.copy()
        row = np.arange(PLACES)
        labels, places, probabilities = [], [], []
        for _ in range(2):
            y, x = np.unravel_index(best.reshape(count, -1).argmax(1), (PLACES, PLACES))
            labels.append(answers[index, y, x])
            probabilities.append(best[index, y, x].astype(np.float64))
            places.append(np.stack([y, x], 1))
            near = (abs(row - y[:, None]) <= NEAR)[:, :, None] & (abs(row - x[:, None]) <= NEAR)[:, None, :]
            best = np.where(near, -1.0, best)
            # MNIST's digits fill 20 x 20 of their 28 x 28 pixels, and are centred by mass, not by extent.
            for k in range(count):
                left[k, y[k] + 2 : y[k] + DIGIT - 2, x[k] + 2 : x[k] + DIGIT - 2] = 0
        stray = left.sum((1, 2)) / np.maximum(pictures.sum((1, 2)), 1)
        return np.stack(labels, 1), np.stack(places, 1), np.stack(probabilities, 1), stray

    @torch.no_grad()
    def _probability_maps(self, pictures: Tensor) -> Tensor:
        """Of the ten digits at every place, float32 [n, 10, 33, 33]."""
        # One pass over the whole picture gives every fourth place; sixteen shifted ones give all.
        padded = functional.pad(pictures[:, None].float(), (0, 3, 0, 3))
        maps = torch.zeros(len(pictures), NONE, PLACES, PLACES)
        for dy in range(4):
            for dx in range(4):
                said = self._network(padded[:, :, dy : dy + SIDE, dx : dx + SIDE])
                places = maps[:, :, dy::4, dx::4]
                places[:] = said.softmax(1)[:, :NONE, : places.shape[2], : places.shape[3]]
        return maps


def training_windows(
    images: np.ndarray, labels: np.ndarray, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Windows out of new pairs, one for each digit: uint8 [m, 1, 28, 28], and what is centred in them, int64 [m]."""
    count = len(images)
    torn = torn_digits(images, labels, random)
    first, second = random.permutation(count), random.integers(count, size=count)
    digits, names = np.stack([images[first], images[second]], 1), np.stack([labels[first], labels[second]], 1)
    bad = random.random((count, 2)) < TORN
    digits[bad], names[bad] = torn[random.integers(len(torn), size=int(bad.sum()))], NONE
    corners = random.integers(PLACES, size=(count, 2, 2))
    views = sliding_window_view(paint_pairs(digits[:, 0], digits[:, 1], corners), (DIGIT, DIGIT), axis=(1, 2))
    every = np.arange(count)
    windows, answers = [], []
    for which in (0, 1):  # on a digit, give or take a pixel
        places = _inside(corners[:, which] + random.integers(-1, 2, (count, 2)))
        windows.append(views[every, places[:, 0], places[:, 1]])
        answers.append(names[:, which])
    beside = corners[every, random.integers(2, size=count)] + random.integers(-9, 10, (count, 2))
    for places in (random.integers(PLACES, size=(count, 2)), _inside(beside)):
        empty = abs(places[:, None] - corners).max(2).min(1) >= NEAR
        windows.append(views[every[empty], places[empty, 0], places[empty, 1]])
        answers.append(np.full(int(empty.sum()), NONE))
    return torch.from_numpy(np.concatenate(windows)[:, None]), torch.from_numpy(np.concatenate(answers))


def _inside(places: np.ndarray) -> np.ndarray:
    return places.clip(0, PLACES - 1)
