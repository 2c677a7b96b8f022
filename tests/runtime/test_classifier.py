"""Classifier on the fake models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from draw_onnx import Classifier
from draw_onnx.errors import DrawError
from draw_onnx.runtime.pictures.reading import check_images

from .conftest import SCENES

RNG = np.random.default_rng(3)


def test_shapes_and_identities(classifier: Classifier) -> None:
    got = classifier(SCENES)
    assert got.logits.shape == got.probabilities.shape == (11, 3)
    assert got.glimpses is not None
    assert got.read_attention is not None
    assert got.glimpses.shape == (11, 3, 1, 4, 4)
    assert got.read_attention.shape == (11, 3, 5)
    np.testing.assert_allclose(got.probabilities.sum(1), 1, atol=1e-6)
    exponentials = np.exp(got.logits.astype(np.float64))
    np.testing.assert_allclose(
        got.probabilities, exponentials / exponentials.sum(1, keepdims=True), atol=1e-6
    )
    assert got.answers == [("circle", "cross", "line")[k] for k in got.classes]
    np.testing.assert_array_equal(got.glimpses[:, 0, 0], SCENES[:, :4, :4] / np.float32(255))


def test_neither_batch_nor_order_changes_an_answer(classifier: Classifier, fake: Path) -> None:
    whole = classifier(SCENES).logits
    for batch in (1, 2, 4, 11):
        assert np.array_equal(classifier(SCENES, batch=batch).logits, whole)
    assert np.array_equal(classifier(SCENES[::-1]).logits, whole[::-1])
    assert np.array_equal(Classifier(fake / "classifier-batch4.onnx", "cpu")(SCENES).logits, whole)
    assert np.array_equal(Classifier(fake / "classifier-lean.onnx", "cpu")(SCENES).logits, whole)


def test_many_threads_one_classifier(classifier: Classifier) -> None:
    expected = classifier(SCENES).logits
    with ThreadPoolExecutor(6) as pool:
        assert all(
            np.array_equal(got.logits, expected) for got in pool.map(lambda _: classifier(SCENES), range(12))
        )


def test_colour(fake: Path) -> None:
    model = Classifier(fake / "classifier-colour.onnx", "cpu")
    got = model(RNG.random((2, 3, 20, 24)))
    assert got.glimpses is not None
    assert got.glimpses.shape == (2, 3, 3, 4, 4)
    with pytest.raises(DrawError, match=r"shape \[n, 3, 20, 24\], not \[11, 20, 24\]"):
        model(SCENES)


def test_a_stream_takes_what_the_call_takes(classifier: Classifier) -> None:
    """Bytes are divided by 255, and lists are arrays."""
    expected = classifier(SCENES).logits
    bytes_, floats = [SCENES[:4], SCENES[4:]], SCENES / 255
    for batches in (bytes_, [floats[:4, None], floats[4:]], [floats[:4].tolist(), floats[4:].tolist()]):
        parts = list(classifier.stream(batches, steps=False))
        assert [len(part) for part in parts] == [4, 7]
        assert np.array_equal(np.concatenate([part.logits for part in parts]), expected)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.full((2, 20, 24), 2.0), "from 0 to 1"),
        (np.full((2, 20, 24), np.nan, np.float32), "from 0 to 1"),
        (np.full((2, 20, 24), 1e39), "from 0 to 1"),
        (SCENES[:, :0], r"shape \[n, 1, 20, 24\], not \[11, 0, 24\]"),
        (SCENES[:0], r"n at least 1, not \[0, 1, 20, 24\]"),
        ([[1, 2], [3]], "one array"),
        (SCENES.astype(str), "must be numbers"),
    ],
)
def test_a_stream_refuses_what_the_call_refuses(
    classifier: Classifier, batch: Any, words: str, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(DrawError, match=words):
        classifier(batch)
    parts = classifier.stream([SCENES, batch])
    assert len(next(parts)) == len(SCENES)  # what came before it is answered
    with pytest.raises(DrawError, match=words):
        next(parts)
    assert not recwarn.list


def test_the_callers_pictures_are_only_read(classifier: Classifier) -> None:
    images = np.ascontiguousarray(SCENES[:, None] / np.float32(255))
    before = images.copy()
    images.flags.writeable = False
    classifier(images, batch=4)
    assert len(list(classifier.stream([images]))) == 1
    assert np.array_equal(images, before)
    assert np.shares_memory(check_images(images, (1, 20, 24)), images)
