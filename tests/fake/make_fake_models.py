"""Write tiny models with the inputs, outputs and metadata of real exported files: a few kB each.

They draw nothing recognisable, but they exercise all that surrounds a model: `python make_fake_models.py DIR`
needs onnx and numpy alone. The files beside this script are what it writes, so that tests of the runtime
and of the examples need neither onnx nor training. Weights are small multiples of 1/8: no generator, no rounding.

The decoder (T steps, Z latents, H hidden units): h_t = tanh(noise_t W + h_{t-1} / 2); with attention every step
adds a blob at the place its window names, without it a linear map of h_t.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

T, Z, HIDDEN = 3, 2, 4
HEIGHT, WIDTH = 7, 6  # not square, so that swapped axes show
WRITE, READ = 3, 2
GLIMPSES, GLIMPSE_SIZE = 3, 4
SCENE_HEIGHT, SCENE_WIDTH = 20, 24  # the classifier's pictures
LABELS = ("circle", "cross", "line")


def weight(*shape: int, shift: int = 0) -> np.ndarray:
    """Deterministic numbers between -1 and 1 in steps of 1/8."""
    index = np.arange(int(np.prod(shape)), dtype=np.int64) + shift
    return (((index * 37 + index * index * 5) % 17 - 8) / 8).astype(np.float32).reshape(shape)


class Builder:
    """Nodes and initializers with checked names; every operator of the default domain at opset 17."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray | list[int] | float) -> str:
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}/{op}", **attributes))
        return output


def windows(b: Builder, hidden: str, prefix: str, width: int, height: int, shift: int) -> str:
    """Rows (x, y, delta, sigma, gamma) from [batch, T, HIDDEN]; the centre roams over the picture."""
    b.constant(f"{prefix}/weight", weight(HIDDEN, 5, shift=shift))
    b.node("MatMul", [hidden, f"{prefix}/weight"], f"{prefix}/linear")
    b.node("Tanh", [f"{prefix}/linear"], f"{prefix}/tanh")
    b.constant(f"{prefix}/reach", np.array([width / 2, height / 2, 0.5, 0.5, 0.25], np.float32))
    b.constant(f"{prefix}/middle", np.array([(width + 1) / 2, (height + 1) / 2, 1.5, 0.75, 1], np.float32))
    b.node("Mul", [f"{prefix}/tanh", f"{prefix}/reach"], f"{prefix}/offset")
    return b.node("Add", [f"{prefix}/offset", f"{prefix}/middle"], f"{prefix}_attention")


def recurrence(b: Builder) -> str:
    """[batch, T, Z] noise to [batch, T, HIDDEN]: causal, so that a step depends on the noise up to it."""
    b.constant("input/weight", weight(Z, HIDDEN, shift=3))
    b.constant("half", 0.5)
    states = []
    for t in range(T):
        b.constant(f"step_{t:02d}/index", [t])
        b.node("Gather", ["noise", f"step_{t:02d}/index"], f"step_{t:02d}/noise", axis=1)
        b.node("MatMul", [f"step_{t:02d}/noise", "input/weight"], f"step_{t:02d}/input")
        total = f"step_{t:02d}/input"
        if states:
            b.node("Mul", [states[-1], "half"], f"step_{t:02d}/memory")
            total = b.node("Add", [total, f"step_{t:02d}/memory"], f"step_{t:02d}/sum")
        states.append(b.node("Tanh", [total], f"step_{t:02d}/h"))
    return b.node("Concat", states, "hidden", axis=1)


def canvases(b: Builder, hidden: str, attention: str | None, channels: int) -> str:
    """[batch, T, C, H, W] means: sigmoid of -2 and all that was added up to each step."""
    if attention:
        b.constant("canvas/columns", np.arange(1, WIDTH + 1, dtype=np.float32).reshape(1, 1, 1, 1, WIDTH))
        b.constant("canvas/rows", np.arange(1, HEIGHT + 1, dtype=np.float32).reshape(1, 1, 1, HEIGHT, 1))
        for name, column in (("x", 0), ("y", 1)):
            b.constant(f"canvas/{name}_index", [column])
            b.node("Gather", [attention, f"canvas/{name}_index"], f"canvas/{name}", axis=2)
            b.constant(f"canvas/{name}_axes", [3, 4])
            b.node("Unsqueeze", [f"canvas/{name}", f"canvas/{name}_axes"], f"canvas/{name}_5d")
        b.node("Sub", ["canvas/columns", "canvas/x_5d"], "canvas/dx")
        b.node("Sub", ["canvas/rows", "canvas/y_5d"], "canvas/dy")
        b.node("Mul", ["canvas/dx", "canvas/dx"], "canvas/dx2")
        b.node("Mul", ["canvas/dy", "canvas/dy"], "canvas/dy2")
        b.node("Add", ["canvas/dx2", "canvas/dy2"], "canvas/distance2")
        b.node("Neg", ["canvas/distance2"], "canvas/minus")
        b.node("Exp", ["canvas/minus"], "canvas/blob")
        b.constant("canvas/ink", np.array([6, 3, -3][:channels], np.float32).reshape(1, 1, channels, 1, 1))
        added = b.node("Mul", ["canvas/blob", "canvas/ink"], "canvas/added")
    else:
        b.constant("canvas/weight", weight(HIDDEN, channels * HEIGHT * WIDTH, shift=7))
        b.node("MatMul", [hidden, "canvas/weight"], "canvas/flat")
        b.constant("canvas/shape", [0, T, channels, HEIGHT, WIDTH])
        added = b.node("Reshape", ["canvas/flat", "canvas/shape"], "canvas/added")
    b.constant("canvas/time_axis", np.array(1, np.int64))
    b.node("CumSum", [added, "canvas/time_axis"], "canvas/painted")
    b.constant("canvas/initial", -2.0)
    b.node("Add", ["canvas/painted", "canvas/initial"], "canvas/logits")
    return b.node("Sigmoid", ["canvas/logits"], "canvases")


def last_step(b: Builder, sequence: str, output: str) -> None:
    b.constant("last/index", np.array(T - 1, np.int64))
    b.node("Gather", [sequence, "last/index"], output, axis=1)


def common_metadata(
    model_type: str, channels: int, height: int, width: int, steps: int, attention: bool, lean: bool
) -> dict[str, str]:
    return {
        "format_version": "1",
        "model_type": model_type,
        "draw_onnx_version": "0.1.0",
        "dataset": "fake",
        "time_steps": str(steps),
        "hidden_size": str(HIDDEN),
        "image_channels": str(channels),
        "image_height": str(height),
        "image_width": str(width),
        "attention": "true" if attention else "false",
        "outputs": "image" if lean else "steps",
        "weights_sha256": "0" * 64,
        "parity_atol": "unchecked",
        "model_license": "MIT",
        "model_author": "draw-onnx authors",
    }


def finish(
    b: Builder,
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    metadata: dict[str, str],
    batch: int | str,
) -> onnx.ModelProto:
    def values(shapes: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])
            for name, shape in shapes.items()
        ]

    graph = helper.make_graph(
        b.nodes, metadata["model_type"], values(inputs), values(outputs), b.initializers
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_fake_models", ir_version=8
    )
    # helper.set_model_props exists, but takes the order of a dict through a loop of its own anyway.
    for key, value in metadata.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    onnx.checker.check_model(model, full_check=True)
    return model


def decoder(
    channels: int = 1, attention: bool = True, lean: bool = False, batch: int | str = "batch_size"
) -> onnx.ModelProto:
    b = Builder()
    hidden = recurrence(b)
    rows = windows(b, hidden, "write", WIDTH, HEIGHT, shift=5) if attention else None
    last_step(b, canvases(b, hidden, rows, channels), "image")
    outputs = {"image": [channels, HEIGHT, WIDTH]}
    if not lean:
        outputs["canvases"] = [T, channels, HEIGHT, WIDTH]
        if attention:
            outputs["write_attention"] = [T, 5]
    metadata = common_metadata("draw.decoder", channels, HEIGHT, WIDTH, T, attention, lean) | {
        "latent_size": str(Z),
        "write_size": str(WRITE if attention else 0),
        "noise_stream": "splitmix64-boxmuller-1",
    }
    return finish(b, {"noise": [T, Z]}, outputs, metadata, batch)


def classifier(
    channels: int = 1, lean: bool = False, batch: int | str = "batch_size", figure_size: int | None = None
) -> onnx.ModelProto:
    """Looks at three places that the picture's rows and columns choose, and votes by a linear map."""
    b = Builder()
    size = channels * SCENE_HEIGHT * SCENE_WIDTH
    b.constant("flat/shape", [0, size])
    b.node("Reshape", ["image", "flat/shape"], "flat")
    # Mean brightness of eight bands: few weights, so that the file stays small.
    b.constant("bands/shape", [0, 8, size // 8])
    b.node("Reshape", ["flat", "bands/shape"], "bands/pixels")
    b.node("ReduceMean", ["bands/pixels"], "bands", axes=[2], keepdims=0)
    b.constant("output/weight", weight(8, len(LABELS), shift=2) * 8)
    b.node("MatMul", ["bands", "output/weight"], "logits")
    b.node("Softmax", ["logits"], "probabilities", axis=1)
    outputs = {"logits": [len(LABELS)], "probabilities": [len(LABELS)]}
    if not lean:
        b.constant("hidden/weight", weight(8, GLIMPSES * HIDDEN, shift=4) * 4)
        b.node("MatMul", ["bands", "hidden/weight"], "hidden/flat")
        b.constant("hidden/shape", [0, GLIMPSES, HIDDEN])
        b.node("Reshape", ["hidden/flat", "hidden/shape"], "hidden")
        windows(b, "hidden", "read", SCENE_WIDTH, SCENE_HEIGHT, shift=5)
        pieces = []
        for t in range(GLIMPSES):
            b.constant(f"glimpse_{t}/starts", [4 * t, 5 * t])
            b.constant(f"glimpse_{t}/ends", [4 * t + GLIMPSE_SIZE, 5 * t + GLIMPSE_SIZE])
            b.constant(f"glimpse_{t}/axes", [2, 3])
            b.node(
                "Slice",
                ["image", *(f"glimpse_{t}/{n}" for n in ("starts", "ends", "axes"))],
                f"glimpse_{t}/cut",
            )
            b.constant(f"glimpse_{t}/step_axis", [1])
            pieces.append(b.node("Unsqueeze", [f"glimpse_{t}/cut", f"glimpse_{t}/step_axis"], f"glimpse_{t}"))
        b.node("Concat", pieces, "glimpses", axis=1)
        outputs["glimpses"] = [GLIMPSES, channels, GLIMPSE_SIZE, GLIMPSE_SIZE]
        outputs["read_attention"] = [GLIMPSES, 5]
    metadata = common_metadata(
        "draw.classifier", channels, SCENE_HEIGHT, SCENE_WIDTH, GLIMPSES, True, lean
    ) | {"read_size": str(GLIMPSE_SIZE), "labels": ",".join(LABELS)}
    if figure_size is not None:
        metadata["figure_size"] = str(figure_size)
    return finish(b, {"image": [channels, SCENE_HEIGHT, SCENE_WIDTH]}, outputs, metadata, batch)


def scorer(channels: int = 1, attention: bool = True, lean: bool = False) -> onnx.ModelProto:
    """bound = sum (image - reconstruction)^2 + sum noise^2: positive, and different for every picture and noise."""
    b = Builder()
    hidden = recurrence(b)
    rows = windows(b, hidden, "write", WIDTH, HEIGHT, shift=5) if attention else None
    if attention and not lean:
        windows(b, hidden, "read", WIDTH, HEIGHT, shift=11)
    last_step(b, canvases(b, hidden, rows, channels), "painted")
    b.node("Mul", ["image", "half"], "image/half")
    b.node("Mul", ["painted", "half"], "painted/half")
    b.node("Add", ["image/half", "painted/half"], "reconstruction")
    b.node("Sub", ["image", "reconstruction"], "difference")
    b.node("ReduceSumSquare", ["difference"], "bound/pixels", axes=[1, 2, 3], keepdims=0)
    b.node("ReduceSumSquare", ["noise"], "bound/latent", axes=[1, 2], keepdims=0)
    b.node("Add", ["bound/pixels", "bound/latent"], "bound")
    outputs: dict[str, list[int]] = {"bound": [], "reconstruction": [channels, HEIGHT, WIDTH]}
    if not lean:
        outputs["canvases"] = [T, channels, HEIGHT, WIDTH]
        if attention:
            outputs |= {"read_attention": [T, 5], "write_attention": [T, 5]}
    metadata = common_metadata("draw.scorer", channels, HEIGHT, WIDTH, T, attention, lean) | {
        "latent_size": str(Z),
        "write_size": str(WRITE if attention else 0),
        "noise_stream": "splitmix64-boxmuller-1",
        "read_size": str(READ if attention else 0),
        "picture_fit": "cover" if channels == 3 else "pad",
        "binary": "false",
    }
    return finish(
        b, {"image": [channels, HEIGHT, WIDTH], "noise": [T, Z]}, outputs, metadata, batch="batch_size"
    )


def all_models() -> dict[str, onnx.ModelProto]:
    """File name to model."""
    return {
        "decoder.onnx": decoder(),
        "decoder-lean.onnx": decoder(lean=True),
        "decoder-colour.onnx": decoder(channels=3),
        "decoder-no-attention.onnx": decoder(attention=False),
        "decoder-no-attention-colour.onnx": decoder(channels=3, attention=False),
        "decoder-batch4.onnx": decoder(batch=4),
        "classifier.onnx": classifier(),
        "classifier-lean.onnx": classifier(lean=True),
        "classifier-colour.onnx": classifier(channels=3),
        "classifier-batch4.onnx": classifier(batch=4),
        "classifier-figures.onnx": classifier(figure_size=12),
        "scorer.onnx": scorer(),
        "scorer-lean.onnx": scorer(lean=True),
        "scorer-colour.onnx": scorer(channels=3),
        "scorer-no-attention.onnx": scorer(attention=False),
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, model in all_models().items():
        data = model.SerializeToString(deterministic=True)
        (folder / name).write_bytes(data)
        print(f"{folder / name} {len(data)} bytes")


if __name__ == "__main__":
    main()
