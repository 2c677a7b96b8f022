"""Large batches and large pictures: what a check, a measurement and a file take for them stays bounded."""

from __future__ import annotations

import weakref

import numpy as np
import onnx
import pytest

from draw_onnx.export import ExportOptions, build, builder, export, parity, reference
from draw_onnx.models.config import ClassifierConfig, DrawConfig


def test_pictures_at_once_are_fewer_the_larger_they_are():
    """A forged checkpoint of a kilobyte declares the first; the others are of the presets' kind."""
    gigabyte = ClassifierConfig(1, 16384, 16384, time_steps=1, hidden_size=1, read_size=1)
    assert reference.pictures_at_once(gigabyte, 1) == 1
    assert reference.pictures_at_once(ClassifierConfig(), 8) > 1000
    assert reference.pictures_at_once(DrawConfig(1, 28, 28), 64) > 1000
    assert reference.pictures_at_once(DrawConfig(3, 54, 54), 64) > 64
    assert reference.pictures_at_once(DrawConfig(1, 28, 28), 4096) == 20


@pytest.mark.parametrize("check", [True, False])
def test_large_pictures_are_compared_and_measured_fewer_at_once(checkpoints, monkeypatch, check):
    checkpoint = checkpoints["classifier"]  # of 88 pixels, and 36 in its glimpses
    monkeypatch.setattr(reference, "_MOST", 4 * 88)
    seen = []
    monkeypatch.setattr(parity, "reference", spy(seen))
    exported = export(checkpoint, check=check)
    assert list(exported.run_seconds) == [1, 4]
    assert sorted(set(seen)) == ([1, 2, 4] if check else [])
    monkeypatch.setattr(reference, "_MOST", 1)
    assert list(export(checkpoint, check=check).run_seconds) == [1]


def spy(seen: list[int]):
    """The reference, which writes down how many pictures it is asked for."""

    def asked(model, graph, feeds, time_steps):
        seen.append(len(next(iter(feeds.values()))))
        return reference.reference(model, graph, feeds, time_steps)

    return asked


@pytest.mark.parametrize(("batch", "looked_at"), [(5, 5), (64, 64), (200, 64)])
def test_of_a_large_batch_some_pictures_are_looked_at(checkpoints, monkeypatch, batch, looked_at):
    seen: list[int] = []
    monkeypatch.setattr(parity, "reference", spy(seen))
    checkpoint = checkpoints["no attention"]
    run = parity.runner(parity.open_session(build(checkpoint, ExportOptions(batch=batch))))
    rows = parity.compare(run, checkpoint, "decoder", 4, batch=batch)
    assert [row.passed for row in rows] == [True, True]
    assert set(seen) == {looked_at}

    def broken(picture: int, value: float):
        def changed(feeds):
            outputs = {name: values.copy() for name, values in run(feeds).items()}
            outputs["image"][picture].flat[3] = value
            return outputs

        return parity.compare(changed, checkpoint, "decoder", 4, batch=batch)[0]

    assert not broken(0, 5.0).passed
    assert not broken(-1, 5.0).passed
    # What is no number is found in each.
    assert all("is not finite" in broken(picture, np.nan).problem for picture in range(5))


def test_no_more_than_two_inputs_are_held_at_once(checkpoints):
    """Of thousands of pictures the outputs of all would be tens of gigabytes."""
    checkpoint, held, most = checkpoints["colour"], [], []
    run = parity.runner(parity.open_session(build(checkpoint)))

    def watched(feeds):
        outputs = run(feeds)
        held.extend(weakref.ref(values) for values in (*feeds.values(), *outputs.values()))
        most.append(sum(array() is not None for array in held) / (len(feeds) + len(outputs)))
        return outputs

    parity.compare(watched, checkpoint, "decoder", 3)
    assert len(most) == reference.PARITY_CASES
    assert max(most) <= 2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("attention", {"recurrence": "lstm"}),
        ("attention", {"dtype": "int8"}),
        ("attention", {"batch": 40}),  # whose steps are joined
        ("attention", {"graph": "scorer"}),
        ("classifier", {"dtype": "fp16"}),
    ],
    ids=str,
)
def test_large_batches_store_the_first_states_once(checkpoints, monkeypatch, run_file, name, options):
    options = {"batch": 6, **options}
    repeated = build(checkpoints[name], ExportOptions(**options))
    monkeypatch.setattr(builder, "_REPEATED", 8)
    model = onnx.load_from_string(data := build(checkpoints[name], ExportOptions(**options)))
    assert "Expand" in {node.op_type for node in model.graph.node}
    assert "Shape" not in {node.op_type for node in model.graph.node}
    assert options["batch"] not in {size for tensor in model.graph.initializer for size in tensor.dims[:-1]}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for value in inferred.graph.value_info:
        assert all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim), value.name
    export(checkpoints[name], ExportOptions(**options)).require_parity()
    feeds = {}
    for value in model.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        feeds[value.name] = np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)
    once, before = run_file(data, **feeds), run_file(repeated, **feeds)
    for output, values in before.items():
        np.testing.assert_array_equal(once[output], values, err_msg=output)


def test_a_file_for_thousands_is_no_larger(checkpoints):
    """And one for hundreds stays as it was, without a node more."""
    sizes = [
        len(build(checkpoints["attention"], ExportOptions(batch=n, recurrence="lstm"))) for n in (1, 60_000)
    ]
    assert sizes[1] < sizes[0] + 1000
    static = onnx.load_from_string(build(checkpoints["attention"], ExportOptions(batch=256)))
    assert "Expand" not in {node.op_type for node in static.graph.node}
