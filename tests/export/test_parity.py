"""The parity check: what passes, what fails, and how it is told."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from draw_onnx.errors import DrawError
from draw_onnx.export import ExportOptions, build, export, gates, parity, reference
from draw_onnx.export import exported as exported_module
from draw_onnx.models.checkpoint import Checkpoint
from draw_onnx.models.config import ClassifierConfig, DrawConfig

from .conftest import props


def compare(data: bytes, *arguments) -> tuple[parity.Row, ...]:
    return parity.compare(parity.runner(parity.open_session(data)), *arguments)


def failures(rows: tuple[parity.Row, ...]) -> list[str]:
    return [row.output for row in rows if not row.passed]


@pytest.mark.parametrize("outputs", ["steps", "image"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"graph": "scorer"},
        {"recurrence": "lstm"},
        {"dtype": "fp16"},
        {"dtype": "fp16", "graph": "scorer"},
        {"batch": 3},
        {"time_steps": 1},
        {"time_steps": 7},
        {"time_steps": 1, "graph": "scorer"},
        {"time_steps": 1, "recurrence": "lstm"},
    ],
    ids=str,
)
def test_every_kind_of_file_passes(checkpoints, options, outputs):
    for name, checkpoint in checkpoints.items():
        if isinstance(checkpoint.config, ClassifierConfig) and ({"graph", "recurrence"} & set(options)):
            continue
        if name.startswith("prior") and "recurrence" in options:
            continue
        exported = export(checkpoint, ExportOptions(outputs=outputs, **options))
        exported.require_parity()
        assert failures(exported.rows) == [], name
        assert exported.time_steps == options.get("time_steps", checkpoint.config.time_steps)


SIZES = [
    DrawConfig(1, 5, 3, time_steps=3, hidden_size=1, latent_size=1, read_size=1, write_size=1),
    DrawConfig(3, 1, 1, time_steps=2, hidden_size=3, latent_size=2, read_size=2, write_size=1),
    DrawConfig(3, 4, 13, time_steps=2, hidden_size=5, latent_size=3, read_size=5, write_size=6),
    DrawConfig(
        1, 1, 9, time_steps=2, hidden_size=2, latent_size=1, attention=False, read_size=0, write_size=0
    ),
]


@pytest.mark.parametrize("graph", ["decoder", "scorer"])
@pytest.mark.parametrize("config", SIZES, ids=str)
def test_odd_sizes(random_checkpoint, config, graph):
    export(random_checkpoint(config), ExportOptions(graph)).require_parity()


def test_a_classifier_of_one_unit_and_one_filter(random_checkpoint):
    config = ClassifierConfig(1, 3, 8, time_steps=2, hidden_size=1, read_size=1, labels=("a", "b"))
    export(random_checkpoint(config)).require_parity()


@pytest.mark.parametrize(
    "bias",
    [
        [0.0, 0.0, -8.0, 0.0, 0.0],  # widths far below a pixel
        [0.0, 0.0, 8.0, 0.0, 0.0],  # and far beyond the picture
        [9.0, -7.0, 0.0, 0.0, 0.0],  # centres far outside
        [0.3, 0.2, -4.0, 3.0, 2.0],  # filters beyond both edges, strong
        [0.1, 0.1, -2.0, -6.0, -4.0],  # filters on one spot, faint
    ],
    ids=str,
)
def test_extreme_windows(random_checkpoint, bias):
    config = DrawConfig(1, 12, 9, time_steps=3, hidden_size=6, latent_size=3, read_size=3, write_size=4)
    checkpoint = random_checkpoint(config)
    for name in ("read_attention", "write_attention"):
        checkpoint.weights[f"{name}.bias"] = torch.tensor(bias)
        checkpoint.weights[f"{name}.weight"] *= 0.1
    for graph in ("decoder", "scorer"):
        exported = export(checkpoint, ExportOptions(graph))
        assert failures(exported.rows) == []


def corrupted(data: bytes, name: str, change: float) -> bytes:
    """One number of one initializer moved."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values.flat[0] += change
            tensor.CopyFrom(numpy_helper.from_array(values, name))
            return model.SerializeToString()
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "graph", "weight", "missed"),
    [
        ("attention", "decoder", "/decoder/lstm/weight_hh_ifo", {"image", "canvases", "write_attention"}),
        ("attention", "decoder", "/decoder/write/initial_canvas", {"image", "canvases"}),
        ("classifier", "classifier", "/classifier/output/bias", {"logits", "probabilities"}),
        ("no attention", "scorer", "/scorer/encoder/weight_error", {"bound", "reconstruction", "canvases"}),
    ],
)
def test_a_corrupted_weight_is_found(checkpoints, name, graph, weight, missed):
    checkpoint = checkpoints[name]
    data = corrupted(build(checkpoint, ExportOptions(graph=graph)), weight, 0.05)
    rows = compare(data, checkpoint, graph, checkpoint.config.time_steps)
    assert set(failures(rows)) == missed


def test_not_finite_fails_first(checkpoints):
    checkpoint = checkpoints["attention"]
    data = corrupted(build(checkpoint), "/decoder/write/initial_canvas", np.nan)
    rows = compare(data, checkpoint, "decoder", 4)
    problems = {row.output: row.problem for row in rows}
    assert "not finite" in problems["image"]
    assert problems["write_attention"] == ""


def test_a_model_that_overflows_is_named_as_such(checkpoints):
    weights = dict(checkpoints["attention"].weights)
    weights["write_attention.bias"] = torch.tensor([0.0, 0.0, 0.0, 0.0, -1e4])  # gamma 0: a division by zero
    broken = dataclasses.replace(checkpoints["attention"], weights=weights)
    with pytest.raises(DrawError, match="the model itself is broken"):
        export(broken).require_parity()


def test_gates_of_float32(checkpoints):
    gates = {
        row.output: (row.gate.atol, row.gate.rtol)
        for name, options in (
            ("attention", ExportOptions("scorer")),
            ("classifier", ExportOptions("classifier")),
        )
        for row in export(checkpoints[name], options).rows
    }
    assert gates["bound"] == (1e-3, 1e-5)
    assert gates["read_attention"] == gates["write_attention"] == (1e-4, 1e-4)
    assert gates["logits"] == (1e-4, 0.0)
    assert gates["probabilities"] == gates["reconstruction"] == (1e-5, 0.0)


def test_torchs_own_error_raises_the_gate(checkpoints):
    """Asked for the impossible, four times torch float32's own error is enough, and the file says how much."""
    exported = export(checkpoints["colour"], atol=1e-12)
    row = exported.rows[0]
    assert row.gate.atol == pytest.approx(4 * row.torch_error)
    assert exported.passed
    said = float(props(onnx.load_from_string(exported.data))["parity_atol"])
    worst = max(r.error for r in exported.rows if r.output in ("image", "canvases"))
    assert worst <= said < 10 * worst


@pytest.mark.parametrize(("output", "rtol"), [("logits", 0.0), ("glimpses", 1e-4), ("read_attention", 1e-4)])
def test_it_raises_every_gate_of_float32(output: str, rtol: float):
    """Some trained windows make much of a rounding, in PyTorch as well as here."""
    gate = gates.gate_of(output, "fp32", 1e-5, torch_error=3e-3)
    assert (gate.atol, gate.rtol) == (pytest.approx(1.2e-2), rtol)
    assert gates.gate_of(output, "fp32", 1e-5, torch_error=1e-6).atol == 1e-4
    assert gates.gate_of(output, "fp16", 2e-2, torch_error=9.0).atol == 5e-2


def test_cases_cover_batches_and_noises(checkpoints):
    labels = [label for label, _ in reference.cases(checkpoints["attention"], "decoder", 4)]
    assert labels == [f"batch {n}, {kind} noise" for n in (1, 2, 5) for kind in ("drawn", "zero", "+4", "-4")]
    _, feeds = next(iter(reference.cases(checkpoints["attention"], "scorer", 4)))
    assert {name: values.shape for name, values in feeds.items()} == {
        "image": (1, 1, 7, 10),
        "noise": (1, 4, 4),
    }
    assert set(np.unique(feeds["image"])) == {0.0, 1.0}


def test_before_a_file_is_refused_torchs_error_is_that_of_several_orders(checkpoints, monkeypatch):
    """One order of its sums may be near to float64 by chance; what does not miss is not looked at again."""
    checkpoint, seeds = checkpoints["attention"], []

    def rough(weights, seed):
        seeds.append(seed)
        return {name: value + 1e-4 * seed for name, value in weights.items()}

    monkeypatch.setattr(parity, "reordered", rough)
    data = build(checkpoint)
    assert failures(compare(data, checkpoint, "decoder", 4)) == []
    assert seeds == []
    wrong = corrupted(data, "/decoder/write/initial_canvas", 2e-4)
    (image,) = (row for row in compare(wrong, checkpoint, "decoder", 4) if row.output == "image")
    assert seeds == list(range(1, parity.ORDERS)) * reference.PARITY_CASES
    assert image.passed
    assert image.torch_error > 1e-5
    monkeypatch.setattr(parity, "ORDERS", 1)
    assert "image" in failures(compare(wrong, checkpoint, "decoder", 4))


def test_other_kernels_are_asked_for_the_same_products(monkeypatch):
    torch.manual_seed(0)
    x, weight, bias, planes = torch.randn(5, 40), torch.randn(7, 40), torch.randn(7), torch.randn(5, 40, 3)

    def products() -> list[torch.Tensor]:
        rows = x[:, None] @ planes
        linear = torch.nn.functional.linear(x, weight, bias)
        return [linear, x @ weight.T, rows, torch.baddbmm(rows, x[:, None], planes)]

    usual = products()
    with reference.OtherKernels():
        torch.testing.assert_close(products(), usual, rtol=1e-5, atol=1e-5)
    given: list[torch.Tensor] = []

    def product(*factors: torch.Tensor) -> None:
        given.append(factors[-1])

    monkeypatch.setattr(reference, "_PRODUCTS", {product})
    for right in (planes, weight.T):
        reference.OtherKernels().__torch_dispatch__(product, (), (x, right))
    assert [tensor.stride() for tensor in given] == [(120, 1, 40), (7, 1)]
    assert torch.equal(given[0], planes)
    assert torch.equal(given[1], weight.T)


def test_loading_is_timed_without_the_import_of_onnx_runtime(checkpoints, monkeypatch):
    """The first file's took ten times as long as the next one's."""
    done: list[str] = []
    clock = SimpleNamespace(perf_counter=lambda: done.append("clock") or float(len(done)))
    monkeypatch.setattr(exported_module, "time", clock)
    monkeypatch.setattr(exported_module, "import_onnxruntime", lambda: done.append("import"))
    assert export(checkpoints["attention"], check=False).load_seconds == 1.0
    assert done == ["import", "clock", "clock"]


def test_torchs_threads_are_given_back(checkpoints):
    torch.set_num_threads(2)
    try:
        export(checkpoints["attention"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_progress_is_told_of_every_case(checkpoints):
    calls = []
    export(checkpoints["attention"], advance=lambda: calls.append(1))
    assert len(calls) == reference.PARITY_CASES == 12


def test_another_arg_max_fails_even_within_the_gate(random_checkpoint):
    config = ClassifierConfig(1, 4, 4, time_steps=1, hidden_size=2, read_size=2, labels=("a", "b"))
    checkpoint: Checkpoint = random_checkpoint(config)
    checkpoint.weights["output.weight"].zero_()
    checkpoint.weights["output.bias"] = torch.tensor([1.0, 1.00005])
    assert failures(export(checkpoint).rows) == []
    data = corrupted(build(checkpoint), "/classifier/output/bias", 8e-5)
    rows = {r.output: r for r in compare(data, checkpoint, "classifier", 1)}
    assert "another class" in rows["logits"].problem


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph": "classifier"}, "needs a classifier checkpoint"),
        ({"graph": "encoder"}, "--graph must be"),
        ({"outputs": "all"}, "--outputs must be"),
        ({"recurrence": "gru"}, "--recurrence must be"),
        ({"dtype": "bf16"}, "--dtype must be"),
        ({"time_steps": 0}, "--time-steps must be"),
        ({"time_steps": 100_000}, "--time-steps must be"),
        ({"batch": 0}, "--batch must be"),
        ({"opset": 12}, "--opset must be"),
        ({"opset": 19}, "--opset must be"),
        ({"graph": "scorer", "recurrence": "lstm"}, "for the decoder"),
        ({"dtype": "fp16", "recurrence": "lstm"}, "fp16 is for --recurrence unrolled"),
    ],
    ids=str,
)
def test_bad_options_are_named(checkpoints, options, message):
    with pytest.raises(DrawError, match=message):
        build(checkpoints["attention"], ExportOptions(**options))


@pytest.mark.parametrize("options", [{"recurrence": "lstm"}, {"dtype": "int8"}], ids=str)
def test_a_learned_prior_has_no_lstm_operator(checkpoints, options):
    with pytest.raises(
        DrawError, match=r"(lstm|int8) makes one LSTM operator .* scales the next one's noise"
    ):
        build(checkpoints["prior"], ExportOptions(**options))


def test_weights_beyond_half_precision_are_refused(checkpoints):
    """Folding multiplies by up to half a picture: a thousandth of what float16 holds is much already."""
    weights = dict(checkpoints["attention"].weights)
    weights["decoder.bias_hh"] = weights["decoder.bias_hh"] + 1010
    with pytest.raises(DrawError, match=r"decoder\.bias_hh has a weight of 1\.01e\+03"):
        build(dataclasses.replace(checkpoints["attention"], weights=weights), ExportOptions(dtype="fp16"))
