"""Models from bytes and from a zip, in threads and in other processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from draw_onnx import Classifier, Sampler, Scorer
from draw_onnx.errors import DrawError
from draw_onnx.runtime.session import OpenedModel, open_model, peek

ROOT = Path(__file__).resolve().parents[2]
KINDS: list[tuple[type[OpenedModel], str]] = [
    (Sampler, "decoder"),
    (Classifier, "classifier"),
    (Scorer, "scorer"),
]


@pytest.mark.parametrize(("kind", "name"), KINDS, ids=[name for _, name in KINDS])
def test_bytes_are_as_good_as_a_file(fake: Path, kind: type[OpenedModel], name: str) -> None:
    data = (fake / f"{name}.onnx").read_bytes()
    model = kind(data, "cpu", 1)
    assert model.metadata == kind(fake / f"{name}.onnx").metadata == peek(data)
    for bad in (b"", b"no model", data[:500]):
        with pytest.raises(DrawError, match=r"^the model is not an ONNX file"):
            kind(bad)


@pytest.mark.parametrize(("kind", "name"), KINDS, ids=[name for _, name in KINDS])
def test_pickled_they_open_again(
    fake: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[OpenedModel], name: str
) -> None:
    monkeypatch.chdir(fake)
    model = kind(f"{name}.onnx", "cpu", 3)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is kind
    assert (again.metadata, again.provider, again.threads) == (model.metadata, "cpu", 3)
    from_bytes = pickle.loads(pickle.dumps(kind((fake / f"{name}.onnx").read_bytes())))
    assert from_bytes.metadata == model.metadata


def test_a_packaged_name_travels_as_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickle.dumps(Sampler("mnist"))).metadata.dataset == "mnist"


def first_pixels(sampler: Sampler) -> bytes:
    return sampler.sample(3, seed=5).images.tobytes()


@pytest.mark.parametrize("how", ["spawn", "fork"])
def test_four_processes(fake: Path, how: str) -> None:
    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {how} here")
    sampler = Sampler(fake / "decoder.onnx", "cpu", 1)
    with multiprocessing.get_context(how).Pool(4) as pool:
        assert set(pool.map(first_pixels, [sampler] * 8, chunksize=1)) == {first_pixels(sampler)}


def test_thirty_two_threads(fake: Path) -> None:
    sampler, classifier = Sampler(fake / "decoder.onnx"), Classifier(fake / "classifier.onnx")
    shape = classifier.metadata.image_shape
    images = np.random.default_rng(0).random((5, *shape), np.float32)
    drawn, named = sampler.sample(5, seed=3).images, classifier(images).logits

    def both(k: int) -> bool:
        part = sampler.sample(2, seed=3, start=k % 4, batch=1 + k % 3).images
        same = np.array_equal(part, drawn[k % 4 : k % 4 + 2])
        return same and np.array_equal(classifier(images, batch=1 + k % 5).logits, named)

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(both, range(320)))


def test_from_a_zip(fake: Path, tmp_path: Path) -> None:
    """The package and a packaged model imported from one zip; what is unpacked is gone afterwards."""
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [*ROOT.glob("*.py"), *ROOT.glob("runtime/**/*.py"), *ROOT.glob("pretrained/*.py")]:
            file.write(path, Path("draw_onnx") / path.relative_to(ROOT))
        file.write(fake / "decoder.onnx", "draw_onnx/pretrained/inside.onnx")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    program = (
        "import draw_onnx, pickle; from draw_onnx import Sampler\n"
        f"assert draw_onnx.__file__.startswith({str(archive)!r})\n"
        "assert len(pickle.loads(pickle.dumps(Sampler('inside'))).sample(2).images) == 2"
    )
    environment = {**os.environ, "PYTHONPATH": str(archive), "TMPDIR": str(scratch)}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(scratch.iterdir()) == []


def test_texts_that_are_not_utf8(fake: Path) -> None:
    """Every place of a file where a letter is replaced by a byte that is none gives a model or one line."""
    data = (fake / "decoder.onnx").read_bytes()
    refused = 0
    for word in (b"image", b"noise", b"canvases", b"batch", b"draw.decoder", b"write_attention", b"MatMul"):
        position = data.find(word)
        while position >= 0:
            try:
                open_model(data[:position] + b"\xff" + data[position + 1 :], "draw.decoder", "cpu")
            except DrawError as error:
                refused += 1
                assert "\n" not in str(error)
            position = data.find(word, position + 1)
    assert refused > 20
