"""Pictures of a test set as files, as draw-score reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_onnx.runtime.pictures.reading import read_picture
from draw_onnx.runtime.pictures.walk import picture_paths
from draw_onnx.train.data.registry import load_dataset


def test_files_hold_the_first_pictures_in_order(
    load_tool: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["write_pictures.py", "digits", str(tmp_path / "out"), "-n", "12"])
    load_tool("write_pictures").main()
    paths = picture_paths([tmp_path / "out"])
    expected = load_dataset("digits", None, "cpu").evaluation("test").slice(0, 12).images.numpy()
    got = np.stack([read_picture(path, (1, 8, 8)) for path in paths])
    np.testing.assert_allclose(got, expected, atol=0.5 / 255 + 1e-6)


def test_none_or_fewer_are_refused(
    load_tool: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-3 would be all but the last three."""
    for count in ("0", "-3"):
        monkeypatch.setattr(sys, "argv", ["write_pictures.py", "digits", str(tmp_path / "out"), "-n", count])
        with pytest.raises(SystemExit, match="2"):
            load_tool("write_pictures").main()
    assert not (tmp_path / "out").exists()
