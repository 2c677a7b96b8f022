"""That the parts run and that the floors are the graphs' own products. No test asks how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.models.checkpoint import Checkpoint, build_model
from draw_onnx.models.config import ClassifierConfig, DrawConfig

BENCH = Path(__file__).resolve().parents[2] / "bench"

MODELS = {
    "decoder": DrawConfig(3, 12, 10, 5, 16, 4, 3, 3),
    "decoder without attention": DrawConfig(1, 8, 8, 5, 16, 4, 0, 0, attention=False),
    "classifier": ClassifierConfig(1, 20, 20, 4, 16, 5, tuple("0123456789")),
}


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def multiplications(data: bytes) -> int:
    """Of all matrix products in a file with a fixed batch."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), data_prop=True).graph
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        # Of a window's filters the centres, and what repeats a number along the pixels, are sums made by small products.
        sums = node.output[0].endswith(("/mu", "/distance", "/slope"))
        if node.op_type in ("Gemm", "MatMul") and not sums:
            inner, out = shapes[node.input[0]][-1], shapes[node.output[0]]
            total += inner * int(np.prod(out))
    return total


@pytest.mark.parametrize("name", MODELS)
def test_a_floor_is_the_products_of_the_graph(name, tmp_path: Path):
    import floors  # pyright: ignore[reportMissingImports]

    config = MODELS[name]
    checkpoint = Checkpoint(config, "fake", build_model(config).state_dict())
    products = floors.classifier(config) if name == "classifier" else floors.decoder(config)
    bare = sum(p.times * int(np.prod(p.left)) * p.right[-1] for p in products)
    assert bare == multiplications(build(checkpoint, ExportOptions(outputs="image", batch=1)))
    path = tmp_path / "floor.onnx"
    floors.write_floor(products, path)
    floors.onnx_floor(path, 3, 1)()
    floors.torch_floor(products, 3)()


def test_an_update_is_compared_with_what_the_plain_loop_can_be():
    import training  # pyright: ignore[reportMissingImports]

    from draw_onnx.train.presets import PRESETS

    peers = [name for name, preset in PRESETS.items() if training.has_peer(preset)]
    assert peers == [
        "digits",
        "mnist",
        "mnist-paper",
        "mnist-dynamic",
        "cluttered-mnist",
        "cluttered-mnist-4",
    ]
    for once in (training.plain("digits"), training.update("digits", "32-true", compiled=False)):
        once()
    for name in ("svhn", "mnist-no-attention"):
        command = [sys.executable, str(BENCH / "training.py"), "--models", name]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert f"invalid choice: '{name}'" in done.stderr


def test_many_pictures_are_streamed_with_flat_memory(tmp_path: Path):
    raw = tmp_path / "raw.json"
    command = [sys.executable, str(BENCH / "bulk.py"), "--pictures", "320", "--json", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "memory is flat" in done.stdout
    assert json.loads(raw.read_text())["stream"][0][-1]["pictures"] == 320


def test_a_contender_that_fails_is_named_and_the_others_go_on():
    import measure  # pyright: ignore[reportMissingImports]

    commands = {
        "well": [sys.executable, "-c", "print('{\"1\": 2.0}')"],
        "ill": [sys.executable, "-c", "raise SystemExit('no such thing')"],
    }
    raw, failed = measure.in_turns(commands, 2)
    assert measure.medians(raw) == {"well": {"1": 2.0}}
    assert failed == {"ill": "no such thing"}
    text = measure.shares_table(measure.medians(raw), {"1": "1 at a time"}, failed, "well")
    assert "1.00×" in text
    assert "failed: no such thing" in text


def test_every_part_of_the_report_takes_its_options():
    import shlex

    import report  # pyright: ignore[reportMissingImports]

    for part, (_, *settings) in report.PARTS.items():
        for options in settings:
            command = [sys.executable, str(BENCH / f"{part}.py"), *shlex.split(options), "--help"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
