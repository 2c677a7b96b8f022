"""How far an output may be from torch's: the gates of the parity check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime.metadata import BOUND, CANVASES, GLIMPSES, IMAGE, LOGITS, READ_ATTENTION, WRITE_ATTENTION
from .options import Graph, Precision

_Array = NDArray[np.float64]

# An output may be off by this many times torch float32's own error, where that is more: the weights of some models make
# more of a rounding than others, and no float32 graph can be nearer to float64 than float32 is.
TORCH_FACTOR = 4.0


@dataclass(frozen=True)
class Gate:
    """|error| <= atol + rtol |reference| for every element."""

    atol: float
    rtol: float = 0.0

    @property
    def judges(self) -> bool:
        """Whether anything can miss it."""
        return self.atol < float("inf")

    def __str__(self) -> str:
        if not self.judges:
            return "-"
        return _short(self.atol) + (f"+{_short(self.rtol)}·|ref|" if self.rtol else "")

    def need(self, got: _Array, expected: _Array) -> float:
        """What one input needs: a number in which ``atol``, found only after all inputs, has no part."""
        # |error| <= atol + rtol |reference| everywhere: the least such atol.
        return float((abs(got - expected) - self.rtol * abs(expected)).max())

    def of_all(self, needs: Sequence[float], pictures: Sequence[int]) -> float:
        """The least ``atol``, from 0 up, that all inputs pass with; ``pictures`` is how many each of them has."""
        return max([0.0, *needs])

    def missed(self, error: float, need: float) -> str:
        """What to say of an output that needs more."""
        return f"differs by {error:.2e}, and the gate is {self}"


class PictureGate(Gate):
    """mean |error| <= atol over the pixels of every picture […, C, H, W].

    Eight bits cannot keep every pixel: where a stroke moves by a hundredth of a pixel, the pixels at its edge
    change by more than the rest of the picture together.
    """

    def __str__(self) -> str:
        return f"{_short(self.atol)} a picture"

    def need(self, got: _Array, expected: _Array) -> float:
        return float(abs(got - expected).mean((-3, -2, -1)).max())

    def missed(self, error: float, need: float) -> str:
        return f"has a picture that differs by {need:.2e} on average, and the gate is {_short(self.atol)}"


class AnswerGate(Gate):
    """The share of pictures [batch, classes] of which another class is named is at most atol."""

    def __str__(self) -> str:
        return f"{100 * self.atol:g} % of answers"

    def need(self, got: _Array, expected: _Array) -> float:
        return float(np.count_nonzero(~same_answers(got, expected)))

    def of_all(self, needs: Sequence[float], pictures: Sequence[int]) -> float:
        return sum(needs) / max(sum(pictures), 1)

    def missed(self, error: float, need: float) -> str:
        return f"names another class for {100 * need:.3g} % of the pictures, and the gate is {100 * self.atol:g} %"


def same_answers(got: _Array, expected: _Array) -> NDArray[np.bool_]:
    """[batch]: the same arg-max; a tie of the reference may fall either way."""
    chosen = np.take_along_axis(expected, got.argmax(1)[:, None], 1)[:, 0]
    return chosen == expected.max(1)


def default_atol(dtype: Precision, graph: Graph) -> float:
    """The gate without ``--atol``: of probabilities, 2e-2 being five grey levels of 255; of answers for int8 classifiers."""
    if dtype == "int8" and graph == "classifier":
        return 1e-2
    return 1e-5 if dtype == "fp32" else 2e-2


# Outputs that are not probabilities. float16 carries 11 bits, which T steps of recurrence wear down.
_ATTENTION = {"fp32": Gate(1e-4, 1e-4), "fp16": Gate(5e-2, 5e-2)}
_GATES: dict[str, dict[str, Gate]] = {
    READ_ATTENTION: _ATTENTION,
    WRITE_ATTENTION: _ATTENTION,
    GLIMPSES: _ATTENTION,  # gamma scales them: not confined to [0, 1]
    LOGITS: {"fp32": Gate(1e-4), "fp16": Gate(5e-2)},
    BOUND: {"fp32": Gate(1e-3, 1e-5), "fp16": Gate(1e-1, 1e-2)},
}


def gate_of(output: str, dtype: Precision, atol: float, torch_error: float) -> Gate:
    """The gate of an output; ``torch_error`` is torch float32's own."""
    if dtype == "int8":
        if output in (IMAGE, CANVASES):
            return PictureGate(atol)
        return AnswerGate(atol) if output == LOGITS else Gate(float("inf"))
    gate = _GATES[output][dtype] if output in _GATES else Gate(atol)
    return Gate(max(gate.atol, TORCH_FACTOR * torch_error), gate.rtol) if dtype == "fp32" else gate


def asked_for(output: str, dtype: Precision) -> bool:
    """Whether ``--atol`` is the gate of ``output``."""
    return dtype == "int8" or output not in _GATES


def _short(value: float) -> str:
    """1e-5, 3.7e-5: two digits at most."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"
