"""Scorer and draw-score on the fake models, whose bound is sum (x - reconstruction)^2 + sum noise^2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx import Scorer
from draw_onnx.errors import DrawError
from draw_onnx.runtime.metadata import Metadata
from draw_onnx.runtime.noise import noise
from draw_onnx.runtime.onnx_file import parse
from draw_onnx.runtime.pictures import drawing

from ..onnx_bytes import with_metadata

RNG = np.random.default_rng(4)


@pytest.fixture(scope="module", params=["scorer", "scorer-colour", "scorer-no-attention", "scorer-lean"])
def scorer(request: pytest.FixtureRequest, fake: Path) -> Scorer:
    return Scorer(fake / f"{request.param}.onnx", "cpu", threads=2)


def test_the_fake_equation(scorer: Scorer) -> None:
    """Also: picture k takes the noise of picture start + k."""
    m = scorer.metadata
    images = RNG.random((7, *m.image_shape)).astype(np.float32)
    got = scorer(images, seed=5, start=9)
    eps = noise(5, 9, 7, m.time_steps, m.latent_size).astype(np.float64)
    expected = ((images - got.reconstruction.astype(np.float64)) ** 2).sum((1, 2, 3)) + (eps**2).sum((1, 2))
    np.testing.assert_allclose(got.bound, expected, rtol=1e-5)
    assert (got.canvases is not None) == scorer.has_steps
    assert (got.read_attention is not None) == (m.attention and scorer.has_steps)
    assert (got.write_attention is not None) == (m.attention and scorer.has_steps)


def test_neither_batch_nor_range_changes_a_bit(scorer: Scorer) -> None:
    images = RNG.random((9, *scorer.metadata.image_shape)).astype(np.float32)
    whole = scorer(images, seed=2)
    for batch in (1, 2, 5, 9):
        assert np.array_equal(scorer(images, seed=2, batch=batch).bound, whole.bound)
    assert np.array_equal(scorer(images[4:6], seed=2, start=4).bound, whole.bound[4:6])


def test_bad_arguments(scorer: Scorer) -> None:
    images = np.zeros((2, *scorer.metadata.image_shape))
    with pytest.raises(DrawError, match="seed"):
        scorer(images, seed=-1)
    with pytest.raises(DrawError, match="past"):
        scorer(images, start=2**64 - 1)
    with pytest.raises(DrawError, match="must have shape"):
        scorer(images[..., 1:])
    with pytest.raises(DrawError, match="from 0 to 1"):
        scorer(images + 2.0)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"x{k}.png" for k in range(3)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (7, 6), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("name", ["scorer", "scorer-colour", "scorer-no-attention"])
def test_all_outputs(run, fake: Path, tmp_path: Path, pictures: list[Path], name: str) -> None:
    out = {suffix: tmp_path / f"out.{suffix}" for suffix in ("gif", "png", "npz")}
    options = [text for suffix, path in out.items() for text in (f"--{suffix}", path)]
    got = run("score", "--onnx", fake / f"{name}.onnx", *pictures, *options, "--seed", 3, "--json")
    assert got.code == 0, got.err
    rows = json.loads(got.out)
    scorer = Scorer(fake / f"{name}.onnx", "cpu")
    with np.load(out["npz"], allow_pickle=False) as arrays:
        expected = scorer(arrays["images"], seed=3)
        np.testing.assert_array_equal(arrays["bound"], expected.bound)
        np.testing.assert_array_equal(arrays["reconstruction"], expected.reconstruction)
    np.testing.assert_allclose([row["bound"] for row in rows], expected.bound)
    size = np.prod(scorer.metadata.image_shape)
    np.testing.assert_allclose([row["bound_per_value"] for row in rows], expected.bound / size)
    with Image.open(out["gif"]) as picture:
        assert getattr(picture, "n_frames", 1) == 3 + 1


def test_binarising(run, fake: Path, tmp_path: Path, pictures: list[Path]) -> None:
    """As the file says, unless told otherwise; and it says so."""
    mnist = tmp_path / "mnist.onnx"
    mnist.write_bytes(with_metadata((fake / "scorer.onnx").read_bytes(), {"binary": "true"}))

    def images(*arguments: object) -> tuple[np.ndarray, str]:
        got = run("score", *arguments, pictures[0], "--npz", tmp_path / "x.npz")
        assert got.code == 0, got.err
        with np.load(tmp_path / "x.npz") as arrays:
            return arrays["images"], got.err

    grey, said = images("--onnx", fake / "scorer.onnx")
    assert ((grey > 0) & (grey < 1)).any()
    assert "one half" not in said
    binary, said = images("--onnx", mnist)
    assert np.array_equal(binary, grey >= 0.5)
    assert "--no-binarise" in said
    assert np.array_equal(images("--onnx", mnist, "--no-binarise")[0], grey)
    assert np.array_equal(images("--onnx", fake / "scorer.onnx", "--binarise")[0], binary)


def test_whether_its_pictures_are_binary_is_what_the_file_says(fake: Path) -> None:
    for changes, binary in (
        ({"dataset": "mnist", "binary": "false"}, False),
        ({"dataset": "svhn", "binary": "true"}, True),
        ({"dataset": "mnist", "binary": None}, None),
    ):
        data = with_metadata((fake / "scorer.onnx").read_bytes(), changes)
        metadata = Metadata.from_props(parse(data).metadata)
        assert metadata.binary is binary
        assert metadata.to_props().get("binary") == changes["binary"]


@pytest.mark.parametrize("kind", [bool, np.float32, np.int64])
def test_pictures_of_0_and_1_are_no_levels(fake: Path, kind: type) -> None:
    """uint8 is divided by 255: what a model of binary pictures gets of 0 and 1 would be black."""
    data = with_metadata((fake / "scorer.onnx").read_bytes(), {"binary": "true"})
    scorer = Scorer(data)
    images = np.random.default_rng(0).integers(0, 2, (3, *scorer.metadata.image_shape))
    assert np.array_equal(scorer(images.astype(kind)).bound, scorer(images * np.float32(1)).bound)
    assert np.array_equal(scorer(images.astype(np.uint8) * 255).bound, scorer(images * np.float32(1)).bound)
    with pytest.raises(DrawError, match="give pictures of 0 and 1 as bool or float"):
        scorer(images.astype(np.uint8))


def test_the_file_says_how_pictures_fill_the_frame(run, fake: Path, tmp_path: Path) -> None:
    """Photographs (cover) are enlarged to the frame as in training; other models (pad) leave a black border."""
    Image.fromarray(np.full((3, 3, 3), 200, np.uint8)).save(tmp_path / "small.png")

    def dark(name: str, *arguments: str) -> bool:
        file = tmp_path / "x.npz"
        got = run("score", "--onnx", fake / f"{name}.onnx", tmp_path / "small.png", "--npz", file, *arguments)
        assert got.code == 0, got.err
        with np.load(file) as arrays:
            return bool((arrays["images"] == 0).any())

    assert not dark("scorer-colour")
    assert dark("scorer-colour", "--pad")
    assert dark("scorer")
    assert not dark("scorer", "--cover")


def test_bad_input(
    run, fake: Path, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("score", *pictures).code == 2  # no model
    (tmp_path / "text.png").write_text("no picture")
    got = run("score", "--onnx", fake / "scorer.onnx", tmp_path / "text.png", "--png", tmp_path / "out.png")
    assert got.code == 1
    assert len(got.err.strip().splitlines()) == 1
    assert not (tmp_path / "out.png").exists()
    got = run("score", "--onnx", fake / "classifier.onnx", *pictures)
    assert "use draw-classify" in got.err
    got = run("score", "--onnx", fake / "scorer.onnx", *pictures, "--fps", "4", "--png", tmp_path / "out.png")
    assert (got.code, "--fps is for --gif" in got.err) == (2, True)
    monkeypatch.setattr(drawing, "MAX_SIDE", 1000)
    got = run(
        "score", "--onnx", fake / "scorer.onnx", *pictures, "--png", tmp_path / "out.png", "--scale", "64"
    )
    assert (got.code, "more than 1000 a side" in got.err, "pictures in" in got.err) == (1, True, False)
    got = run("score", "--onnx", fake / "scorer-lean.onnx", *pictures, "--gif", tmp_path / "x.gif")
    assert got.code == 1
    assert "--outputs steps" in got.err


def test_a_folder_with_a_bad_file_goes_on_without_it(
    run, fake: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    whole = json.loads(run("score", "--onnx", fake / "scorer.onnx", pictures[0], pictures[2], "--json").out)
    pictures[1].write_text("no picture")
    got = run("score", "--onnx", fake / "scorer.onnx", tmp_path, "--json")
    assert got.code == 0
    assert "skipped: " in got.err
    assert json.loads(got.out) == whole
    for path in (pictures[0], pictures[2]):
        path.write_text("no picture")
    got = run("score", "--onnx", fake / "scorer.onnx", tmp_path)
    assert got.code == 1
    assert "none of the pictures could be read" in got.err
