"""Shared fixtures. Data sets are looked for in $DRAW_DATA, then in ../shared/data beside the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
TINY = ("--hidden", 8, "--time-steps", 2, "--latent", 2, "--batch-size", 20, "--threads", 1)  # for draw-train

# The same examples every time, however long one takes; every example may write into the same tmp_path.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("tests")


class Ran(NamedTuple):
    """What a program answered."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """(main, *arguments) -> what the program of that ``main`` answers, run in this process."""

    def run(main: Callable[[], None], *arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capsys.readouterr()  # of what ran before
        with pytest.raises(SystemExit) as stop:
            main()
        code = stop.value.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def script() -> Callable[[str], str]:
    """(name) -> where an installed program is."""

    def find(name: str) -> str:
        found = shutil.which(name, path=str(Path(sys.executable).parent))
        assert found is not None, f"{name} is not installed"
        return found

    return find


@pytest.fixture(scope="session")
def repository_files() -> list[str]:
    """Names of the files that git tracks or would add; skips where this is no checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    return [name for name in listed.stdout.rstrip("\0").split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def fake() -> Path:
    """Folder of the fake models, see make_fake_models.py there."""
    return ROOT / "tests" / "fake"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the reference vectors."""
    return GOLDEN


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Root of the real data sets; skips where there is none."""
    for candidate in (os.environ.get("DRAW_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no real data: set DRAW_DATA to the folder that holds mnist/, binarized_mnist/, ...")


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """SIGHUP as it comes: under nohup the tests, and what they start, would never hear it."""
    number = getattr(signal, "SIGHUP", signal.SIGTERM)
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prepared pictures of tests do not go to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def start_training(script: Callable[[str], str]) -> Callable[..., subprocess.Popen[str]]:
    """draw-train in a process of its own, on one thread; ``until`` waits for a file that it writes."""

    def start(*arguments: object, until: Path | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [script("draw-train"), *map(str, arguments)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        deadline = time.monotonic() + 120
        while until is not None and not until.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    return start


@pytest.fixture(scope="session")
def whole_run(start_training: Callable[..., subprocess.Popen[str]]) -> Callable[..., Path]:
    """(folder, *options) -> the folder, with a run of draw-train that came to its end."""

    def train(folder: Path, *options: object) -> Path:
        process = start_training("--out", folder, *options)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        return folder

    return train


@dataclass(frozen=True)
class GoldenModel:
    """A complete reference model: its config, our names for its weights, and all its arrays."""

    config: Any  # DrawConfig or ClassifierConfig
    names: dict[str, str]  # state_dict name -> golden name, without `weight_` or `grad_`
    arrays: dict[str, np.ndarray]  # without the `model_000_` prefix

    def build(self, dtype: Any = None) -> Any:
        """The torch model with the reference weights, in evaluation mode."""
        return self.checkpoint().build(dtype) if dtype is not None else self.checkpoint().build()

    def checkpoint(self) -> Any:
        """The reference weights as a checkpoint."""
        import torch

        from draw_onnx.models.checkpoint import Checkpoint

        weights = {
            name: torch.from_numpy(self.arrays[f"weight_{theirs}"]) for name, theirs in self.names.items()
        }
        return Checkpoint(self.config, "golden", weights)


_DRAW_NAMES = {
    "initial_canvas": "c0",
    "initial_encoder_hidden": "h_enc0",
    "initial_encoder_cell": "cell_enc0",
    "initial_decoder_hidden": "h_dec0",
    "initial_decoder_cell": "cell_dec0",
}
_CLASSIFIER_NAMES = {"initial_hidden": "h0", "initial_cell": "cell0"}


def _cell(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.{kind}_{side}": f"{theirs}_{letter}_{side}"
        for kind, letter in (("weight", "W"), ("bias", "b"))
        for side in ("ih", "hh")
    }


def _linear(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.weight": f"{theirs}_W", f"{ours}.bias": f"{theirs}_b"}


def _models(file: str) -> list[dict[str, np.ndarray]]:
    with np.load(GOLDEN / file) as data:
        return [
            {k.removeprefix(f"model_{i:03}_"): data[k] for k in data.files if k.startswith(f"model_{i:03}_")}
            for i in range(int(data["n_models"]))
        ]


@pytest.fixture(scope="session")
def golden_draw_models() -> list[GoldenModel]:
    """The models of draw_tiny.npz."""
    from draw_onnx.models.config import DrawConfig

    models = []
    for arrays in _models("draw_tiny.npz"):
        attention = bool(arrays["attention"])
        names = {**_DRAW_NAMES, **_cell("encoder", "enc"), **_cell("decoder", "dec")}
        names |= {**_linear("mu", "mu"), **_linear("log_sigma", "log_sigma")}
        if attention:
            names |= {**_linear("read_attention", "read_att"), **_linear("write_attention", "write_att")}
            names |= _linear("write_patch", "patch")
        else:
            names |= _linear("write_canvas", "canvas")
        config = DrawConfig(
            *(int(arrays[k]) for k in ("C", "B", "A", "T", "H", "Z", "N_read", "N_write")),
            attention=attention,
        )
        models.append(GoldenModel(config, names, arrays))
    return models


@pytest.fixture(scope="session")
def golden_classifiers() -> list[GoldenModel]:
    """The models of classifier_tiny.npz."""
    from draw_onnx.models.config import ClassifierConfig

    models = []
    for arrays in _models("classifier_tiny.npz"):
        names = {**_CLASSIFIER_NAMES, **_cell("lstm", "lstm")}
        names |= {**_linear("read_attention", "att"), **_linear("output", "out")}
        labels = tuple(str(i) for i in range(int(arrays["classes"])))
        config = ClassifierConfig(*(int(arrays[k]) for k in ("C", "B", "A", "T", "H", "N")), labels=labels)
        models.append(GoldenModel(config, names, arrays))
    return models
