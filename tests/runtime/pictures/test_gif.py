"""GIFs, read back with an independent reader (Pillow's)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.drawing import GAP_COLOUR, WRITE_COLOUR, to_rgb
from draw_onnx.runtime.pictures.gif import write_gif, write_images_gif, write_steps_gif

from .picture_files import frames_of


def test_greys_are_exact_to_one_level_and_never_dithered(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    canvases = np.stack([ramp, ramp[..., ::-1]], axis=1)
    write_steps_gif(tmp_path / "x.gif", canvases, scale=3)
    frames, _ = frames_of(tmp_path / "x.gif")
    assert len(frames) == 2
    for frame, canvas in zip(frames, canvases[0], strict=True):
        tile = frame[1:-1, 1:-1].astype(int)
        assert np.abs(tile - to_rgb(canvas, 3)).max() <= 1
        # A dithered picture would differ inside the squares that one pixel became.
        assert np.array_equal(tile, tile[::3, ::3].repeat(3, 0).repeat(3, 1))


def test_windows_and_gaps_have_their_exact_colours(tmp_path: Path) -> None:
    windows = np.broadcast_to(np.array([4, 4, 1.5, 0.5, 1.0]), (2, 3, 5))
    for channels in (1, 3):
        noise = np.random.default_rng(0).random((2, 3, channels, 8, 8))
        write_steps_gif(tmp_path / "x.gif", noise, windows, 3, scale=4)
        frames, durations = frames_of(tmp_path / "x.gif")
        assert len(frames) == 4  # three steps, and the finished picture without windows
        for frame in frames[:3]:
            assert (frame == np.array(WRITE_COLOUR)).all(-1).sum() > 50
        assert not (frames[3] == np.array(WRITE_COLOUR)).all(-1).any()
        assert (frames[0][0] == np.array(GAP_COLOUR)).all()
        assert durations == [100, 100, 100, 2000]


def test_colours_stay_near(tmp_path: Path) -> None:
    """Smooth colours through 252 palette entries: no channel off by more than a few per cent on average."""
    y, x = np.mgrid[0:1:16j, 0:1:16j]
    image = np.stack([x, y, 1 - (x + y) / 2])[None, None]
    write_steps_gif(tmp_path / "x.gif", image, scale=2)
    frames, _ = frames_of(tmp_path / "x.gif")
    error = np.abs(frames[0][1:-1, 1:-1].astype(int) - to_rgb(image[0, 0], 2))
    assert error.mean() < 6


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 3]))
def test_what_stays_as_it_is_reads_back_as_it_was(seed: int, channels: int) -> None:
    """A frame holds its changes only: pixels that come, go, stay for some frames or never change at all."""
    generator = np.random.default_rng(seed)
    some = np.array([0, 0, GAP_COLOUR[0], 255])  # black most of all
    steps = some[generator.integers(4, size=(6, channels, 7, 9))]
    for k in range(1, 6):
        stays = generator.random((7, 9)) < generator.choice([0.0, 0.5, 0.9, 1.0])
        steps[k] = np.where(stays, steps[k - 1], steps[k])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.gif"
        write_images_gif(path, (steps[:, None] / 255).astype(np.float32), scale=1)
        frames, durations = frames_of(path)
    # Frames that are all the same are one that stays longer.
    shown = [frame for frame, time in zip(frames, durations, strict=True) for _ in range(time // 100)]
    for k, frame in enumerate(shown[:6]):
        wanted = np.broadcast_to(steps[k].transpose(1, 2, 0), (7, 9, 3))
        assert np.abs(frame[1:-1, 1:-1].astype(int) - wanted).max() <= 1, k


def test_a_still_picture_costs_one_frame(tmp_path: Path) -> None:
    still = np.random.default_rng(0).random((1, 1, 1, 40, 40)).repeat(10, 1)
    moving = still.copy()
    moving[0, :, 0, 20, 20] = np.linspace(0, 1, 10)
    sizes = []
    for canvases in (still[:, :1], moving):
        write_steps_gif(tmp_path / "x.gif", canvases, scale=1)
        sizes.append((tmp_path / "x.gif").stat().st_size)
    assert sizes[1] < 1.2 * sizes[0]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    canvases = np.random.default_rng(1).random((3, 4, 3, 5, 6))
    write_steps_gif(tmp_path / "a.gif", canvases)
    write_steps_gif(tmp_path / "b.gif", canvases)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_loops_for_ever_at_the_speed_asked_for(tmp_path: Path) -> None:
    write_images_gif(
        tmp_path / "x.gif", [np.full((1, 1, 4, 4), v, np.float32) for v in (0.1, 0.5, 0.9)], fps=25, hold=0
    )
    _, durations = frames_of(tmp_path / "x.gif")
    assert durations == [40, 40, 40]
    with Image.open(tmp_path / "x.gif") as picture:
        assert picture.info["loop"] == 0


def test_one_frame_is_a_gif_too(tmp_path: Path) -> None:
    write_steps_gif(tmp_path / "x.gif", np.full((1, 1, 1, 4, 4), 0.5))
    assert len(frames_of(tmp_path / "x.gif")[0]) == 1


def test_a_picture_that_stays_for_longer_than_a_gif_can_say(tmp_path: Path) -> None:
    write_images_gif(
        tmp_path / "x.gif", [np.full((1, 1, 4, 4), v, np.float32) for v in [0.2] * 90 + [0.8]], fps=0.1
    )
    frames, durations = frames_of(tmp_path / "x.gif")
    assert len(frames) == 2
    assert durations == [655_350, 10_000]


@pytest.mark.parametrize("fps", [0, -1, 51, float("nan"), float("inf")])
def test_impossible_speeds(tmp_path: Path, fps: float) -> None:
    with pytest.raises(DrawError, match="frames per second"):
        write_steps_gif(tmp_path / "x.gif", np.zeros((1, 1, 1, 4, 4)), fps=fps)
    assert not list(tmp_path.iterdir())


def test_too_much_for_a_gif(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="too much for a GIF"):
        write_gif(tmp_path / "x.gif", lambda _: np.zeros((4000, 4000, 3), np.uint8), 1000)
    with pytest.raises(DrawError, match="a side"):
        write_steps_gif(tmp_path / "x.gif", np.zeros((1, 2, 1, 100, 100)), scale=200)
    assert not list(tmp_path.iterdir())
