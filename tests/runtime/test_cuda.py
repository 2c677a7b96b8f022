"""On an NVIDIA GPU with onnxruntime-gpu: `make test-gpu`. Everywhere else these skip with the reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler, Scorer
from draw_onnx.errors import DrawError
from draw_onnx.runtime.providers import CUDA, create_session, cuda_problem, import_onnxruntime

pytestmark = pytest.mark.cuda

# The gate that exported probabilities pass, on either provider.
ATOL = 1e-5


@pytest.fixture(scope="module", autouse=True)
def needs_cuda() -> None:
    try:
        reason = cuda_problem(import_onnxruntime())
    except DrawError as error:
        reason = str(error)
    if reason is not None:
        pytest.skip(f"no CUDA: {reason}")


def test_the_provider_is_really_active_without_tf32(fake: Path) -> None:
    session = create_session((fake / "decoder.onnx").read_bytes(), "cuda")
    assert session.get_providers()[0] == CUDA
    assert session.get_provider_options()[CUDA]["use_tf32"] == "0"


def test_auto_takes_the_gpu(fake: Path) -> None:
    assert Sampler(fake / "decoder.onnx").provider == "cuda"


@pytest.mark.parametrize(
    "name", ["decoder", "decoder-colour", "decoder-no-attention", "decoder-lean", "decoder-batch4"]
)
def test_the_same_pictures_as_on_the_cpu(fake: Path, name: str) -> None:
    cpu, cuda = (Sampler(fake / f"{name}.onnx", provider) for provider in ("cpu", "cuda"))
    a, b = cpu.sample(70, seed=11), cuda.sample(70, seed=11)
    np.testing.assert_allclose(b.images, a.images, rtol=0, atol=ATOL)
    assert np.array_equal(a.noise, b.noise)
    if a.canvases is not None and b.canvases is not None:
        np.testing.assert_allclose(b.canvases, a.canvases, rtol=0, atol=ATOL)
    if a.write_attention is not None and b.write_attention is not None:
        np.testing.assert_allclose(b.write_attention, a.write_attention, rtol=1e-4, atol=1e-4)


def test_batches_and_ranges_agree(fake: Path) -> None:
    sampler = Sampler(fake / "decoder.onnx", "cuda")
    whole = sampler.sample(40, seed=1).images
    for batch in (1, 3, 40):
        np.testing.assert_allclose(sampler.sample(40, seed=1, batch=batch).images, whole, rtol=0, atol=ATOL)
    np.testing.assert_allclose(sampler.sample(2, seed=1, start=30).images, whole[30:32], rtol=0, atol=ATOL)


def test_classifier_and_scorer(fake: Path) -> None:
    scenes = np.random.default_rng(0).random((9, 1, 20, 24))
    a, b = (Classifier(fake / "classifier.onnx", p)(scenes) for p in ("cpu", "cuda"))
    np.testing.assert_allclose(b.logits, a.logits, rtol=0, atol=1e-4)
    assert np.array_equal(a.classes, b.classes)
    images = np.random.default_rng(1).random((9, 1, 7, 6))
    a, b = (Scorer(fake / "scorer.onnx", p)(images, seed=3) for p in ("cpu", "cuda"))
    np.testing.assert_allclose(b.bound, a.bound, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(b.reconstruction, a.reconstruction, rtol=0, atol=ATOL)


def test_many_threads_one_session(fake: Path) -> None:
    sampler = Sampler(fake / "decoder.onnx", "cuda")
    expected = sampler.sample(20, seed=4).images
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(lambda _: sampler.sample(20, seed=4).images, range(16)):
            np.testing.assert_allclose(images, expected, rtol=0, atol=ATOL)


def test_draw_gen_says_where_it_ran(run, fake: Path, tmp_path: Path) -> None:
    got = run("gen", "--onnx", fake / "decoder.onnx", "--provider", "cuda", "--gif", tmp_path / "x.gif")
    assert got.code == 0, got.err
    assert "on CUDA" in got.err
