"""Pictures of every kind become what the model reads, by the stated rule; bad ones are one line."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures import reading as reading_module
from draw_onnx.runtime.pictures.reading import (
    check_images,
    fit,
    open_picture,
    read_picture,
)

from ...damage import changed, cut
from .picture_files import save

RNG = np.random.default_rng(0)
REC601 = np.array([0.299, 0.587, 0.114])
GREY = (1, 8, 10)  # the model's picture in most tests: 8 rows, 10 columns
SMALL = RNG.integers(0, 256, (4, 6), dtype=np.uint8)  # placed at rows 2-5, columns 2-7
COLOUR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)


def middle(picture: np.ndarray) -> np.ndarray:
    """The part that a 4 x 6 picture fills; all around it must be black."""
    inside = picture[:, 2:6, 2:8]
    assert picture.sum() == pytest.approx(inside.sum())
    return inside


def test_grey_is_centred_and_never_enlarged(tmp_path: Path) -> None:
    got = read_picture(save(tmp_path / "x.png", SMALL), GREY)
    assert got.dtype == np.float32
    assert got.shape == GREY
    np.testing.assert_array_equal(middle(got)[0], SMALL / np.float32(255))


def test_what_is_transparent_in_a_deep_picture_is_black(tmp_path: Path) -> None:
    levels = (SMALL.astype(np.uint16) * 257).clip(1)
    levels[0, :3] = levels[3] = 65535
    path = save(tmp_path / "x.png", levels, transparency=65535)
    expected = np.where(levels == 65535, 0, SMALL.clip(1)) / np.float32(255)
    np.testing.assert_allclose(middle(read_picture(path, GREY))[0], expected, atol=1 / 255)
    assert (middle(read_picture(path, GREY))[0][3] == 0).all()
    assert (middle(read_picture(path, GREY, invert=True))[0][3] == 0).all()


def test_pictures_of_several_sizes_are_no_array() -> None:
    with pytest.raises(DrawError, match="one array: pictures of one size"):
        check_images([np.zeros((8, 10)), np.zeros((8, 9))], GREY)


def test_threads_leave_the_process_its_warnings(tmp_path: Path) -> None:
    """Two decoders that overlap, as threads do: the first to come is the first to go."""
    path = save(tmp_path / "x.png", SMALL)
    before = list(warnings.filters)
    one, two = reading_module._decoded(path), reading_module._decoded(path)
    one.__enter__()
    two.__enter__()
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)
    one.__exit__(None, None, None)
    two.__exit__(None, None, None)
    assert warnings.filters == before


def test_grey_for_a_colour_model_and_the_other_way_round(tmp_path: Path) -> None:
    got = read_picture(save(tmp_path / "grey.png", SMALL), (3, 8, 10))
    assert np.array_equal(got[0], got[1])
    assert np.array_equal(got[0], got[2])
    got = read_picture(save(tmp_path / "colour.png", COLOUR), GREY)
    np.testing.assert_allclose(middle(got)[0], COLOUR / 255 @ REC601, atol=1e-6)
    got = read_picture(tmp_path / "colour.png", (3, 8, 10))
    np.testing.assert_allclose(middle(got), COLOUR.transpose(2, 0, 1) / 255, atol=1e-6)


def test_alpha_lies_over_black_also_inverted(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    path = save(tmp_path / "x.png", np.dstack([COLOUR, alpha]))
    expected = (COLOUR / 255 @ REC601) * (alpha / 255)
    np.testing.assert_allclose(middle(read_picture(path, GREY))[0], expected, atol=1e-6)
    inverted = ((255 - COLOUR) / 255 @ REC601) * (alpha / 255)
    np.testing.assert_allclose(middle(read_picture(path, GREY, invert=True))[0], inverted, atol=1e-6)
    path = save(tmp_path / "la.png", np.dstack([SMALL, alpha]))
    np.testing.assert_allclose(middle(read_picture(path, GREY))[0], SMALL / 255 * (alpha / 255), atol=1e-6)


def test_inverting_leaves_the_surroundings_black(tmp_path: Path) -> None:
    got = read_picture(save(tmp_path / "x.png", SMALL), GREY, invert=True)
    np.testing.assert_allclose(middle(got)[0], 1 - SMALL / 255, atol=1e-6)


def test_sixteen_bits(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
    for suffix in ("png", "tif"):
        got = read_picture(save(tmp_path / f"x.{suffix}", deep), GREY)
        np.testing.assert_allclose(middle(got)[0], deep / 65535, atol=1e-6)


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2, 1, 0, 2]] * 4, np.uint8)).convert("L")
    picture = Image.frombytes("P", (6, 4), picture.tobytes())
    picture.putpalette([255, 255, 255, 255, 0, 0, 0, 255, 0] + [0] * 759)
    picture.save(tmp_path / "x.png", transparency=0)
    got = middle(read_picture(tmp_path / "x.png", GREY))[0]
    np.testing.assert_allclose(got, [[0, 0.299, 0.587, 0.299, 0, 0.587]] * 4, atol=1e-6)


def test_one_bit_and_other_modes(tmp_path: Path) -> None:
    bits = (SMALL > 127).astype(np.uint8) * 255
    got = read_picture(save(tmp_path / "x.png", bits, "1"), GREY)
    np.testing.assert_array_equal(middle(got)[0], bits / 255)
    got = read_picture(save(tmp_path / "x.tif", COLOUR, "CMYK"), GREY)
    np.testing.assert_allclose(middle(got)[0], COLOUR / 255 @ REC601, atol=0.01)
    floats = RNG.random((4, 6)).astype(np.float32)
    floats[0, 0] = np.nan
    got = read_picture(save(tmp_path / "f.tif", floats), GREY)
    np.testing.assert_allclose(middle(got)[0], np.nan_to_num(floats), atol=1e-6)


def test_exif_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees counter-clockwise
    Image.fromarray(SMALL[:, :4]).save(tmp_path / "x.png", exif=exif)
    got = read_picture(tmp_path / "x.png", (1, 4, 4))
    np.testing.assert_allclose(got[0], np.rot90(SMALL[:, :4], -1) / 255, atol=1e-6)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (255, 0)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert (middle(read_picture(tmp_path / "x.gif", GREY)) == 1).all()


@pytest.mark.parametrize("size", [(11, 8), (100, 100), (500, 20), (3, 900), (1, 5000)])
def test_larger_pictures_shrink_with_their_aspect(tmp_path: Path, size: tuple[int, int]) -> None:
    """A white picture stays white where it lands, and lands with its own aspect."""
    height, width = size
    got = read_picture(save(tmp_path / "x.png", np.full(size, 255, np.uint8)), GREY)
    ys, xs = np.nonzero(got[0])
    factor = min(8 / height, 10 / width)
    assert (np.ptp(ys) + 1, np.ptp(xs) + 1) == (max(1, round(height * factor)), max(1, round(width * factor)))
    np.testing.assert_allclose(got[0][got[0] > 0], 1, atol=1e-6)


def test_shrinking_keeps_the_mean(tmp_path: Path) -> None:
    y, x = np.mgrid[0:1:160j, 0:1:200j]
    levels = (127 + 120 * np.sin(7 * x + 3 * y)).astype(np.uint8)
    got = read_picture(save(tmp_path / "x.png", levels), GREY)
    assert got.mean() == pytest.approx(levels.mean() / 255, abs=0.01)


def write_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (8001, 8000), (100_000, 700), (2**31 - 1, 2**31 - 1)]
)
def test_absurd_sizes_are_refused_from_the_header(tmp_path: Path, width: int, height: int) -> None:
    with pytest.raises(DrawError, match="64 megapixels"):
        read_picture(write_header(tmp_path / "x.png", width, height), GREY)


def test_sixty_four_megapixels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "MAX_PIXELS", 24)
    assert read_picture(save(tmp_path / "x.png", SMALL), GREY).any()
    monkeypatch.setattr(reading_module, "MAX_PIXELS", 23)
    with pytest.raises(DrawError, match=r"6 x 4 pixels, more than"):
        read_picture(tmp_path / "x.png", GREY)


def test_large_pictures_are_averaged_before_they_become_floats(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4000, 3000), (255, 255, 255, 255))
    assert max(reading_module._reduced(picture, GREY).size) <= 2 * 40
    assert reading_module._reduced(picture, (1, 3000, 4000)).size == (4000, 3000)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n" * 50, b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DrawError, match=r"x\.png (is no picture|is damaged)"):
        read_picture(tmp_path / "x.png", GREY)


def test_truncated_missing_and_folder(tmp_path: Path) -> None:
    data = save(tmp_path / "whole.png", RNG.integers(0, 256, (40, 40), dtype=np.uint8)).read_bytes()
    (tmp_path / "x.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DrawError, match=r"x\.png is damaged"):
        read_picture(tmp_path / "x.png", GREY)
    with pytest.raises(DrawError, match="no picture at"):
        read_picture(tmp_path / "nothing.png", GREY)
    with pytest.raises(DrawError, match="is a folder"):
        read_picture(tmp_path, GREY)


def seeds() -> list[bytes]:
    """One small file of each format that Pillow can write here."""
    import io

    out = []
    for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        file = io.BytesIO()
        Image.fromarray(COLOUR).save(file, name)
        out.append(file.getvalue())
    return out


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_pictures_never_surprise(tmp_path: Path, data: st.DataObject) -> None:
    """Changed, cut and grown bytes of every format: a picture or a one-line DrawError."""
    content = changed(data, data.draw(st.sampled_from(seeds())), most=6)
    path = tmp_path / "x.bin"
    path.write_bytes(cut(data, content, len(content) // 2))
    try:
        got = read_picture(path, GREY)
    except DrawError as error:
        assert "\n" not in str(error)
    else:
        assert got.shape == GREY
        assert np.isfinite(got).all()
        assert got.min() >= 0
        assert got.max() <= 1


@settings(max_examples=60)
@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    target=st.sampled_from([1, 3]),
)
def test_fit_always_fits(channels: int, height: int, width: int, target: int) -> None:
    got = fit(np.ones((channels, height, width)), (target, 8, 10))
    assert got.shape == (target, 8, 10)
    factor = min(1, 8 / height, 10 / width)
    np.testing.assert_allclose(
        got.sum(), target * max(1, round(height * factor)) * max(1, round(width * factor)), rtol=1e-5
    )


def test_arrays_through_the_api() -> None:
    whole = RNG.integers(0, 256, (3, 8, 10), dtype=np.uint8)
    assert check_images(whole, GREY).shape == (3, *GREY)
    np.testing.assert_allclose(check_images(whole, GREY)[:, 0], whole / 255, atol=1e-7)
    assert check_images(whole[:, None] > 9, GREY).dtype == np.float32
    for bad in (
        whole[0],
        whole[:0],
        whole.astype(float),
        np.full((1, *GREY), np.nan),
        np.full((1, *GREY), -0.1),
        np.full((1, *GREY), "x"),
    ):
        with pytest.raises(DrawError):
            check_images(bad, GREY)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libtiff's handlers may be out of reach")
def test_a_strange_tiff_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff has a way to stderr of its own."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 9, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "TIFF", compression="tiff_lzw")
    good, choose, refused = buffer.getvalue(), random.Random(1), 0
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(3):
            bad[choose.randrange(len(bad))] = choose.randrange(256)
        (tmp_path / "x.tif").write_bytes(bad)
        try:
            open_picture(tmp_path / "x.tif", 3)
        except DrawError:
            refused += 1
    assert refused > 20
    three = (
        b"\x15\x01\x03\x00\x01\x00\x00\x00\x03"  # samples a pixel: Pillow logs a number that it cannot decode
    )
    assert three in good
    (tmp_path / "x.tif").write_bytes(good.replace(three, three[:-1] + b"\xff"))
    with pytest.raises(DrawError):
        open_picture(tmp_path / "x.tif", 3)
    assert capfd.readouterr().err == ""


def test_a_length_beyond_the_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("L", (40, 30), 200).save(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (0xF000_0000).to_bytes(4, "big")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with contextlib.suppress(DrawError):
            read_picture(path, (1, 28, 28))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_what_is_never_decoded(tmp_path: Path) -> None:
    """A program, which Pillow would hand to an interpreter, and a device."""
    (tmp_path / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    for path, words in ((tmp_path / "x.eps", "is no picture that"), (Path(os.devnull), "a pipe or a device")):
        with pytest.raises(DrawError, match=words):
            read_picture(path, (1, 28, 28))


def test_shrinking_weighs_by_a_triangle() -> None:
    """Twice as wide as the step: of pixels at 1/2, 1/2 and 3/2 from a middle 3/7, 3/7 and 1/7."""
    columns = [fit(np.tile(np.eye(4)[k], (1, 4, 1)), (1, 2, 2))[0, 0] for k in range(2)]
    np.testing.assert_allclose(columns, [[3 / 7, 0], [3 / 7, 1 / 7]], atol=1e-6)
