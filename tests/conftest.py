"""Shared fixtures. Data sets are looked for in $DRAW_DATA, then in ../shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the reference vectors."""
    return GOLDEN


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Root of the real data sets; skips where there is none."""
    for candidate in (os.environ.get("DRAW_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no real data: set DRAW_DATA to the folder that holds mnist/, binarized_mnist/, ...")
