"""Reading in int8 files: the picture's 256 levels through filters of as many."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch

from draw_onnx.export import ExportOptions, build, parity
from draw_onnx.models.attention import Window, read
from draw_onnx.models.checkpoint import Checkpoint
from draw_onnx.models.config import ClassifierConfig
from draw_onnx.runtime.classifier import Classifier


def pictures(config: ClassifierConfig) -> np.ndarray:
    """Of levels, in many contrasts. [24, C, H, W]"""
    shape = (24, config.image_channels, config.image_height, config.image_width)
    levels = np.random.default_rng(5).integers(0, 256, shape) * np.linspace(0.1, 1, 24).reshape(-1, 1, 1, 1)
    return (levels.round() / 255).astype(np.float32)


@pytest.mark.parametrize("name", ["classifier", "bounded colour classifier", "square"])
def test_a_glimpse_is_what_its_window_shows(checkpoints: dict[str, Checkpoint], name: str) -> None:
    """Within a hundredth of the brightest pixel: a level is a 255th of it."""
    checkpoint = checkpoints["classifier"]
    if name == "square":
        config = dataclasses.replace(checkpoint.config, image_width=11)
        checkpoint = dataclasses.replace(checkpoint, config=config)
    else:
        checkpoint = checkpoints[name]
    config = checkpoint.config
    assert isinstance(config, ClassifierConfig)
    images = pictures(config)
    answers = Classifier(build(checkpoint, ExportOptions(dtype="int8")), "cpu")(images)
    assert answers.read_attention is not None
    assert answers.glimpses is not None
    for t in range(config.time_steps):
        x, y, delta, sigma, gamma = torch.from_numpy(answers.read_attention[:, t]).double().unbind(1)
        window = Window(x, y, sigma**2, delta, gamma)
        seen = read([torch.from_numpy(images).double()], window, config.read_size).numpy()
        error = abs(answers.glimpses[:, t] - seen).max((1, 2, 3)) / (gamma.numpy() * images.max((1, 2, 3)))
        assert error.max() < 0.01
        assert error.max() > 1e-6  # it is in eight bits


def test_only_int8_files_have_levels(checkpoints: dict[str, Checkpoint]) -> None:
    kinds = {ExportOptions(): False, ExportOptions(dtype="fp16"): False, ExportOptions(dtype="int8"): True}
    for options, found in kinds.items():
        model = onnx.load_from_string(build(checkpoints["classifier"], options))
        assert ("MatMulInteger" in {node.op_type for node in model.graph.node}) is found
        assert (
            sum(node.output[0].endswith("/levels") for node in model.graph.node) == found
        )  # once for all glimpses


def test_pictures_beyond_their_range_are_cut_off(checkpoints: dict[str, Checkpoint]) -> None:
    """As levels are: 1.2 is white, -0.2 black. Otherwise 300 would come round to 44."""
    session = parity.open_session(build(checkpoints["classifier"], ExportOptions(dtype="int8")))
    beyond = np.random.default_rng(0).choice(np.array([-0.2, 1.2], np.float32), (5, 1, 11, 8))
    a, b = (session.run(["logits"], {"image": images})[0] for images in (beyond, beyond.clip(0, 1)))
    np.testing.assert_array_equal(a, b)
