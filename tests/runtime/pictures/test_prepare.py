"""Pictures of ink as people have them become light figures of the known size on black."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from draw_onnx.runtime.metadata import PictureRule
from draw_onnx.runtime.pictures.figure import connected_parts, find_figure
from draw_onnx.runtime.pictures.ink import cell_means, find_ink, otsu
from draw_onnx.runtime.pictures.prepare import Prepared, prepare, prepare_file
from draw_onnx.runtime.pictures.reading import read_picture

ndimage = pytest.importorskip("scipy.ndimage")  # not among what the runtime installs

SHAPE, SIZE = (1, 100, 100), 20
RULE = PictureRule(SHAPE, SIZE)


def figure(side: int, text: str = "4") -> np.ndarray:
    """Ink [side, side] in [0, 1]: a typed digit, about 0.7 of the side high."""
    picture = Image.new("L", (side, side))
    font = ImageFont.load_default(side)
    ImageDraw.Draw(picture).text((side / 2, side / 2), text, 255, font, anchor="mm")
    return np.asarray(picture, float) / 255


def at(ink: np.ndarray, size: tuple[int, int], top: int, left: int) -> np.ndarray:
    sheet = np.zeros(size)
    sheet[top : top + len(ink), left : left + ink.shape[1]] = ink
    return sheet


def prepared(levels: np.ndarray, alpha: np.ndarray | None = None, ink: str = "auto") -> Prepared:
    """Of levels [h, w] or [3, h, w] in 0..255."""
    planes = np.atleast_3d(levels.T).T if levels.ndim == 2 else levels
    grey = (np.clip(planes + 0.5, 0, 255).astype(np.uint8) / np.float32(255)).astype(np.float32)
    return prepare(grey, None if alpha is None else alpha.astype(np.float32), SHAPE, SIZE, ink)


def box(image: np.ndarray) -> tuple[int, int]:
    """Height and width of the ink."""
    mask = image[0] > 0.5
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


REFERENCE = prepared(255 * at(figure(28), (28, 28), 0, 0)).image[0, 30:70, 30:70]


def likeness(image: np.ndarray) -> float:
    """Correlation with the same digit as the model knows it, at the best place within three pixels."""
    shifts = [image[0, 30 + y : 70 + y, 30 + x : 70 + x] for y in range(-3, 4) for x in range(-3, 4)]
    return max(float(np.corrcoef(shift.ravel(), REFERENCE.ravel())[0, 1]) for shift in shifts)


def uneven(size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.array(size)[:, None, None]
    return 90 + 150 * (0.6 * x + 0.4 * y)


RNG = np.random.default_rng(5)
INK = at(figure(200), (240, 320), 20, 70)
PICTURES = {
    "ink on paper": 250 - 220 * at(figure(28), (28, 28), 0, 0),
    "chalk": 40 + 180 * INK,
    "large": 255 * figure(280),
    "pencil": 235 - 80 * INK + RNG.normal(0, 3, INK.shape),
    "page": 245 - 200 * at(figure(60), (700, 500), 500, 90),
    "uneven light": uneven(INK.shape) * (1 - 0.8 * INK) + RNG.normal(0, 5, INK.shape),
    "uneven light on a board": 0.4 * uneven(INK.shape) * (1 - INK) + 230 * INK,
    "red ink": np.stack([240 - 30 * INK, 240 - 200 * INK, 240 - 200 * INK]),
    "yellow ink": np.stack([255 - 5 * INK, 255 - 35 * INK, 255 - 240 * INK]),
    "blue on red of the same grey": np.stack([200 - 160 * INK, 60 + 45 * INK, 30 + 100 * INK]),
    "at the border": 240 - 200 * figure(200)[20:, 45:],
}
_frame = np.zeros(INK.shape)
_frame[10:230, 20:300] = 1
_frame[14:226, 24:296] = 0
PICTURES["in a drawn box"] = 240 - 200 * np.maximum(_frame, INK)
_desk = np.full(INK.shape, 60.0)
_desk[15:225, 50:290] = 235
PICTURES["card on a desk"] = _desk - 190 * INK


@pytest.mark.parametrize("name", PICTURES)
def test_it_becomes_the_figure_that_the_model_knows(name: str) -> None:
    got = prepared(PICTURES[name])
    assert got.image.shape == SHAPE
    assert got.image.dtype == np.float32
    assert max(box(got.image)) == pytest.approx(SIZE, abs=2)
    assert likeness(got.image) > 0.85, str(got)
    assert got.warning == ""
    assert got.ink == ("light" if name in ("chalk", "large", "uneven light on a board") else "dark")
    assert ("levelled" in got.steps) >= ("uneven" in name)


def test_what_was_done_is_said() -> None:
    assert str(prepared(255 * at(figure(28), (28, 28), 0, 0))) == "as it is"
    assert prepared(PICTURES["ink on paper"]).steps == ("dark ink",)
    steps = prepared(PICTURES["uneven light"]).steps
    assert steps[:3] == ("dark ink", "levelled", "cropped")
    assert steps[3].startswith("scaled from 138 to 20")
    assert prepared(PICTURES["yellow ink"]).steps[0] == "dark ink in blue"
    assert "thickened" in prepared(240 - 200 * INK * (ndimage.gaussian_laplace(INK, 1) < -0.02)).steps


@pytest.mark.parametrize(
    ("colour", "alpha"),
    [(0, figure(28)), (255, figure(200)), (90, figure(60)), (0, figure(200))],
)
def test_alpha_is_ink_where_colours_say_nothing(colour: int, alpha: np.ndarray) -> None:
    got = prepared(np.full(alpha.shape, float(colour)), alpha)
    assert likeness(got.image) > 0.85
    assert got.steps[0] == "ink from alpha"


def test_light_ink_of_the_known_size_on_nothing_is_the_input_already() -> None:
    alpha = figure(28)
    got = prepared(np.full(alpha.shape, 255.0), alpha)
    assert got.steps == ()
    np.testing.assert_allclose(got.image[0, 36:64, 36:64], alpha, atol=1e-6)


def test_colours_count_where_only_corners_are_transparent() -> None:
    card = np.pad(np.ones((200, 300)), ((20, 20), (10, 10)))
    got = prepared((240 - 200 * INK) * card, card)
    assert likeness(got.image) > 0.85
    assert got.steps[0] == "dark ink"


def test_what_shines_through_a_veil_is_the_ground() -> None:
    """Black at an alpha of 40 over white paper is as faint as it looks."""
    planes, alpha = np.full((1, 40, 40), 255.0), np.full((40, 40), 255.0)
    planes[0, 10:30, 18:22] = planes[0, 5:35, 30:36] = 0
    alpha[5:35, 30:36] = 40
    density = find_ink(planes, alpha, "dark").density
    assert density[20, 20] == pytest.approx(1, abs=0.01)
    assert density[20, 33] == pytest.approx(40 / 255, abs=0.01)


@pytest.mark.parametrize(("level", "blank"), [(235, True), (220, False)])
def test_less_than_a_tenth_of_contrast_is_no_ink(level: int, blank: bool) -> None:
    planes = np.full((1, 40, 40), 255.0)
    planes[0, 10:30, 18:22] = level
    assert find_ink(planes, None, "dark").blank == blank


def test_mostly_ink_is_said_before_several_figures() -> None:
    levels = np.ones((1, 40, 40), np.float32)
    levels[0, 1:39, 1:15] = levels[0, 1:39, 25:39] = 0
    assert prepare(levels, None, (1, 28, 28), 20, "dark").warning.startswith("mostly ink: 66%")


def test_forced_ink() -> None:
    light, dark = 255 * at(figure(28), (28, 28), 0, 0), 255 - 255 * at(figure(28), (28, 28), 0, 0)
    np.testing.assert_array_equal(prepared(light, ink="light").image, prepared(light).image)
    np.testing.assert_allclose(prepared(dark, ink="dark").image, prepared(light).image, atol=1e-6)
    assert prepared(light, ink="dark").image.mean() > prepared(light).image.mean()
    assert "mostly ink" in prepared(light, ink="dark").warning


@pytest.mark.parametrize(
    "levels",
    [
        np.zeros((100, 100)),
        np.full((300, 200), 255.0),
        np.full((1, 1), 90.0),
        RNG.normal(120, 8, (200, 300)),
        np.abs(RNG.normal(0, 6, (90, 90))),
    ],
)
def test_blank_pictures_are_named(levels: np.ndarray) -> None:
    assert prepared(levels).warning == "blank: no ink was found"


def test_mostly_ink_and_several_figures_are_named() -> None:
    blot = np.full((200, 200), 30.0)
    blot[:, :8] = blot[:, -8:] = blot[:8] = blot[-8:] = 250
    assert prepared(blot, ink="dark").warning.startswith("mostly ink: 8")
    pair = np.maximum(at(figure(150), (200, 400), 20, 20), at(figure(150, "7"), (200, 400), 20, 220))
    assert prepared(240 - 200 * pair).warning == "several figures, of which one is read"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 2), (3, 700), (700, 3), (101, 1)])
def test_every_size_gives_a_picture(size: tuple[int, int]) -> None:
    for levels in (RNG.integers(0, 256, size), RNG.integers(0, 256, (3, *size))):
        got = prepared(levels.astype(float), RNG.random(size))
        assert got.image.shape == SHAPE
        assert got.image.min() >= 0
        assert got.image.max() <= 1


def scene(seed: int) -> np.ndarray:
    """A digit of the known size among eight pieces, 100 x 100, as in training."""
    rng = np.random.default_rng(seed)
    out = at(figure(28, str(rng.integers(10))), (100, 100), *map(int, rng.integers(0, 73, 2)))
    for _ in range(8):
        y, x, top, left = (int(v) for v in rng.integers(0, [20, 20, 92, 92]))
        out[top : top + 8, left : left + 8] += figure(28, str(rng.integers(10)))[y : y + 8, x : x + 8]
    return 255 * out.clip(0, 1)


def test_scenes_stay_as_they_are() -> None:
    for seed in range(60):
        levels = np.round(scene(seed))
        got = prepared(levels)
        assert got.steps == ()
        np.testing.assert_array_equal(got.image[0], levels.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("times", [2, 3.3])
@pytest.mark.parametrize("ink", ["light", "dark"])
def test_a_larger_scene_is_shrunk_whole(times: float, ink: str) -> None:
    shrunk = 0
    for seed in range(30):
        levels = scene(seed)
        side = round(100 * times)
        large = np.asarray(
            Image.fromarray(levels.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
        )
        got = prepared(large.astype(float) if ink == "light" else 245 - 0.9 * large)
        if "shrunk" in got.steps:
            shrunk += 1
            assert np.corrcoef(got.image.ravel(), levels.ravel())[0, 1] > 0.9
        assert got.ink == ink
    assert shrunk >= 29  # in one of thirty a figure may hide its clutter


def test_a_scene_in_a_wide_margin_is_read_at_its_figure() -> None:
    """Shrunk whole, its figure would be half as large as the model knows it."""
    large = at(scene(3), (200, 200), 50, 50)
    got = prepared(large)
    assert "cropped" in got.steps
    assert max(box(got.image)) == pytest.approx(SIZE, abs=3)


def test_files_are_prepared_like_arrays(tmp_path: Path) -> None:
    levels = np.clip(PICTURES["uneven light"] + 0.5, 0, 255).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(
        prepare_file(tmp_path / "x.png", RULE).image, prepared(levels.astype(float)).image
    )
    deep = (levels.astype(np.uint16) + 1) * 15  # twelve bits of sixteen
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert likeness(prepare_file(tmp_path / "deep.png", RULE).image) > 0.85
    wide = Image.fromarray(levels).resize((3000, 2250))
    for name, picture in {
        "wide.png": wide,
        "deep.tif": Image.fromarray(np.asarray(wide).astype(np.uint16) * 250),
    }.items():
        picture.save(tmp_path / name)
        assert likeness(prepare_file(tmp_path / name, RULE).image) > 0.85
    Image.fromarray(levels).quantize(16).save(tmp_path / "x.gif")
    assert likeness(prepare_file(tmp_path / "x.gif", RULE).image) > 0.85
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x.jpg", exif=exif)
    assert likeness(prepare_file(tmp_path / "x.jpg", RULE).image) > 0.85


def test_a_model_that_knows_no_figures_gets_pictures_as_before(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (150, 120, 3), np.uint8)).save(tmp_path / "x.png")
    for ink, steps in (("auto", ()), ("light", ()), ("dark", ("inverted",))):
        got = prepare_file(tmp_path / "x.png", PictureRule(SHAPE, None), ink)
        np.testing.assert_array_equal(got.image, read_picture(tmp_path / "x.png", SHAPE, ink == "dark"))
        assert got.steps == steps


def test_colour_models_get_three_channels() -> None:
    levels = (PICTURES["large"] / 255).astype(np.float32)[None]
    got = prepare(levels, None, (3, 100, 100), SIZE).image
    assert got.shape == (3, 100, 100)
    np.testing.assert_array_equal(got, np.repeat(prepare(levels, None, SHAPE, SIZE).image, 3, 0))


# --- the parts it is made of


@pytest.mark.parametrize("seed", range(6))
def test_connected_parts_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((37, 53)) < rng.uniform(0.05, 0.6)
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=labels)
    count = int(labels.max())
    got = connected_parts(mask)
    assert len(got) == count
    boxes = ndimage.find_objects(labels)
    order = np.argsort([np.flatnonzero((labels == k + 1).ravel())[0] for k in range(count)])
    for k, part in enumerate(order):
        rows, columns = boxes[part]
        assert (got.top[k], got.bottom[k]) == (rows.start, rows.stop)
        assert (got.left[k], got.right[k]) == (columns.start, columns.stop)
        assert got.area[k] == (labels == part + 1).sum()
        border = np.pad(np.zeros((35, 51)), 1, constant_values=1) * (labels == part + 1)
        assert got.contact[k] == border.sum()


def test_no_ink_has_no_figure() -> None:
    assert find_figure(np.zeros((5, 4), np.bool_)) is None
    assert len(connected_parts(np.zeros((5, 4), np.bool_))) == 0


def test_cells_are_means() -> None:
    values = RNG.random((37, 20))
    got = cell_means(values, 10)
    assert got.shape == (10, 5)
    assert got[0, 0] == pytest.approx(values[:4, :4].mean())
    assert got[9, 4] == pytest.approx(values[36:, 16:].mean())
    assert cell_means(values, 37) is values


def test_otsu_divides_two_heaps() -> None:
    values = np.concatenate([RNG.normal(60, 5, 400), RNG.normal(200, 5, 100)])
    assert 70 < otsu(values) < 190
    assert otsu(np.full(7, 3.0)) == 3.0


def test_noise_is_measured() -> None:
    paper, grain = 240 - 200 * at(figure(100), (300, 300), 50, 50), RNG.normal(0, 1, (300, 300))
    once, twice = (find_ink((paper + strength * grain)[None], None).noise for strength in (3, 6))
    assert 0.3 * 6 / 240 < twice < 6 / 240
    assert twice == pytest.approx(2 * once, rel=0.1)


# --- on real pictures


@pytest.fixture(scope="module")
def cluttered(data_dir: Path) -> np.ndarray:
    """uint8 [10000, 100, 100]: the test set."""
    from draw_onnx.train.data.registry import load_dataset

    return load_dataset("cluttered-mnist", data_dir, "cpu").evaluation("test").images.numpy()[:, 0]


@pytest.mark.parametrize("every", [pytest.param(10), pytest.param(1, marks=pytest.mark.slow)])
def test_the_test_set_does_not_move(cluttered: np.ndarray, every: int) -> None:
    for levels in cluttered[::every]:
        image = levels[None].astype(np.float32) / np.float32(255)
        got = prepare(image, None, SHAPE, SIZE)
        assert got.steps == ()
        assert np.array_equal(got.image, image)
