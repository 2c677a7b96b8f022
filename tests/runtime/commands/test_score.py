"""draw-score takes pictures batch by batch: as many as a folder holds, in the memory of a few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Scorer
from draw_onnx.errors import DrawError
from draw_onnx.runtime.commands import score
from draw_onnx.runtime.pictures import drawing, prepare
from draw_onnx.runtime.pictures.attention_gifs import write_score_gif

RNG = np.random.default_rng(6)
COUNT = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures, and a file among them that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(COUNT):
        pixels = RNG.integers(0, 256, (7, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:02}.png")
    (folder / "03a.png").write_text("no picture")
    return folder


def test_pictures_are_read_as_they_are_scored(
    run, fake: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is more kept than the GIF's sixteen pictures."""
    events: list[str] = []
    bars: list[float] = []
    read, run_batch = prepare.prepare_file, Scorer._run

    def prepare_file(*arguments):
        events.append("read")
        return read(*arguments)

    def _run(self, inputs, steps):
        events.append("steps" if steps else "scored")
        return run_batch(self, inputs, steps)

    @contextmanager
    def progress(text: str, total: float) -> Iterator[SimpleNamespace]:
        bars.append(total)
        yield SimpleNamespace(advance=bars.append)

    monkeypatch.setattr(prepare, "prepare_file", prepare_file)
    monkeypatch.setattr(Scorer, "_run", _run)
    monkeypatch.setattr(score, "progress", progress)
    base = ("score", "--onnx", fake / "scorer.onnx", folder, "--threads", 1, "--batch", 4)
    got = run(*base, "--gif", tmp_path / "x.gif")
    assert got.code == 0, got.err
    assert events[:5] == [*["read"] * 4, "scored"]
    assert events.count("scored") == COUNT / 4
    assert events.count("steps") == 4  # of the GIF's sixteen
    assert bars == [COUNT + 1, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("options", [["--batch", 3, "--threads", 3], ["--batch", 1], ["--invert"]])
def test_the_same_as_at_once(run, fake: Path, folder: Path, tmp_path: Path, options: list[object]) -> None:
    """Picture k takes the noise of picture k, whatever was passed over before it."""
    path = tmp_path / "x.npz"
    got = run("score", "--onnx", fake / "scorer.onnx", folder, "--npz", path, "--seed", 3, *options)
    assert got.code == 0, got.err
    assert "03a.png is no picture" in got.err
    assert [line.split()[0] for line in got.out.splitlines()[1:]] == [
        str(folder / f"{k:02}.png") for k in range(COUNT)
    ]
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["images"]
        pixels = np.stack([np.asarray(Image.open(folder / f"{k:02}.png")) for k in range(COUNT)])
        expected = 1 - pixels / np.float32(255) if "--invert" in options else pixels / np.float32(255)
        np.testing.assert_array_equal(images[:, 0], expected)
        scores = Scorer(fake / "scorer.onnx", "cpu")(images, seed=3)
        np.testing.assert_array_equal(arrays["bound"], scores.bound)
        np.testing.assert_array_equal(arrays["reconstruction"], scores.reconstruction)


@pytest.mark.parametrize("output", ["--png", "--gif"])
def test_what_is_too_large_is_said_before_the_work(
    run, fake: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setattr(drawing, "MAX_SIDE", 50)
    got = run("score", "--onnx", fake / "scorer.onnx", folder, output, tmp_path / f"x.{output[2:]}")
    assert (got.code, "more than 50 a side" in got.err) == (1, True), got.err
    assert "03a.png" not in got.err  # nothing was read


def test_the_gif_shows_the_steps_of_the_scores(run, fake: Path, folder: Path, tmp_path: Path) -> None:
    paths = [folder / f"{k:02}.png" for k in range(3)]
    gif, npz = tmp_path / "x.gif", tmp_path / "x.npz"
    got = run("score", "--onnx", fake / "scorer.onnx", *paths, "--gif", gif, "--npz", npz, "--seed", 3)
    assert got.code == 0, got.err
    with np.load(npz) as arrays:
        images = arrays["images"]
    scorer = Scorer(fake / "scorer.onnx", "cpu")
    steps, metadata = scorer(images, seed=3), scorer.metadata
    assert steps.canvases is not None
    assert metadata.read_size != metadata.write_size
    windows = steps.read_attention, steps.write_attention
    sizes = metadata.read_size, metadata.write_size
    write_score_gif(
        tmp_path / "y.gif", images, steps.canvases, *windows, *sizes, steps.bound.tolist(), fps=10
    )
    assert gif.read_bytes() == (tmp_path / "y.gif").read_bytes()


def test_the_gif_has_sixteen_pictures_whatever_else_is_drawn(
    run, fake: Path, folder: Path, tmp_path: Path
) -> None:
    gifs = [tmp_path / "alone.gif", tmp_path / "beside.gif"]
    for gif, more in zip(gifs, ([], ["--png", tmp_path / "x.png"]), strict=True):
        got = run("score", "--onnx", fake / "scorer.onnx", folder, "--gif", gif, "--scale", 2, *more)
        assert (got.code, f"{gif} shows the first 16 of 20 pictures" in got.err) == (0, True), got.err
    assert gifs[0].read_bytes() == gifs[1].read_bytes()


def test_a_stream_is_numbered(fake: Path) -> None:
    scorer = Scorer(fake / "scorer.onnx", "cpu", threads=2)
    images = RNG.random((7, *scorer.metadata.image_shape)).astype(np.float32)
    whole = scorer(images, seed=2, start=5)
    parts = list(scorer.stream((images[a:b] for a, b in ((0, 2), (2, 6), (6, 7))), 2, 5, steps=False))
    assert [len(part) for part in parts] == [2, 4, 1]
    np.testing.assert_array_equal(np.concatenate([part.bound for part in parts]), whole.bound)
    assert parts[0].canvases is None


def test_a_stream_checks_what_it_is_given(fake: Path) -> None:
    """Bytes are divided by 255, as the call does, and count as pictures whatever shape they come in."""
    scorer = Scorer(fake / "scorer.onnx", "cpu", threads=2)
    _, height, width = scorer.metadata.image_shape
    images = RNG.integers(0, 256, (6, height, width), dtype=np.uint8)
    parts = scorer.stream([images[:2], images[2:, None]], 2, 5, steps=False)
    got = np.concatenate([part.bound for part in parts])
    np.testing.assert_array_equal(got, scorer(images, seed=2, start=5).bound)
    parts = scorer.stream([images / 255, images.astype(np.float32)])
    assert len(next(parts)) == 6
    with pytest.raises(DrawError, match="from 0 to 1"):
        next(parts)
