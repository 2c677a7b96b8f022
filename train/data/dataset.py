"""What the trainer sees of a data set: batches of training pictures and fixed evaluation sets."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...errors import DrawError
from ...models.config import ImageSize
from ...runtime.metadata import PAD
from .stream import binarise

_Rows = Tensor | slice


@dataclass(frozen=True)
class Batch:
    """Pictures as a model takes them."""

    images: Tensor  # float32 [k, C, H, W], intensities in [0, 1]
    labels: Tensor | None = None  # int64 [k]


@dataclass(frozen=True)
class Split:
    """Pictures as they are kept: one uint8 tensor on the device, an eighth of float64 and a quarter of float32."""

    images: Tensor  # uint8 [n, C, H, W], 0..maximum
    labels: Tensor | None = None  # int64 [n]
    maximum: int = 255  # the stored value that means intensity 1: 255, 16 (digits) or 1 (binarised)

    def __len__(self) -> int:
        return self.images.shape[0]

    def take(self, indices: Tensor) -> Batch:
        """The pictures at ``indices`` (int64 [k], on the device)."""
        return self._part(indices)._batch()

    def slice(self, start: int, stop: int) -> Batch:
        """Pictures ``start`` to ``stop`` - 1 (fewer at the end of the set)."""
        return self._part(slice(start, stop))._batch()

    def spread(self, count: int) -> Split:
        """``count`` pictures evenly spread over the set: files sorted by class hold no sample at their start.

        The whole set where it has no more.
        """
        if count >= len(self):
            return self
        return self._part(torch.arange(count, device=self.images.device) * len(self) // count)

    def checksum(self) -> int:
        """CRC-32 of the pictures and labels, of 65,536 of them spread evenly where there are more."""
        some = self.spread(1 << 16)
        total = 0
        for tensor in (some.images, some.labels):
            for rows in tensor.split(1 << 12) if tensor is not None else ():
                total = zlib.crc32(rows.cpu().contiguous().numpy().tobytes(), total)
        return total

    def intensities(self, images: Tensor) -> Tensor:
        """Stored values 0..maximum to float32 in [0, 1]."""
        # Division rounds correctly everywhere; a product with the reciprocal would not.
        return images.to(torch.float32).div_(self.maximum)

    def arrays(self) -> Pictures:
        """The same as NumPy arrays."""
        labels = torch.empty(0, dtype=torch.int64) if self.labels is None else self.labels
        return Pictures(self.images.cpu().numpy(), labels.cpu().numpy(), self.maximum)

    def _part(self, part: _Rows) -> Split:
        labels = None if self.labels is None else self.labels[part]
        return replace(self, images=self.images[part], labels=labels)

    def _batch(self) -> Batch:
        return Batch(self.intensities(self.images), self.labels)


@dataclass(frozen=True)
class Pictures:
    """Pictures and their labels as NumPy arrays: what sets are read and made as, before they are kept on a device."""

    images: np.ndarray  # uint8 [n, C, H, W], 0..maximum
    # int64 [n]; [0] where there are none
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    maximum: int = 255
    names: tuple[str, ...] = ()  # of the classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> Pictures:
        labels = self.labels[part] if len(self.labels) else self.labels
        return replace(self, images=self.images[part], labels=labels)

    def on(self, device: torch.device) -> Split:
        # What is not writable, as arrays of a .npz may be, is copied: PyTorch would warn of it.
        arrays = [np.require(array, requirements=["C", "W"]) for array in (self.images, self.labels)]
        images, labels = (torch.from_numpy(array).to(device) for array in arrays)
        return Split(images, labels if len(labels) else None, self.maximum)

    def binarised(self, seed: int) -> Pictures:
        """Each pixel drawn once from the fixed stream of ``seed``."""
        return replace(self, images=binarise(self.images, seed), maximum=1)


DrawBatch = Callable[[Split, Tensor, torch.Generator], Batch]


@dataclass(kw_only=True, eq=False)
class Dataset:
    """Training pictures, what is drawn afresh from them, and fixed evaluation sets, all on one device.

    Attributes:
        name: the name it is loaded by.
        image: size of the pictures that :meth:`batch` and :meth:`evaluation` give.
        train: the pictures as they are stored, of which ``draw`` makes batches: by default they are taken as they are.
        evaluations: what makes each split that :meth:`evaluation` knows, ``"valid"`` and ``"test"`` among them.
            ``"train"`` is there where training pictures are stored (not made afresh each time): what nearest
            neighbours look at.
        binary: whether intensities are 0 and 1 only. If not they are Bernoulli means.
        labels: names of the classes, empty where there are none.
        picture_fit: how pictures of other sizes are made like these: "pad" (shrunk, centred on black) or "cover"
            (resized and cropped to fill the frame).
        figure_size: longer side of the one light figure on black that a picture is read for, in pixels; None where
            there is no such figure, or none of a fixed size.
        balance: how many training pictures the classes have, for who trains; empty where that is known.
        note: what a result has to say about the data, e.g. "first 1,017 test images"; empty when complete.
    """

    name: str
    image: ImageSize
    train: Split
    evaluations: Mapping[str, Callable[[], Split]]
    binary: bool
    labels: tuple[str, ...] = ()
    draw: DrawBatch = lambda train, indices, _: train.take(indices)
    picture_fit: str = PAD
    figure_size: int | None = None
    balance: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise DrawError(f"the data set {self.name} has no training pictures")
        self._made: dict[str, Split] = {}

    @property
    def train_size(self) -> int:
        """Number of training pictures; indices for :meth:`batch` lie below it."""
        return len(self.train)

    @cached_property
    def train_checksum(self) -> int:
        """:meth:`Split.checksum` of the training pictures."""
        return self.train.checksum()

    @cached_property
    def fingerprint(self) -> dict[str, int]:
        """Number and checksum of each part: ``train_size``, ``train_checksum``, ``valid_size`` and so on."""
        found = {"train_size": self.train_size, "train_checksum": self.train_checksum}
        for name in ("valid", "test"):
            split = self.evaluation(name)
            found |= {f"{name}_size": len(split), f"{name}_checksum": split.checksum()}
        return found

    def check_classes(self, labels: tuple[str, ...]) -> None:
        """Raise DrawError unless these are the classes, in this order."""
        if labels != self.labels:
            ours, theirs = (
                ", ".join(names[:4]) + (f", … ({len(names)})" if len(names) > 4 else "")
                for names in (self.labels, labels)
            )
            raise DrawError(f"data set {self.name} has other classes than the model: {ours}, not {theirs}")

    def check_fits(self, wanted: ImageSize) -> None:
        """Raise DrawError unless a model that takes ``wanted`` can be given these pictures."""
        have = self.image
        if have != wanted:
            raise DrawError(
                f"data set {self.name} has {have.channels}×{have.height}×{have.width} pictures, the model takes"
                f" {wanted.channels}×{wanted.height}×{wanted.width}"
            )

    def batch(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """A training batch.

        Args:
            indices: int64 [k] on the device, each below ``train_size``.
            generator: on the data's device. Crops, binarisation and clutter are drawn from it: the same
                state and indices give the same batch.
        """
        return self.draw(self.train, indices, generator)

    def evaluation(self, split: str) -> Split:
        """The whole of a fixed set, always the same; made when first asked for, then kept.

        Raises:
            DrawError: there is no such split, or its file is missing or damaged.
        """
        if split not in self._made:
            if split not in self.evaluations:
                raise DrawError(
                    f"{self.name} has no split {split!r}: choose from {', '.join(self.evaluations)}"
                )
            self._made[split] = self.evaluations[split]()
        return self._made[split]

    def check_labels(self, split: str | None) -> None:
        """Raise DrawError where a picture of a set, None is what is trained on, has no class or one without a name."""
        labels = (self.train if split is None else self.evaluation(split)).labels
        classes, what = len(self.labels), "training set" if split is None else f"split {split!r}"
        if labels is None:
            raise DrawError(f"data set {self.name}: the {what} has no labels")
        if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise DrawError(
                f"data set {self.name}: the {what} has the class number {int(labels.max())}, and there are {classes}"
                f" classes, 0 to {classes - 1}"
            )
