"""Small models and their files, draw-export in this process, and one way to run a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from draw_onnx.export import ExportOptions, build, cli
from draw_onnx.export.parity import open_session
from draw_onnx.models.checkpoint import Checkpoint, build_model
from draw_onnx.models.config import ClassifierConfig, DrawConfig, ModelConfig

from ..conftest import Command

torch.set_num_threads(1)


def _random(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """Weights as training might leave them: no zeros, learned states included."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: (0.3 * torch.randn(value.shape, generator=generator))
        for name, value in build_model(config).state_dict().items()
    }
    return Checkpoint(config, "digits", weights)


@pytest.fixture(scope="session")
def random_checkpoint() -> Callable[..., Checkpoint]:
    """(config, seed=0) -> a checkpoint with random weights."""
    return _random


@pytest.fixture(scope="session")
def checkpoints() -> dict[str, Checkpoint]:
    """One tiny checkpoint for each shape of graph: odd sizes, not square, colour."""
    sizes: dict[str, Any] = dict(image_height=7, image_width=10, hidden_size=9, latent_size=4)
    return {
        "attention": _random(DrawConfig(**sizes, time_steps=4, read_size=3, write_size=2)),
        "colour": _random(DrawConfig(**sizes, time_steps=3, read_size=2, write_size=3, image_channels=3)),
        "no attention": _random(
            DrawConfig(**sizes, time_steps=4, read_size=0, write_size=0, attention=False)
        ),
        "no attention, colour": _random(
            DrawConfig(**sizes, time_steps=2, read_size=0, write_size=0, attention=False, image_channels=3)
        ),
        "prior": _random(DrawConfig(**sizes, time_steps=4, read_size=3, write_size=2, prior="learned")),
        "prior, no attention": _random(
            DrawConfig(**sizes, time_steps=3, read_size=0, write_size=0, attention=False, prior="learned")
        ),
        "classifier": _random(
            ClassifierConfig(
                image_height=11,
                image_width=8,
                time_steps=4,
                hidden_size=7,
                read_size=3,
                labels=("cat", "dog"),
            )
        ),
        "bounded colour classifier": _random(
            ClassifierConfig(
                image_channels=3,
                image_height=6,
                image_width=9,
                time_steps=3,
                hidden_size=5,
                read_size=2,
                attention_bound=3.0,
                position_bound=0.9,
            )
        ),
    }


@pytest.fixture
def draw_export(command: Command) -> Command:
    """(*arguments) -> what draw-export answers, in this process."""
    return partial(command, cli.main)


def _files(checkpoints: dict[str, Checkpoint]) -> dict[str, bytes]:
    made = {}
    for name, checkpoint in checkpoints.items():
        for outputs in ("steps", "image"):
            made[f"{name}, {outputs}"] = build(checkpoint, ExportOptions(outputs=outputs))
            if isinstance(checkpoint.config, DrawConfig):
                made[f"{name}, {outputs}, scorer"] = build(
                    checkpoint, ExportOptions(graph="scorer", outputs=outputs)
                )
                if not name.startswith("prior"):
                    made[f"{name}, {outputs}, lstm"] = build(
                        checkpoint, ExportOptions(outputs=outputs, recurrence="lstm")
                    )
            made[f"{name}, {outputs}, half"] = build(checkpoint, ExportOptions(outputs=outputs, dtype="fp16"))
    return made


@pytest.fixture(scope="session")
def models(checkpoints: dict[str, Checkpoint]) -> dict[str, onnx.ModelProto]:
    """Every kind of file, once."""
    return {name: onnx.load_from_string(data) for name, data in _files(checkpoints).items()}


def props(model: onnx.ModelProto) -> dict[str, str]:
    """A model's metadata."""
    return {p.key: p.value for p in model.metadata_props}


def edited(data: bytes, edit: Callable[[onnx.ModelProto], object]) -> bytes:
    """A file with its model changed."""
    model = onnx.load_from_string(data)
    edit(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def run_file() -> Callable[..., dict[str, np.ndarray]]:
    """(data, **inputs) -> outputs by name, on ONNX Runtime's CPU provider."""

    def run(data: bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        session = open_session(data)
        names = [output.name for output in session.get_outputs()]
        values: Any = session.run(names, inputs)
        return dict(zip(names, values, strict=True))

    return run
