"""Where the hidden units of each LSTM stand among a model's weights."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """An LSTM by the names that its parts have in a model's ``state_dict``."""

    name: str
    initial_states: tuple[str, ...]  # [H] each
    readers: tuple[str, ...]  # matrices whose last H columns take its hidden state; a model has some of them


CELLS = (
    Cell(
        "encoder",
        ("initial_encoder_hidden", "initial_encoder_cell"),
        ("encoder.weight_hh", "mu.weight", "log_sigma.weight"),
    ),
    Cell(
        "decoder",
        ("initial_decoder_hidden", "initial_decoder_cell"),
        (
            "decoder.weight_hh",
            "encoder.weight_ih",
            "read_attention.weight",
            "write_attention.weight",
            "write_patch.weight",
            "write_canvas.weight",
            "prior.weight",
        ),
    ),
    Cell(
        "lstm",
        ("initial_hidden", "initial_cell"),
        ("lstm.weight_hh", "read_attention.weight", "output.weight"),
    ),
)
# Of a cell, four rows for each of its units: a gate's all together.
OF_UNITS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
