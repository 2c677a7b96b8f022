"""GIFs, read back with an independent reader (Pillow's)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.drawing import GAP_COLOUR, WRITE_COLOUR, to_rgb
from draw_onnx.runtime.pictures.gif import write_gif, write_images_gif, write_steps_gif


def frames_of(path: Path) -> tuple[list[np.ndarray], list[int]]:
    frames, durations = [], []
    with Image.open(path) as picture:
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")))
            durations.append(picture.info["duration"])
    return frames, durations


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
    """Smooth colours through 253 palette entries: no channel off by more than a few per cent on average."""
    y, x = np.mgrid[0:1:16j, 0:1:16j]
    image = np.stack([x, y, 1 - (x + y) / 2])[None, None]
    write_steps_gif(tmp_path / "x.gif", image, scale=2)
    frames, _ = frames_of(tmp_path / "x.gif")
    error = np.abs(frames[0][1:-1, 1:-1].astype(int) - to_rgb(image[0, 0], 2))
    assert error.mean() < 6


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
