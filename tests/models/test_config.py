"""Sizes of models: which are none."""

from __future__ import annotations

from typing import Any

import pytest

from draw_onnx.models.config import ClassifierConfig, config_from_dict, config_to_dict


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["cat"]}, "at least two"),
        ({"labels": ["cat", ""]}, "non-empty"),
        ({"labels": ["cat", "dog,bird"]}, "without commas"),  # which part the names in an ONNX file
        ({"attention_bound": float("inf")}, "attention_bound must be 0 or a positive number"),
        ({"position_bound": -1.0}, "position_bound must be 0 or a positive number"),
        ({"position_bound": 0.0}, "both 0 or both positive"),
    ],
)
def test_a_classifier_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    values = config_to_dict(ClassifierConfig(labels=("cat", "dog"), attention_bound=3.0, position_bound=1.0))
    with pytest.raises(ValueError, match=message):
        config_from_dict("classifier", values | changes)
