"""Bulk work with Ray on a cluster of this machine: the same answers as one process, and nothing lost with a worker."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Classifier, Sampler
from draw_onnx.pretrained import find_packaged

pytestmark = pytest.mark.examples

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "ray" / "bulk.py"


@pytest.fixture(scope="module")
def bulk() -> Iterator[Any]:
    """bulk.py as a module, connected to a cluster of three places."""
    if importlib.util.find_spec("ray") is None:
        if "ray" in os.environ.get("DRAW_REQUIRE", "").split(","):
            pytest.fail("ray is not installed")
        pytest.skip("ray is not installed")
    import ray  # pyright: ignore[reportMissingImports]
    from ray import cloudpickle  # pyright: ignore[reportMissingImports]

    spec = importlib.util.spec_from_file_location("bulk", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bulk"] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)  # workers cannot import a file that is on no path
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        module.connect(2)
        yield module
        ray.shutdown()
        del sys.modules["bulk"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred pictures in a folder, two of them damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for k in range(300):
        size = (int(rng.integers(5, 60)), int(rng.integers(5, 60)))
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{k:03}.png")
    (folder / "007.png").write_bytes(b"no picture")
    (folder / "250.png").write_bytes((folder / "250.png").read_bytes()[:60])
    return folder


def compare(rows: list[dict[str, Any]], model: Path, pictures: Path) -> None:
    """Each picture once, with the answer of one process; the damaged ones with a line each."""
    names = [Path(row["path"]).name for row in rows]
    assert sorted(names) == [f"{k:03}.png" for k in range(300)]
    classifier = Classifier(model, "cpu")
    bad = {name: row["error"] for name, row in zip(names, rows, strict=True) if row["error"]}
    assert set(bad) == {"007.png", "250.png"}
    for name, error in bad.items():
        assert name in error
        assert "\n" not in error
    good = {name: row for name, row in zip(names, rows, strict=True) if not row["error"]}
    images = [classifier.prepare(pictures / name).image for name in good]
    expected = classifier(np.stack(images), steps=False)
    assert [row["answer"] for row in good.values()] == expected.answers
    got = np.array([row["probability"] for row in good.values()], np.float32)
    np.testing.assert_array_equal(got, expected.probabilities.max(1))


def test_blocks_in_any_order(bulk, fake: Path) -> None:
    """Ray joins blocks as they are done: numbers of a batch need not follow one another."""
    model = fake / "decoder.onnx"
    numbers = np.array([7, 8, 9, 2, 3, 2**63, 0], np.uint64)
    got = bulk.Draw(model.read_bytes(), 5, 1.0)({"number": numbers})
    assert got["number"].tolist() == numbers.tolist()
    sampler = Sampler(model, "cpu")
    for number, image in zip(numbers.tolist(), got["image"], strict=True):
        assert np.array_equal(image, sampler.sample(1, 5, number, steps=False).images[0])


@pytest.mark.parametrize(
    ("name", "actors"), [("classifier", 1), ("classifier", 2), ("classifier-figures", 2)]
)
def test_a_folder(bulk, fake: Path, pictures: Path, name: str, actors: int) -> None:
    """Also for a model of figures, whose pictures of ink are cropped and made light on dark first."""
    model = fake / f"{name}.onnx"
    compare(bulk.classify([str(pictures)], model.read_bytes(), actors).take_all(), model, pictures)


def test_parquet(bulk, fake: Path, pictures: Path, tmp_path: Path) -> None:
    """A column of {bytes, path}, as data-set hubs write it."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    rows = [{"bytes": p.read_bytes(), "path": p.name} for p in sorted(pictures.iterdir())]
    for k in range(3):
        pq.write_table(pa.table({"image": rows[100 * k : 100 * k + 100]}), tmp_path / f"{k}.parquet")
    model = fake / "classifier.onnx"
    compare(bulk.classify([str(tmp_path)], model.read_bytes(), 2).take_all(), model, pictures)


@pytest.mark.parametrize("kind", ["bytes", "bytes and paths", "dictionaries", "some paths"])
def test_every_row_says_which_picture_it_is(
    bulk, fake: Path, pictures: Path, tmp_path: Path, kind: str
) -> None:
    """Also where the file has no path, or None: by its row, however the file is cut up."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    files = sorted(pictures.iterdir())
    paths = {
        "bytes and paths": [p.name for p in files],
        "some paths": [p.name if k % 2 else None for k, p in enumerate(files)],
    }.get(kind, [None] * len(files))
    content = [p.read_bytes() for p in files]
    columns: dict[str, Any] = {"image": content, "path": paths}
    if kind == "bytes":
        del columns["path"]
    elif kind != "bytes and paths":
        columns = {"image": [{"bytes": b, "path": p} for b, p in zip(content, paths, strict=True)]}
    for k, size in enumerate((40, 200)):
        part = {name: values[150 * k : 150 * k + 150] for name, values in columns.items()}
        pq.write_table(pa.table(part), tmp_path / f"{k}.parquet", row_group_size=size)
    (tmp_path / "README.md").write_text("A card, as hubs have it.")
    model = fake / "classifier.onnx"
    rows = bulk.classify([str(tmp_path)], model.read_bytes(), 2).take_all()
    expected = [p or f"{tmp_path}/{k // 150}.parquet row {k % 150}" for k, p in enumerate(paths)]
    assert sorted(row["path"] for row in rows) == sorted(expected)
    bad = {row["path"]: row["error"] for row in rows if row["error"]}
    assert sorted(bad) == sorted([expected[7], expected[250]])
    assert all(path in error for path, error in bad.items())
    classifier = Classifier(model, "cpu")
    good = [k for k in range(300) if k not in (7, 250)]
    images = np.stack([classifier.prepare(files[k]).image for k in good])
    answers = dict(zip([expected[k] for k in good], classifier(images, steps=False).answers, strict=True))
    assert {row["path"]: row["answer"] for row in rows if not row["error"]} == answers


def test_dark_ink(bulk, fake: Path, tmp_path: Path) -> None:
    """As draw-classify --ink has it."""
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((20, 24), 200, np.uint8)).save(path)
    model = fake / "classifier.onnx"
    classifier = Classifier(model, "cpu")
    for ink in ("auto", "light", "dark"):
        (row,) = bulk.classify([str(path)], model.read_bytes(), 1, ink).take_all()
        (expected,) = classifier(classifier.prepare(path, ink).image[None], steps=False).probabilities
        assert row["probability"] == expected.max(), ink


def test_a_range_of_a_seed(bulk, fake: Path) -> None:
    """The same bits as one process, up to the last number there is."""
    model = fake / "decoder.onnx"
    start, count = 2**64 - 1000, 1000
    rows = bulk.sample(model.read_bytes(), 7, start, count, 2).take_all()
    rows.sort(key=lambda row: row["number"])
    assert [row["number"] for row in rows] == list(range(start, start + count))
    got = np.stack([row["image"] for row in rows])
    np.testing.assert_array_equal(got, Sampler(model, "cpu").sample(count, 7, start, steps=False).images)
    (row,) = bulk.sample(model.read_bytes(), 7, 3, 1, 1, 0.5).take_all()
    np.testing.assert_array_equal(
        row["image"], Sampler(model, "cpu").sample(1, 7, 3, temperature=0.5).images[0]
    )


def workers(name: str) -> list[int]:
    """Processes of this cluster that are running a batch."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[pid] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (ValueError, OSError):
            continue

    def ours(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 0)
        return pid == os.getpid()

    return [pid for pid, title in titles.items() if f"({name})).submit" in title and ours(pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_a_killed_worker_loses_nothing(bulk) -> None:
    """kill -9 in the middle of a batch: every picture is there all the same, and it is the right one."""
    model = find_packaged("mnist", ".onnx", "model")
    count = 3000
    got: list[dict[str, Any]] = []
    job = threading.Thread(
        target=lambda: got.extend(bulk.sample(model.read_bytes(), 3, 0, count, 2).take_all())
    )
    job.start()
    killed = 0
    end = time.monotonic() + 120
    while job.is_alive() and not killed and time.monotonic() < end:
        for pid in workers("Draw")[:1]:
            os.kill(pid, signal.SIGKILL)
            killed = pid
        time.sleep(0.01)
    job.join(timeout=240)
    assert not job.is_alive()
    assert killed
    got.sort(key=lambda row: row["number"])
    assert [row["number"] for row in got] == list(range(count))
    expected = Sampler("mnist", "cpu").sample(count, 3, steps=False).images
    np.testing.assert_array_equal(np.stack([row["image"] for row in got]), expected)


def test_what_no_stream_has(bulk, fake: Path, tmp_path: Path) -> None:
    """Said before a cluster starts."""
    for option, value, words in (
        ("--seed", -1, "the seed must be between 0 and 2^64 - 1"),
        ("--start", 2**64 - 4, "pictures are numbered up to 2^64 - 1"),
        ("--temperature", 10.5, "the temperature must be between 0 and 10"),
        ("--actors", 0, "--actors and -n must be at least 1"),
    ):
        command = [sys.executable, PROGRAM, "sample", "--onnx", fake / "decoder.onnx", "-n", 5]
        command += ["--out", tmp_path / "o", option, value]
        got = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
        assert got.returncode == (2 if option == "--actors" else 1)
        assert got.stderr.splitlines()[-1].startswith("bulk.py: error: ")
        assert words in got.stderr
    assert not (tmp_path / "o").exists()


def test_mistakes_are_one_line(bulk, fake: Path, tmp_path: Path) -> None:
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"label": [1]}), tmp_path / "labels.parquet")
    pictures = ("classify", "--onnx", fake / "classifier.onnx", "--out", tmp_path / "o")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "earlier.parquet").touch()
    for arguments, words in (
        (("classify", "--onnx", fake / "decoder.onnx", "--out", tmp_path / "o", tmp_path), "use draw-gen"),
        (("sample", "--onnx", "nothing", "-n", 5, "--out", tmp_path / "o"), "no model nothing"),
        (("sample", "--onnx", "mnist", "-n", 5, "--out", tmp_path / "full"), "the folder is not empty"),
        ((*pictures, tmp_path / "text.parquet"), "text.parquet"),
        ((*pictures, tmp_path / "labels.parquet"), "labels.parquet has no column image"),
    ):
        command = [sys.executable, PROGRAM, *arguments]
        got = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
        assert (got.returncode, got.stderr.count("\n")) == (1, 1), got.stderr
        assert words in got.stderr
    assert not (tmp_path / "o").exists()
