"""Exported graphs against the golden vectors, computed independently in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from draw_onnx.export import ExportOptions, build

# The golden README's tolerance for float32.
TOLERANCE: dict[str, Any] = dict(rtol=1e-4, atol=1e-5)
DRAW_MODELS = range(6)
CLASSIFIERS = range(4)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def rows(windows: np.ndarray) -> np.ndarray:
    """Golden (g_X, g_Y, sigma^2, delta, gamma) as the graphs give them: (x, y, delta, sigma, gamma)."""
    x, y, sigma2, delta, gamma = np.moveaxis(windows, -1, 0)
    return np.stack([x, y, delta, np.sqrt(sigma2), gamma], -1)


@pytest.mark.parametrize("recurrence", ["unrolled", "lstm"])
@pytest.mark.parametrize("outputs", ["steps", "image"])
@pytest.mark.parametrize("index", DRAW_MODELS)
def test_decoder(golden_draw_models, run_file, index, outputs, recurrence):
    model = golden_draw_models[index]
    got = run_file(
        build(model.checkpoint(), ExportOptions(outputs=outputs, recurrence=recurrence)),
        noise=model.arrays["gen_z"],
    )
    np.testing.assert_allclose(got["image"], model.arrays["expect_gen_probability"], **TOLERANCE)
    if outputs == "image":
        assert set(got) == {"image"}
        return
    np.testing.assert_allclose(got["canvases"], sigmoid(model.arrays["expect_gen_canvas"]), **TOLERANCE)
    np.testing.assert_array_equal(got["canvases"][:, -1], got["image"])
    assert ("write_attention" in got) == bool(model.arrays["attention"])
    if model.arrays["attention"]:
        expected = rows(model.arrays["expect_gen_write_window"])
        np.testing.assert_allclose(got["write_attention"], expected, **TOLERANCE)


@pytest.mark.parametrize("outputs", ["steps", "image"])
@pytest.mark.parametrize("index", DRAW_MODELS)
def test_scorer(golden_draw_models, run_file, index, outputs):
    model = golden_draw_models[index]
    data = build(model.checkpoint(), ExportOptions(graph="scorer", outputs=outputs))
    got = run_file(data, image=model.arrays["x"], noise=model.arrays["eps"])
    np.testing.assert_allclose(got["bound"], model.arrays["expect_total"], **TOLERANCE)
    canvases = sigmoid(model.arrays["expect_canvas"])
    np.testing.assert_allclose(got["reconstruction"], canvases[:, -1], **TOLERANCE)
    if outputs == "image":
        assert set(got) == {"bound", "reconstruction"}
        return
    np.testing.assert_allclose(got["canvases"], canvases, **TOLERANCE)
    np.testing.assert_array_equal(got["canvases"][:, -1], got["reconstruction"])
    for name in ("read", "write"):
        assert (f"{name}_attention" in got) == bool(model.arrays["attention"])
        if model.arrays["attention"]:
            expected = rows(model.arrays[f"expect_{name}_window"])
            np.testing.assert_allclose(got[f"{name}_attention"], expected, **TOLERANCE)


@pytest.mark.parametrize("outputs", ["steps", "image"])
@pytest.mark.parametrize("index", CLASSIFIERS)
def test_classifier(golden_classifiers, run_file, index, outputs):
    model = golden_classifiers[index]
    got = run_file(build(model.checkpoint(), ExportOptions(outputs=outputs)), image=model.arrays["x"])
    np.testing.assert_allclose(got["logits"], model.arrays["expect_logits"], **TOLERANCE)
    np.testing.assert_allclose(got["probabilities"], np.exp(model.arrays["expect_log_prob"]), **TOLERANCE)
    if outputs == "image":
        assert set(got) == {"logits", "probabilities"}
        return
    np.testing.assert_allclose(got["glimpses"], model.arrays["expect_glimpse"], **TOLERANCE)
    np.testing.assert_allclose(got["read_attention"], rows(model.arrays["expect_window"]), **TOLERANCE)
