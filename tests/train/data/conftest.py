"""Small data sets in the official formats, written here from the formats' definitions."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from draw_onnx.train.data import prepared


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepared arrays go to a folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(prepared, "cache_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there: a download of what is missing fails at once."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


WriteMnist = Callable[..., Path]


@pytest.fixture
def write_mnist(tmp_path: Path) -> WriteMnist:
    """Write MNIST's four files: training images (the last sixth validates) and test images, uint8 [n, 28, 28]."""

    def write(train: np.ndarray, test: np.ndarray) -> Path:
        folder = tmp_path / "mnist"
        folder.mkdir()
        for name, images in (("train", train), ("t10k", test)):
            labels = (np.arange(len(images)) % 10).astype(np.uint8)
            (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images), 1))
            (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels), 1))
        return tmp_path

    return write


@contextmanager
def memory_below(megabytes: float) -> Iterator[None]:
    """Fails where Python and NumPy allocate more than that at any one time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


@pytest.fixture
def limited_memory() -> Callable[[float], object]:
    return memory_below


@pytest.fixture(scope="session")
def gzip_bomb() -> bytes:
    """128 MiB of zeros in an eighth of a megabyte."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6) as file:
        for _ in range(16):
            file.write(bytes(8 << 20))
    return buffer.getvalue()
