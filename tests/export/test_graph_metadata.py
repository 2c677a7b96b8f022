"""What a file says about its model."""

from __future__ import annotations

import dataclasses

import onnx
import onnx.reference
import pytest

from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, build, terms
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.models.config import DrawConfig
from draw_onnx.pretrained import find_packaged
from draw_onnx.runtime.metadata import CLASSIFIER, NOISE_STREAM, SCORER, Metadata

from .conftest import props


def test_metadata_round_trips(models):
    for name, model in models.items():
        assert Metadata.from_props(props(model)).to_props() == props(model), name


def test_metadata_says_what_the_model_is(models, checkpoints):
    metadata = Metadata.from_props(props(models["colour, steps, scorer"]))
    assert metadata.model_type == SCORER
    assert metadata.image_shape == (3, 7, 10)
    assert (metadata.time_steps, metadata.hidden_size, metadata.latent_size) == (3, 9, 4)
    assert (metadata.read_size, metadata.write_size) == (2, 3)
    assert (metadata.attention, metadata.outputs, metadata.dataset) == (True, "steps", "digits")
    assert metadata.noise_stream == NOISE_STREAM
    assert metadata.parity_atol == "unchecked"
    assert (metadata.model_license, metadata.model_author) == ("", "")  # not stated
    without = Metadata.from_props(props(models["no attention, image"]))
    assert (without.attention, without.write_size, without.outputs) == (False, 0, "image")
    classifier = Metadata.from_props(props(models["classifier, steps"]))
    assert (classifier.model_type, classifier.labels) == (CLASSIFIER, ("cat", "dog"))
    assert (metadata.prior, props(models["prior, steps"])["prior"]) == ("standard", "learned")
    other = build(checkpoints["attention"], ExportOptions(model_license="CC0-1.0", model_author="Ada, Bert"))
    written = props(onnx.load_from_string(other))
    assert (written["model_license"], written["model_author"]) == ("CC0-1.0", "Ada, Bert")


@pytest.mark.parametrize("name", ["mnist", "cluttered-mnist-4"])
def test_packaged_weights_keep_their_licence_and_author(name):
    checkpoint = load_checkpoint(find_packaged(name, ".ckpt", "checkpoint"))

    def written(**options) -> tuple[str, str]:
        file = props(onnx.load_from_string(build(checkpoint, ExportOptions(time_steps=1, **options))))
        return file["model_license"], file["model_author"]

    assert written() == ("MIT", "draw-onnx authors")
    assert written(model_author="Ada") == ("MIT", "Ada")
    assert written(model_license="", model_author="") == ("", "")
    next(iter(checkpoint.weights.values()))[0] += 1e-3  # trained on: somebody else's
    assert written() == ("", "")


@pytest.mark.parametrize(("size", "written"), [(4, "4"), (None, None)])
def test_a_classifier_says_how_large_its_figures_are(golden_classifiers, size, written):
    checkpoint = dataclasses.replace(golden_classifiers[0].checkpoint(), figure_size=size)
    assert props(onnx.load_from_string(build(checkpoint))).get("figure_size") == written


@pytest.mark.parametrize(("fit", "written"), [("pad", None), ("cover", "cover")])
def test_a_classifier_says_how_pictures_become_its_input(golden_classifiers, fit, written):
    checkpoint = dataclasses.replace(golden_classifiers[0].checkpoint(), picture_fit=fit)
    assert props(onnx.load_from_string(build(checkpoint))).get("picture_fit") == written


@pytest.mark.parametrize("fit", ["pad", "cover"])
def test_a_scorer_says_how_pictures_become_its_input(checkpoints, fit):
    checkpoint = dataclasses.replace(checkpoints["attention"], picture_fit=fit)
    written = props(onnx.load_from_string(build(checkpoint, ExportOptions(graph="scorer"))))
    assert written["picture_fit"] == fit


def test_what_no_reader_takes_is_not_written(random_checkpoint):
    checkpoint = random_checkpoint(DrawConfig(2, 5, 6, 2, 4, 2, 2, 2))
    with pytest.raises(DrawError, match="image_channels must be 1 or 3, not 2"):
        build(checkpoint)


@pytest.mark.parametrize(("binary", "written"), [(True, "true"), (False, "false"), (None, None)])
def test_a_scorer_says_whether_its_pictures_are_binary(checkpoints, binary, written):
    """A checkpoint that does not say gives a file that does not: how it is read is decided in one place."""
    checkpoint = dataclasses.replace(checkpoints["attention"], binary=binary)
    assert (
        props(onnx.load_from_string(build(checkpoint, ExportOptions(graph="scorer")))).get("binary")
        == written
    )
    assert "binary" not in props(onnx.load_from_string(build(checkpoint)))


def test_a_packaged_file_that_cannot_be_read_is_no_obstacle(checkpoints, tmp_path, monkeypatch):
    """In somebody's checkout, for instance one without its large files."""
    (tmp_path / "x.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(terms, "packaged_models", lambda _: ["x"])
    monkeypatch.setattr(terms, "find_packaged", lambda *_: tmp_path / "x.onnx")
    assert props(onnx.load_from_string(build(checkpoints["attention"])))["model_license"] == ""
