"""Picture k of a seed is the same bits, whatever else is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler
from draw_onnx.errors import DrawError
from draw_onnx.runtime.batches import map_in_order
from draw_onnx.runtime.noise import noise


@pytest.fixture(
    scope="module", params=["decoder", "decoder-colour", "decoder-no-attention", "decoder-batch4"]
)
def sampler(request: pytest.FixtureRequest, fake: Path) -> Sampler:
    return Sampler(fake / f"{request.param}.onnx", provider="cpu", threads=2)


def test_shapes_and_identities(sampler: Sampler) -> None:
    m = sampler.metadata
    got = sampler.sample(5, seed=3, start=2)
    assert got.images.shape == (5, *m.image_shape)
    assert got.noise.shape == (5, m.time_steps, m.latent_size)
    assert got.canvases is not None
    assert got.canvases.shape == (5, m.time_steps, *m.image_shape)
    assert np.array_equal(got.canvases[:, -1], got.images)
    assert (got.write_attention is not None) == m.attention
    assert np.array_equal(got.noise, noise(3, 2, 5, m.time_steps, m.latent_size))
    assert got.images.dtype == np.float32
    assert 0 <= got.images.min() < got.images.max() <= 1
    assert (got.seed, got.start, len(got)) == (3, 2, 5)


def test_neither_batch_nor_range_changes_a_bit(sampler: Sampler) -> None:
    whole = sampler.sample(23, seed=2**64 - 1)
    batches = [4] if sampler._model.fixed_batch else [1, 2, 3, 7, 22, 23, 64]
    for batch in batches:
        part = sampler.sample(23, seed=2**64 - 1, batch=batch)
        assert np.array_equal(part.images, whole.images), batch
        assert np.array_equal(part.canvases, whole.canvases), batch  # type: ignore[arg-type]
    for start in range(23):
        one = sampler.sample(1, seed=2**64 - 1, start=start)
        assert np.array_equal(one.images[0], whole.images[start]), start
    assert np.array_equal(sampler.sample(9, seed=2**64 - 1, start=11).images, whole.images[11:20])


@pytest.mark.parametrize("noise", [[[1.0], [2.0, 3.0]], "noise", [[[1j]]], None, [[[True]]]])
def test_noise_that_is_no_array_of_numbers(sampler: Sampler, noise: Any) -> None:
    with pytest.raises(DrawError, match="noise must be numbers in one array"):
        sampler.sample_noise(noise)


def test_counts_are_whole_numbers(fake: Path) -> None:
    for threads in ("2", 1.5, 0):
        with pytest.raises(DrawError, match="number of threads must be"):
            Sampler(fake / "decoder.onnx", "cpu", threads=threads)  # type: ignore[arg-type]
    sampler = Sampler(fake / "decoder.onnx", "cpu")
    for batch in ("2", 2.0, 0):
        with pytest.raises(DrawError, match="batch size must be"):
            sampler.sample(1, batch=batch)  # type: ignore[arg-type]


def test_the_last_pictures_there_are(sampler: Sampler) -> None:
    assert sampler.sample(2, start=2**64 - 2).images.shape[0] == 2
    with pytest.raises(DrawError, match="past"):
        sampler.sample(2, start=2**64 - 1)


def test_numbers_may_be_numpys(sampler: Sampler) -> None:
    """Whose own sums overflow near 2^64."""
    last = sampler.sample(3, 7, 2**64 - 3).images
    for n, start in (
        (np.int64(3), 2**64 - 3),
        (3, np.uint64(2**64 - 3)),
        (np.uint8(3), np.uint64(2**64 - 3)),
    ):
        assert np.array_equal(sampler.sample(n, 7, start).images, last)
    with pytest.raises(DrawError, match="whole number"):
        sampler.sample(2.5, 7)  # pyright: ignore[reportArgumentType]


def test_paths_that_no_file_can_have(fake: Path) -> None:
    with pytest.raises(DrawError, match="cannot read x"):
        Sampler("x" * 5000)
    with pytest.raises(DrawError, match="cannot read x"):
        Classifier(fake / "classifier.onnx", "cpu").prepare("x" * 5000)


def test_stream_is_sample(sampler: Sampler) -> None:
    parts = list(sampler.stream(10, seed=4, start=1, batch=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert [part.start for part in parts] == [1, 5, 9]
    assert np.array_equal(
        np.concatenate([p.images for p in parts]), sampler.sample(10, seed=4, start=1).images
    )


def test_own_noise(sampler: Sampler) -> None:
    m = sampler.metadata
    own = noise(9, 0, 6, m.time_steps, m.latent_size)
    got = sampler.sample_noise(own)
    assert np.array_equal(got.images, sampler.sample(6, seed=9).images)
    assert (got.seed, got.temperature) == (None, None)
    with pytest.raises(DrawError, match="must have shape"):
        sampler.sample_noise(own[0])
    with pytest.raises(DrawError, match="must have shape"):
        sampler.sample_noise(own[:0])
    for bad in (np.nan, np.inf):
        own[0, 0, 0] = bad
        with pytest.raises(DrawError, match="NaN or infinity"):
            sampler.sample_noise(own)
    assert np.isfinite(got.noise).all()  # which stays what went in


def test_noise_beyond_float32(sampler: Sampler, recwarn: pytest.WarningsRecorder) -> None:
    """NumPy would say it first."""
    own = np.full((1, sampler.metadata.time_steps, sampler.metadata.latent_size), 1e39)
    with pytest.raises(DrawError, match="NaN or infinity"):
        sampler.sample_noise(own)
    assert not recwarn.list


@pytest.mark.parametrize("temperature", [0, 0.7, 1, np.float32(1.25), 10])
def test_temperature_multiplies_the_noise(sampler: Sampler, temperature: float) -> None:
    m = sampler.metadata
    expected = np.float32(temperature) * noise(2, 1, 5, m.time_steps, m.latent_size)
    got = sampler.sample(5, seed=2, start=1, temperature=temperature)
    assert np.array_equal(got.noise, expected)
    assert got.temperature == temperature
    assert got.noise.dtype == np.float32
    assert np.array_equal(got.images, sampler.sample_noise(expected).images)
    parts = [part.images for part in sampler.stream(5, 2, 1, temperature=temperature)]
    assert np.array_equal(np.concatenate(parts), got.images)
    plain = sampler.sample(5, seed=2, start=1).images
    assert np.array_equal(got.images, plain) == (temperature == 1)
    if temperature == 0:
        assert (got.images == got.images[:1]).all()


@pytest.mark.parametrize(
    "temperature", [-0.1, 10.1, np.nan, np.inf, 1e300, 10**400, None, "warm", [1.0, 2.0]]
)
def test_temperatures_that_are_none(sampler: Sampler, temperature: Any) -> None:
    with pytest.raises(DrawError, match="the temperature must be"):
        sampler.sample(1, temperature=temperature)


def test_without_steps_memory_is_the_pictures(sampler: Sampler) -> None:
    got = sampler.sample(3, steps=False)
    assert got.canvases is None
    assert got.write_attention is None
    assert np.array_equal(got.images, sampler.sample(3).images)


def test_many_threads_one_sampler(sampler: Sampler) -> None:
    expected = [sampler.sample(3, seed=seed).images for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            got = list(pool.map(lambda seed: sampler.sample(3, seed=seed).images, range(8)))
            assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_threads_change_nothing(fake: Path) -> None:
    results = [
        Sampler(fake / "decoder.onnx", "cpu", threads).sample(50, batch=7).images for threads in (1, 2, 5)
    ]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_two_processes_at_once_agree(fake: Path) -> None:
    code = (
        "import sys, hashlib; from draw_onnx import Sampler;"
        "print(hashlib.sha256(Sampler(sys.argv[1], 'cpu').sample(40, seed=6).images.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(fake / "decoder.onnx")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    hashes = [process.communicate(timeout=120)[0] for process in processes]
    assert hashes[0] == hashes[1] != ""


def test_a_lean_file_has_no_steps(fake: Path) -> None:
    lean = Sampler(fake / "decoder-lean.onnx", "cpu")
    assert not lean.has_steps
    got = lean.sample(4, seed=1)
    assert got.canvases is None
    assert np.array_equal(got.images, Sampler(fake / "decoder.onnx", "cpu").sample(4, seed=1).images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "at least 1"),
        ({"n": -3}, "at least 1"),
        ({"n": 1, "seed": -1}, "seed must be between"),
        ({"n": 1, "seed": 2**64}, "seed must be between"),
        ({"n": 1, "start": -1}, "start must be between"),
        ({"n": 1, "batch": 0}, "batch size must be at least 1"),
    ],
)
def test_numbers_out_of_range(fake: Path, arguments: dict[str, Any], message: str) -> None:
    sampler = Sampler(fake / "decoder.onnx", "cpu")
    with pytest.raises(DrawError, match=message):
        sampler.sample(**arguments)
    with pytest.raises(DrawError, match=message):
        sampler.stream(**arguments)  # said at the call, not at the first batch


def test_a_fixed_batch_says_so(fake: Path) -> None:
    with pytest.raises(DrawError, match="exported for batches of 4"):
        Sampler(fake / "decoder-batch4.onnx", "cpu").sample(8, batch=8)


def test_weights_that_are_not_numbers_are_noticed(fake: Path, tmp_path: Path) -> None:
    """A file whose initial canvas, -2 in the fake, is NaN."""
    data = (fake / "decoder.onnx").read_bytes()
    minus_two, nan = np.float32(-2).tobytes(), np.float32(np.nan).tobytes()
    assert data.count(minus_two) == 1
    (tmp_path / "x.onnx").write_bytes(data.replace(minus_two, nan))
    with pytest.raises(DrawError, match="its image is not finite"):
        Sampler(tmp_path / "x.onnx", "cpu").sample(3)


def test_unknown_provider_and_threads(fake: Path) -> None:
    with pytest.raises(DrawError, match="unknown provider 'tpu'"):
        Sampler(fake / "decoder.onnx", provider="tpu")
    with pytest.raises(DrawError, match="threads must be at least 1"):
        Sampler(fake / "decoder.onnx", "cpu", threads=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_map_in_order_runs_ahead_by_little(threads: int) -> None:
    """Results in order, and the source is asked for no more than can be in flight."""
    asked = []

    def source() -> Iterator[int]:
        for i in range(50):
            asked.append(i)
            yield i

    for index, result in enumerate(map_in_order(lambda i: i * i, source(), threads)):
        assert result == index * index
        assert len(asked) <= index + 1 + threads


def test_map_in_order_hands_errors_on() -> None:
    def fail(i: int) -> int:
        if i == 3:
            raise DrawError("three")
        return i

    with pytest.raises(DrawError, match="three"):
        list(map_in_order(fail, range(10), 2))


def test_results_can_be_kept_in_sets(fake: Path) -> None:
    """By what they are: arrays have no one answer to whether they are equal."""
    sampler = Sampler(fake / "decoder.onnx")
    one, two = sampler.sample(2), sampler.sample(2)
    assert one == one
    assert one != two
    assert len({one, two, one}) == 2
