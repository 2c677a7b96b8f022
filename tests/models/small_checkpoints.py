"""Checkpoints of a few hundred numbers, one for each kind of model."""

from __future__ import annotations

from typing import Any

import torch

from draw_onnx.models.checkpoint import Checkpoint, build_model
from draw_onnx.models.config import ClassifierConfig, DrawConfig, ModelConfig

CONFIGS = [
    DrawConfig(1, 5, 6, 3, 4, 2, 2, 2),
    DrawConfig(3, 5, 6, 3, 4, 2, 0, 0, attention=False),
    ClassifierConfig(1, 9, 8, 2, 4, 3, ("cat", "dög"), 3.0, 1.0),
]


def make(config: ModelConfig = CONFIGS[0], **changes: Any) -> Checkpoint:
    """The same weights every time; ``changes`` are other facts."""
    torch.manual_seed(0)
    facts: dict[str, Any] = {"iteration": 7, "metrics": {"valid_bound": 1.5}, "picture_fit": "cover"}
    return Checkpoint(config, "digits", dict(build_model(config).state_dict()), **(facts | changes))
