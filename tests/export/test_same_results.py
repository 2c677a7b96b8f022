"""Other options, other processes and other checkpoints of the same weights: the same bytes, or the same results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest

from draw_onnx.export import ExportOptions, build
from draw_onnx.export.options import Graph
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from draw_onnx.models.config import ClassifierConfig, DrawConfig

from .conftest import props


def test_files_for_bulk_draw_the_same(checkpoints, run_file):
    """A large fixed batch: noise and state in one product, which nothing is projected or split for."""
    rng = np.random.default_rng(5)
    for name, checkpoint in checkpoints.items():
        config = checkpoint.config
        if not isinstance(config, DrawConfig):
            continue
        noise = rng.standard_normal((32, config.time_steps, config.latent_size)).astype(np.float32)
        static, dynamic = (build(checkpoint, ExportOptions(batch=batch)) for batch in (32, None))
        nodes = onnx.load_from_string(static).graph.node
        assert not any("projection" in node.name for node in nodes), name
        assert len(nodes) <= (20 if config.prior == "learned" else 16) * config.time_steps + 80, name
        assert (
            sum(node.op_type == "Gemm" and "/step_" in node.name for node in nodes) >= 2 * config.time_steps
        )
        got, expected = run_file(static, noise=noise), run_file(dynamic, noise=noise)
        for output, values in expected.items():
            np.testing.assert_allclose(got[output], values, rtol=1e-5, atol=1e-5, err_msg=f"{name} {output}")


SCRIPT = """
import hashlib, sys
from draw_onnx.export import ExportOptions, build
from draw_onnx.export.options import Graph
from draw_onnx.models.checkpoint import load_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
for graph in sys.argv[2:]:
    print(hashlib.sha256(build(checkpoint, ExportOptions(graph=graph))).hexdigest())
"""


def test_bytes_are_the_same_in_every_process(checkpoints, tmp_path):
    """Also for a full checkpoint and a weights-only one."""
    full = Checkpoint(**{**vars(checkpoints["attention"]), "training": {"step": 7}, "iteration": 7})
    save_checkpoint(tmp_path / "full.ckpt", full)
    save_checkpoint(tmp_path / "weights.ckpt", checkpoints["attention"])
    digests = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / name), "decoder", "scorer"],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
        ).stdout
        for name, seed in (("full.ckpt", "1"), ("weights.ckpt", "2"))
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].split())) == 2


def test_parity_leaves_the_bytes_alone_but_for_the_gate(checkpoints):
    from draw_onnx.export import ExportOptions, export

    first = export(checkpoints["attention"], ExportOptions())
    again = export(checkpoints["attention"], ExportOptions())
    assert first.data == again.data
    model = onnx.load_from_string(first.data)
    assert props(model)["parity_atol"] == "1e-05"
    unchecked = onnx.load_from_string(build(checkpoints["attention"]))
    assert model.graph == unchecked.graph


@pytest.mark.parametrize("opset", [13, 15, 18])
def test_other_opsets_compute_the_same(checkpoints, run_file, opset):
    for checkpoint in (checkpoints["colour"], checkpoints["classifier"]):
        config = checkpoint.config
        graphs: list[Graph] = (
            ["classifier"] if isinstance(config, ClassifierConfig) else ["decoder", "scorer"]
        )
        image = np.full((2, config.image_channels, config.image_height, config.image_width), 0.3, np.float32)
        for graph in graphs:
            inputs: dict[str, np.ndarray] = {} if graph == "decoder" else {"image": image}
            if not isinstance(config, ClassifierConfig):
                inputs["noise"] = np.full((2, config.time_steps, config.latent_size), 0.5, np.float32)
            plain = run_file(build(checkpoint, ExportOptions(graph=graph)), **inputs)
            other = run_file(build(checkpoint, ExportOptions(graph=graph, opset=opset)), **inputs)
            for name, values in plain.items():
                np.testing.assert_array_equal(values, other[name], err_msg=f"{graph} {name}")


def test_a_static_batch_is_in_every_shape(checkpoints, run_file):
    for name in ("attention", "classifier"):
        checkpoint = checkpoints[name]
        model = onnx.load_from_string(build(checkpoint, ExportOptions(batch=3)))
        for value in [*model.graph.input, *model.graph.output]:
            assert value.type.tensor_type.shape.dim[0].dim_value == 3
        assert not {"Shape", "Expand"} & {node.op_type for node in model.graph.node}
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for value in inferred.graph.value_info:
            dims = value.type.tensor_type.shape.dim
            assert all(d.HasField("dim_value") for d in dims), value.name
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        feed = {model.graph.input[0].name: np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)}
        static = run_file(build(checkpoint, ExportOptions(batch=3)), **feed)
        dynamic = run_file(build(checkpoint), **feed)
        for output, values in dynamic.items():
            np.testing.assert_allclose(static[output], values, rtol=1e-6, atol=1e-6)


def test_checkpoint_on_disk_builds_the_same(checkpoints, tmp_path: Path):
    save_checkpoint(tmp_path / "a.ckpt", checkpoints["classifier"])
    assert build(load_checkpoint(tmp_path / "a.ckpt")) == build(checkpoints["classifier"])
