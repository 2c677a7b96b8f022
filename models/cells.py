"""Where the hidden units of each LSTM stand among a model's weights."""

from __future__ import annotations

# A cell, what it starts from, and the matrices whose last columns take its hidden state.
CELLS = (
    (
        "encoder",
        ("initial_encoder_hidden", "initial_encoder_cell"),
        ("encoder.weight_hh", "mu.weight", "log_sigma.weight"),
    ),
    (
        "decoder",
        ("initial_decoder_hidden", "initial_decoder_cell"),
        (
            *("decoder.weight_hh", "encoder.weight_ih", "read_attention.weight", "write_attention.weight"),
            *("write_patch.weight", "write_canvas.weight", "prior.weight"),
        ),
    ),
    (
        "lstm",
        ("initial_hidden", "initial_cell"),
        ("lstm.weight_hh", "read_attention.weight", "output.weight"),
    ),
)
# Of a cell, four rows for each of its units: a gate's all together.
OF_UNITS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
