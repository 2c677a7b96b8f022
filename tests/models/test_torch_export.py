"""torch.export takes the networks for any number of pictures: what other exporters and torch's own start from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from draw_onnx.models import products
from draw_onnx.models.classifier import GlimpseClassifier
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.models.draw import Draw

SQUARE, OBLONG = (8, 8), (7, 9)  # a square picture's filters of both axes are computed together


class Generate(nn.Module):
    def __init__(self, model: Draw) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.generate(x).image


class Classify(nn.Module):
    def __init__(self, model: GlimpseClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


@pytest.mark.parametrize("size", [SQUARE, OBLONG])
@pytest.mark.parametrize("kind", ["decoder", "classifier"])
def test_any_number_of_pictures(kind: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_USE_ONEDNN", True)  # whose products nobody else has
    torch.manual_seed(0)
    if kind == "decoder":
        module: nn.Module = Generate(Draw(DrawConfig(1, *size, 3, 6, 4, read_size=2, write_size=3)))
        shape = (3, 4)
    else:
        module = Classify(
            GlimpseClassifier(ClassifierConfig(1, *size, time_steps=3, hidden_size=6, read_size=3))
        )
        shape = (1, *size)
    program = torch.export.export(
        module, (torch.randn(2, *shape),), dynamic_shapes={"x": {0: torch.export.Dim("pictures")}}
    ).module()
    for pictures in (1, 5):
        x = torch.randn(pictures, *shape)
        torch.testing.assert_close(program(x), module(x))
