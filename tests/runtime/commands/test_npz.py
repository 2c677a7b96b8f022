"""Batches in, one ordinary npz out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from draw_onnx.errors import DrawError
from draw_onnx.runtime.commands.npz import NpzWriter


def test_numpy_reads_what_was_appended(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((7, 2, 3)).astype(np.float32)
    with NpzWriter(tmp_path / "x.npz") as writer:
        for begin in range(0, 7, 3):
            writer.append("rows", rows[begin : begin + 3])
            writer.append("sums", rows[begin : begin + 3].sum((1, 2)))
        writer.put("seed", np.array(2**64 - 1, np.uint64))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as got:
        assert sorted(got.files) == ["rows", "seed", "sums"]
        assert np.array_equal(got["rows"], rows)
        assert np.array_equal(got["sums"], rows.sum((1, 2)))
        assert got["seed"].dtype == np.uint64
        assert int(got["seed"]) == 2**64 - 1


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with NpzWriter(tmp_path / f"{name}.npz") as writer:
            writer.append("x", np.arange(5.0))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.npz").write_bytes(b"old")
    with pytest.raises(RuntimeError), NpzWriter(tmp_path / "old.npz") as writer:  # noqa: PT012
        writer.append("x", np.arange(5.0))
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["old.npz"]
    assert (tmp_path / "old.npz").read_bytes() == b"old"


def test_the_folder_is_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="does not exist"):
        NpzWriter(tmp_path / "nowhere" / "x.npz")


def test_rows_in_another_order_of_memory(tmp_path: Path) -> None:
    rows = np.arange(24.0).reshape(2, 3, 4).transpose(0, 2, 1)
    with NpzWriter(tmp_path / "x.npz") as writer:
        writer.append("rows", rows)
        writer.append("rows", rows[::-1])
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["rows"], np.concatenate([rows, rows[::-1]]))
