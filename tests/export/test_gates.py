"""What is kept of an input for its gate: one number, with the verdict that the gate's definition gives."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from draw_onnx.export import ExportOptions, build, parity
from draw_onnx.export.gates import AnswerGate, Gate, PictureGate
from draw_onnx.export.options import Graph

SIZES = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-6, 1.0, 100.0])
OFF = st.floats(-1.0, 1.0) | st.sampled_from([0.0, 1e-5, -1e-4])
GATES = [Gate(1e-3), Gate(1e-3, 1e-2), Gate(1e-9, 1.0), Gate(1e-4, 1e-4), Gate(float("inf"))]


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(got, expected) of a few inputs, of one to three pictures each."""
    made = []
    for count in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        expected = draw(arrays(np.float64, (count, 1, 2, 3), elements=SIZES))
        made.append((expected + draw(arrays(np.float64, expected.shape, elements=OFF)), expected))
    return made


def need(gate: Gate, inputs: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float:
    """As the parity check has it: a number an input, with a gate whose atol is not known yet, and then all of them."""
    early = dataclasses.replace(gate, atol=1.0)
    return gate.of_all([early.need(*pair) for pair in inputs], [len(got) for got, _ in inputs])


@pytest.mark.parametrize("gate", GATES, ids=repr)
@given(inputs=pairs())
@example(inputs=[(np.full((1, 1, 1, 1), 2.0), np.full((1, 1, 1, 1), 2.0))])  # needs less than no atol
def test_verdicts_are_those_of_the_definition(gate: Gate, inputs):
    """|error| <= atol + rtol |reference| for every element, here as the largest ratio of the two sides."""
    got = need(gate, inputs)
    assert got >= 0.0
    for atol in (gate.atol, 0.1, 10.0):  # torch's own error raises it after the comparison
        ratio = max(float((abs(a - b) / (atol + gate.rtol * abs(b))).max()) for a, b in inputs)
        if abs(ratio - 1.0) > 1e-9:  # nearer, roundings decide on both sides
            assert (got / atol <= 1.0) == (ratio <= 1.0)
        if not gate.rtol:
            assert got / atol == ratio  # to the bit


@given(inputs=pairs())
def test_a_picture_gate_needs_its_worst_picture(inputs):
    worst = max(float(abs(a - b).mean((-3, -2, -1)).max()) for a, b in inputs)
    assert need(PictureGate(0.02), inputs) == worst


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=70), min_size=1, max_size=4))
def test_an_answer_gate_needs_the_share_of_all_pictures(wrong: list[list[bool]]):
    inputs = []
    for row in wrong:
        expected = np.tile([[1.0, 0.0]], (len(row), 1))
        inputs.append((np.where(np.array(row)[:, None], expected[:, ::-1], expected), expected))
    share = Fraction(sum(map(sum, wrong)), sum(map(len, wrong)))
    assert need(AnswerGate(0.01), inputs) == float(share)


def test_of_an_input_numbers_are_kept_and_no_array(checkpoints, monkeypatch):
    """However large it is."""
    seen: list[parity._Compared] = []
    row = parity._row

    def watched(name, inputs, *rest):
        seen.extend(inputs)
        return row(name, inputs, *rest)

    monkeypatch.setattr(parity, "_row", watched)
    graphs: dict[str, Graph] = {"attention": "scorer", "classifier": "classifier"}
    for name, graph in graphs.items():
        checkpoint = checkpoints[name]
        run = parity.runner(parity.open_session(build(checkpoint, ExportOptions(graph))))
        parity.compare(run, checkpoint, graph, 4)
    assert seen
    assert {type(value) for one in seen for value in vars(one).values()} == {str, float, int}


@pytest.mark.parametrize("torch_error", [np.inf, np.nan])
def test_where_torch_overflows_the_gate_stays(torch_error: float):
    """Its error says nothing then, and times four it would let anything pass."""
    row = parity._row("image", [parity._Compared("", 0.5, torch_error, 0.5, 1)], "fp32", 1e-5)
    assert (row.gate.atol, row.passed) == (1e-5, False)


def test_another_shape_than_torchs_is_a_problem():
    got, wanted = np.zeros((2, 1, 3), np.float32), np.zeros((2, 1, 1))
    compared = parity._compared("batch 2", "image", "fp32", got, wanted.shape, wanted, wanted)
    assert compared.problem == "has the shape (2, 1, 3), not (2, 1, 1) (batch 2)"
