"""The line by which ports are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Sampler
from draw_onnx.errors import DrawError
from draw_onnx.runtime.check_line import CheckLine, fnv1a64
from draw_onnx.runtime.noise import raw

# Pictures 2 .. 7 of seed 7. The numbers are for ports to hold against: docs/embedding.md has them too.
HASH, FIRST = "8c3c93831bc510bf", (0.127148, 0.144127, 0.135340, 0.121607)


def _line(sampler: Sampler, batch: int | None = None) -> str:
    line = CheckLine()
    for part in sampler.stream(6, seed=7, start=2, batch=batch):
        line.add(part)
    return str(line)


@pytest.mark.parametrize(("name", "mean"), [("decoder", 0.295670), ("decoder-colour", 0.206344)])
def test_the_numbers_are_what_they_always_were(fake: Path, name: str, mean: float) -> None:
    word, digest, *numbers = _line(Sampler(fake / f"{name}.onnx", "cpu")).split()
    assert (word, digest) == ("check", HASH)
    assert [float(n) for n in numbers] == pytest.approx([mean, *FIRST], abs=2e-6)


def test_the_batch_does_not_matter(fake: Path) -> None:
    sampler = Sampler(fake / "decoder.onnx", "cpu")
    lines = {_line(sampler, batch) for batch in (1, 4, 6, None)}
    assert len(lines) == 1


def test_it_is_about_the_integers_of_these_pictures(fake: Path) -> None:
    """T·Z = 6, so the integers are numbers 2·2·6 .. 2·8·6 - 1; lowest byte first, one after the other."""
    sampler = Sampler(fake / "decoder.onnx", "cpu")
    assert f"{fnv1a64(raw(7, np.arange(24, 96, dtype=np.uint64))):016x}" == HASH
    assert _line(sampler).split()[1] == HASH


def test_the_hash_is_fnv1a64() -> None:
    """Of nothing: the offset basis. Of eight bytes: worked out from the definition."""
    assert fnv1a64(np.array([], np.uint64)) == 0xCBF29CE484222325
    expected = 0xCBF29CE484222325
    for byte in b"splitmix":
        expected = (expected ^ byte) * 0x100000001B3 % 2**64
    assert fnv1a64(np.frombuffer(b"splitmix", "<u8").astype(np.uint64)) == expected


def test_noise_of_ones_own_has_no_line(fake: Path) -> None:
    sampler = Sampler(fake / "decoder.onnx", "cpu")
    with pytest.raises(DrawError, match="of a seed"):
        CheckLine().add(sampler.sample_noise(np.zeros((1, 3, 2))))


def test_the_command_prints_it_alone(run, fake: Path) -> None:
    got = run("gen", "--onnx", fake / "decoder.onnx", "-n", 6, "--seed", 7, "--start", 2, "--check")
    assert got.code == 0
    assert got.out == _line(Sampler(fake / "decoder.onnx", "cpu")) + "\n"
