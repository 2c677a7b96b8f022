"""Sample sheets during training."""

from __future__ import annotations

from pathlib import Path

from ..models.classifier import GlimpseClassifier
from ..models.draw import Draw
from .data.dataset import Dataset


def write_sheet(model: Draw | GlimpseClassifier, dataset: Dataset, folder: Path, iteration: int) -> None:
    """One PNG for the iteration."""
