"""The two floors: a model's matrix products and nothing else, through ONNX Runtime and through torch's SGEMM.

And the files that are measured beside them. With one picture at a time the cost of torch's calls is part of its floor,
so that a graph can pass it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from measure import ORT_FLOOR, TORCH_FLOOR

from draw_onnx.models.config import ClassifierConfig, DrawConfig

if TYPE_CHECKING:
    from draw_onnx.models.checkpoint import Checkpoint

Shape = tuple[int, ...]
Step = Callable[[int], Callable[[], Any]]  # pictures at a time -> a call that is timed


class Product(NamedTuple):
    """``left`` x ``right``, ``times`` after one another; the first axis of ``left`` counts rows for one picture."""

    times: int
    left: Shape  # [rows, k], or [planes, m, k]
    right: Shape  # [k, n] of a weight, or [planes, k, n]
    same: str = "right"  # which of the two is the same every time


def decoder(config: DrawConfig) -> list[Product]:
    """Of drawing with only the finished picture as output."""
    t, h, z, c = config.time_steps, config.hidden_size, config.latent_size, config.image_channels
    n, height, width = config.write_size, config.image_height, config.image_width
    products = [Product(1, (t, z), (z, 4 * h)), Product(t - 1, (1, h), (h, 4 * h))]
    if not config.attention:
        return [*products, Product(1, (1, h), (h, c * height * width))]
    products.append(Product(1, (t, h), (h, 5 + c * n * n)))
    products.append(Product(1, (t, n * c, n), (t, n, width)))
    return [*products, Product(1, (1, height, t * n), (1, t * n, c * width))]


def classifier(config: ClassifierConfig) -> list[Product]:
    t, h, c, n = config.time_steps, config.hidden_size, config.image_channels, config.read_size
    height, width = config.image_height, config.image_width
    return [
        Product(t - 1, (1, h), (h, 5)),
        Product(t, (c, height, width), (c, width, n), same="left"),
        Product(t, (c, n, height), (c, height, n)),
        Product(t, (1, c * n * n), (c * n * n, 4 * h)),
        Product(t - 1, (1, h), (h, 4 * h)),
        Product(1, (1, h), (h, len(config.labels))),
    ]


def forward(config: DrawConfig | ClassifierConfig) -> list[Product]:
    """Of drawing, or of classifying."""
    return decoder(config) if isinstance(config, DrawConfig) else classifier(config)


def update(config: DrawConfig | ClassifierConfig) -> list[Product]:
    """Of a training step: the forward pass, and twice as much for the backward one."""
    t, h, c = config.time_steps, config.hidden_size, config.image_channels
    height, width = config.image_height, config.image_width
    windows: list[tuple[int, int]] = []
    if isinstance(config, ClassifierConfig):
        found = [p._replace(times=3 * p.times) for p in classifier(config) if len(p.right) == 2]
        return [*found, *_through_windows(3 * t, [(c, config.read_size)], height, width)]
    z = config.latent_size
    weights = [(config.read_length + 2 * h, 4 * h), (z + h, 4 * h), (h, 2 * z)]
    if config.attention:
        weights.append((h, 10 + c * config.write_size**2))
        windows += [(2 * c, config.read_size), (c, config.write_size)]
    else:
        weights.append((h, c * height * width))
    found = [Product(3 * t, (1, k), (k, n)) for k, n in weights]
    return [*found, *_through_windows(3 * t, windows, height, width)]


def _through_windows(
    times: int, windows: Sequence[tuple[int, int]], height: int, width: int
) -> Iterator[Product]:
    """As models.attention multiplies, F_Y first, for each (planes, N)."""
    for planes, n in windows:
        yield Product(times, (planes, n, height), (planes, height, width))
        yield Product(times, (planes, n, width), (planes, width, n))


def of_batch(shape: Sequence[int], batch: int) -> Shape:
    """A shape whose first axis counts one picture's rows or planes, for ``batch`` pictures."""
    return batch * shape[0], *shape[1:]


def torch_floor(products: list[Product], batch: int) -> Callable[[], Any]:
    import torch

    def operands(product: Product) -> tuple[int, Any, Any, Any, Any]:
        weight = len(product.right) == 2
        left = torch.randn(of_batch(product.left, batch))
        right = torch.randn(product.right if weight else of_batch(product.right, batch))
        multiply = torch.mm if weight else torch.bmm
        return product.times, multiply, left, right, multiply(left, right)

    all_operands = [operands(product) for product in products]

    def run() -> None:
        with torch.inference_mode():
            for times, multiply, left, right, out in all_operands:
                for _ in range(times):
                    multiply(left, right, out=out)

    return run


def write_floor(products: list[Product], path: Path) -> None:
    """The same products as an ONNX file. What comes out of them is asked for its shape alone."""
    from onnx import TensorProto, helper, numpy_helper, save

    generator = np.random.default_rng(0)
    inputs, nodes, outputs, weights = [], [], [], []
    shapes: dict[str, Shape] = {}

    def feed(name: str, shape: Shape) -> str:
        shapes[name] = shape
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)))
        return name

    for k, product in enumerate(products):
        ends: list[str] = []
        if len(product.right) == 2:
            weight = (generator.standard_normal(product.right) / 100).astype(np.float32)
            weights.append(numpy_helper.from_array(weight, f"weight_{k}"))
            left = feed(f"left_{k}", product.left)
            for t in range(product.times):
                # Each adds to the one before, as a gate's sums do: equal products would be made once.
                nodes.append(helper.make_node("Gemm", [left, f"weight_{k}", *ends], [f"{k}_{t}"]))
                ends = [f"{k}_{t}"]
        else:
            ends = [f"{k}_{t}" for t in range(product.times)]
            for t, end in enumerate(ends):
                sides = {"left": product.left, "right": product.right}
                names = [f"{s}_{k}" if s == product.same else f"{s}_{k}_{t}" for s in sides]
                for name, shape in zip(names, sides.values(), strict=True):
                    if name not in shapes:
                        feed(name, shape)
                nodes.append(helper.make_node("MatMul", names, [end]))
        for end in ends:
            nodes.append(helper.make_node("Shape", [end], [f"shape_{end}"]))
            outputs.append(helper.make_tensor_value_info(f"shape_{end}", TensorProto.INT64, [None]))
    graph = helper.make_graph(nodes, "floor", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="shapes", value=json.dumps(shapes))
    save(model, path)


def onnx_floor(path: Path, batch: int, threads: int) -> Callable[[], Any]:
    """What :func:`write_floor` wrote, in a process without torch."""
    session = open_session(path, threads)
    shapes: dict[str, list[int]] = json.loads(session.get_modelmeta().custom_metadata_map["shapes"])
    generator = np.random.default_rng(0)
    feed = {k: generator.standard_normal(of_batch(v, batch), np.float32) for k, v in shapes.items()}
    return lambda: session.run(None, feed)


def write_files(checkpoint: Checkpoint, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """``NAME.onnx`` for each name and its export options, not compared with PyTorch, and ``floor.onnx``."""
    from draw_onnx.export import ExportOptions, build

    folder.mkdir(exist_ok=True)
    write_floor(forward(checkpoint.config), folder / "floor.onnx")
    for name, options in files.items():
        (folder / f"{name}.onnx").write_bytes(build(checkpoint, ExportOptions(**options)))


def step_of(
    name: str, folder: Path, threads: int, config: Callable[[], DrawConfig | ClassifierConfig]
) -> Step:
    """What is timed of a floor, or of a file of :func:`write_files`. Torch's floor alone asks for ``config``, with torch."""
    if name == ORT_FLOOR:
        return partial(onnx_floor, folder / "floor.onnx", threads=threads)
    if name == TORCH_FLOOR:
        import torch

        torch.set_num_threads(threads)
        return partial(torch_floor, forward(config()))
    return partial(file_call, open_session(folder / f"{name}.onnx", threads))


def file_call(session: Any, batch: int) -> Callable[[], Any]:
    """A call of a decoder with noise, or of a classifier with pictures."""
    given = session.get_inputs()[0]
    shape = given.shape[1:]
    if given.name == "noise":
        values = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
    else:
        values = squares(batch, shape)
    return lambda: session.run(None, {given.name: values})


def squares(batch: int, shape: Any) -> np.ndarray:
    """Pictures with a bright square each: random pixels would keep every window in the middle."""
    generator = np.random.default_rng(0)
    pictures = np.zeros((batch, *shape), np.float32)
    for k in range(batch):
        y, x = generator.integers(0, shape[1] - 20), generator.integers(0, shape[2] - 20)
        pictures[k, :, y : y + 20, x : x + 8] = 1
    return pictures


def open_session(path: Path, threads: int, flush: bool = False) -> Any:
    """As the runtime opens a file, on the CPU; ``flush`` takes subnormal numbers for zero, which the runtime never does."""
    from draw_onnx.runtime.providers import import_onnxruntime
    from draw_onnx.runtime.quantised import for_this_cpu

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if flush:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    data = for_this_cpu(path.read_bytes())
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
