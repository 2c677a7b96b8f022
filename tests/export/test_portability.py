"""The same file in other engines, held to the parity gates of docs/portability.md.

onnx.reference always runs. OpenVINO, OpenCV's dnn module and tract run where they are installed
(``pip install openvino opencv-python-headless tract``); with DRAW_REQUIRE=engines a missing one fails.

    python tests/export/test_portability.py docs/portability.md     measures and writes the table
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.export.parity import Row, Run, compare, open_session, runner
from draw_onnx.export.reference import Feeds
from draw_onnx.models.checkpoint import Checkpoint

Engine = Callable[[bytes, Feeds], dict[str, Any]]  # loads the file for inputs of these shapes, runs it once


def onnx_reference(data: bytes, feeds: Feeds) -> dict[str, Any]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load_from_string(data))
    return dict(zip(map(str, evaluator.output_names), evaluator.run(None, dict(feeds)), strict=True))


def openvino(data: bytes, feeds: Feeds) -> dict[str, Any]:
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    # The CPU plugin picks bfloat16 by itself where the processor has it.
    model = core.compile_model(core.read_model(model=data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = model(dict(feeds))
    return {name: results[name] for name in output_names(data)}


def opencv(data: bytes, feeds: Feeds) -> dict[str, Any]:
    import cv2  # pyright: ignore[reportMissingImports]

    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    for name, values in feeds.items():
        net.setInput(values, name)
    outputs = output_names(data)
    # It has no 1-D tensors of its own: the bound comes back as it likes.
    return {
        name: np.reshape(values, -1) if name == "bound" else values
        for name, values in zip(outputs, net.forward(outputs), strict=True)
    }


def tract(data: bytes, feeds: Feeds) -> dict[str, Any]:
    import tract  # pyright: ignore[reportMissingImports]

    graph = onnx.load_from_string(data).graph
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        model = tract.onnx().load(path)
    names = [value.name for value in graph.input]
    for k, name in enumerate(names):
        model.set_input_fact(k, ",".join(map(str, feeds[name].shape)) + ",f32")
    results = model.into_model().into_runnable().run([feeds[name] for name in names])
    return dict(zip(output_names(data), (tensor.to_numpy() for tensor in results), strict=True))


def output_names(data: bytes) -> list[str]:
    return [value.name for value in onnx.load_from_string(data).graph.output]


ENGINES: dict[str, tuple[str, str, Engine]] = {  # name -> module, distribution, how to run it
    "onnx.reference": ("onnx", "onnx", onnx_reference),
    "OpenVINO": ("openvino", "openvino", openvino),
    "OpenCV dnn": ("cv2", "opencv-python-headless", opencv),
    "tract": ("tract", "tract", tract),
}

GRAPHS = [
    ("attention", {}),
    ("attention", {"outputs": "image"}),
    ("attention", {"batch": 2}),
    ("attention", {"batch": 32, "outputs": "image"}),
    ("attention", {"graph": "scorer"}),
    ("attention", {"time_steps": 1, "graph": "scorer"}),
    ("colour", {}),
    ("colour", {"outputs": "image"}),
    ("colour", {"graph": "scorer"}),
    ("no attention", {}),
    ("no attention", {"outputs": "image"}),
    ("no attention, colour", {"graph": "scorer"}),
    ("prior", {}),
    ("prior", {"graph": "scorer"}),
    ("prior, no attention", {"outputs": "image"}),
    ("classifier", {}),
    ("classifier", {"batch": 2}),
    ("bounded colour classifier", {"outputs": "image"}),
]


def measure(engine: Engine, checkpoint: Checkpoint, options: dict[str, Any]) -> tuple[Row, ...]:
    """The parity report of one file in one engine."""
    data = build(checkpoint, ExportOptions(**options))
    graph = options.get("graph") or ("classifier" if hasattr(checkpoint.config, "labels") else "decoder")
    steps = options.get("time_steps") or checkpoint.config.time_steps
    dtype = options.get("dtype", "fp32")

    def run(feeds: Feeds) -> dict[str, Any]:
        return engine(data, feeds)

    return compare(run, checkpoint, graph, steps, dtype, batch=options.get("batch"))


@pytest.mark.parametrize(("name", "options"), GRAPHS, ids=str)
def test_onnx_reference(checkpoints, name, options):
    check(onnx_reference, checkpoints[name], options)


@pytest.mark.examples
@pytest.mark.parametrize(("name", "options"), GRAPHS, ids=str)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "onnx.reference"])
def test_engine(checkpoints, engine, name, options):
    module, distribution, run = ENGINES[engine]
    if importlib.util.find_spec(module) is None:
        missing = f"{engine} is not installed: pip install {distribution}"
        if "engines" in os.environ.get("DRAW_REQUIRE", "").split(","):
            pytest.fail(missing)
        pytest.skip(missing)
    check(run, checkpoints[name], options)


def check(engine: Engine, checkpoint: Checkpoint, options: dict[str, Any]) -> None:
    rows = measure(engine, checkpoint, options)
    assert {row.output for row in rows} == set(output_names(build(checkpoint, ExportOptions(**options))))
    assert [row for row in rows if not row.passed] == []


# The table of docs/portability.md: models of the size that people use, random weights.


def models() -> list[tuple[str, Checkpoint, dict[str, Any]]]:
    """(line of the table, checkpoint, build options)"""
    import torch

    from draw_onnx.models.checkpoint import build_model
    from draw_onnx.models.config import ClassifierConfig, DrawConfig, ModelConfig

    def random(config: ModelConfig) -> Checkpoint:
        torch.manual_seed(0)
        weights = build_model(config).state_dict()
        for name in weights:
            if name.startswith("initial_") and not name.endswith("canvas"):
                weights[name].normal_()
        return Checkpoint(config, "random", weights)

    mnist = random(DrawConfig(1, 28, 28, 10, 256, 10, 5, 5))
    colour = random(DrawConfig(3, 54, 54, 8, 128, 32, 12, 12))
    whole = random(DrawConfig(1, 28, 28, 10, 256, 10, 0, 0, attention=False))
    cluttered = random(ClassifierConfig())
    return [
        ("decoder, 28×28, T 10", mnist, {}),
        ("the same, `--outputs image`", mnist, {"outputs": "image"}),
        ("the same, `--batch 2`", mnist, {"batch": 2}),
        ("the same, `--recurrence lstm`", mnist, {"recurrence": "lstm"}),
        ("the same, `--dtype fp16`", mnist, {"dtype": "fp16"}),
        ("decoder without attention", whole, {}),
        ("decoder, colour 54×54, T 8", colour, {}),
        ("scorer, 28×28, T 10", mnist, {"graph": "scorer"}),
        ("scorer without attention", whole, {"graph": "scorer"}),
        ("scorer, colour 54×54, T 8", colour, {"graph": "scorer"}),
        ("classifier, 100×100, 8 glimpses", cluttered, {}),
        ("the same, `--dtype fp16`", cluttered, {"dtype": "fp16"}),
    ]


HEADER = """# The same file in other engines

Written by `python tests/export/test_portability.py docs/portability.md`; `tests/export/test_portability.py` holds
small models to the same gates whenever the tests run.

Every figure is the largest share of a parity gate that any output used, over batches of 1, 2 and 5, four
kinds of noise or picture and every step, against torch in float64: 100 % would just pass. Of a gate with
|ref| in it that is the share of its first number that an error needs beyond the rest. The gates are
those of `draw-export`: 1e-5 for probabilities, 1e-4 + 1e-4·|ref| for attention rows and glimpses, 1e-4 for
logits, 1e-3 + 1e-5·|ref| nats for the bound, or four times torch float32's own error; fp16 files have the
wider ones that `draw-export --dtype fp16` prints. The models have random weights.
"""


def cell(engine: Engine, checkpoint: Checkpoint, options: dict[str, Any]) -> str:
    """A share of the gate, or what goes wrong."""
    try:
        rows = measure(engine, checkpoint, options)
    except Exception as error:
        return f"does not load: {type(error).__name__}"
    problems = [row.problem for row in rows if row.problem]
    share = f"{max(row.used for row in rows):.1%}"
    return problems[0] if problems else share if all(row.passed for row in rows) else f"**{share}**"


def onnxruntime(data: bytes, feeds: Feeds) -> dict[str, Any]:
    run: Run = runner(open_session(data))
    return dict(run(feeds))


def write_table(path: Path) -> None:
    """Measure everything and write the page; engines that are not installed are an error."""
    engines: dict[str, tuple[str, Engine]] = {
        "ONNX Runtime": ("onnxruntime", onnxruntime),
        **{name: (distribution, run) for name, (_, distribution, run) in ENGINES.items()},
    }
    lines = [
        "| file | " + " | ".join(f"{name} {version(dist)}" for name, (dist, _) in engines.items()) + " |",
        "|---" * (len(engines) + 1) + "|",
    ]
    for title, checkpoint, options in models():
        cells = [cell(run, checkpoint, options) for _, run in engines.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    tried = text.find("\n## Tools that rewrite files")  # by hand: kept as it is
    by_hand = text[tried:] if tried >= 0 else ""
    path.write_text(f"{HEADER}\n" + "\n".join(lines) + "\n" + by_hand, encoding="utf-8")


if __name__ == "__main__":
    write_table(Path(sys.argv[1]))
