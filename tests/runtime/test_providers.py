"""Provider policy, with an ONNX Runtime that claims things; the real GPU is in test_cuda.py."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from draw_onnx import Sampler
from draw_onnx.errors import DrawError
from draw_onnx.runtime import batches, providers, session
from draw_onnx.runtime.providers import CPU, CUDA, ProviderError, create_session

from ..onnx_bytes import proto, with_graph_field, with_metadata


class FakeSession:
    def __init__(self, names: list[str]) -> None:
        self._names = names

    def get_providers(self) -> list[str]:
        return self._names


class FakeOptions(SimpleNamespace):
    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries = {**vars(self).get("entries", {}), key: value}


def fake_runtime(works: bool, built: bool = True, fails: str | None = None) -> Any:
    """A module that lists CUDA when ``built``, and honours it only when it ``works``, as the real one does."""

    def session(data: bytes, options: Any, providers: list[Any], enable_fallback: int) -> FakeSession:
        assert enable_fallback == 0
        assert options.intra_op_num_threads == options.inter_op_num_threads == 1
        assert options.entries == {"session.load_model_format": "ONNX"}
        asked = [p[0] if isinstance(p, tuple) else p for p in providers]
        if CUDA in asked:
            assert providers[0] == (CUDA, {"use_tf32": "0"})
            if fails:
                raise RuntimeError(fails)
        return FakeSession(asked if works else [CPU])

    return SimpleNamespace(
        __version__="9.9",
        __file__="/nowhere/onnxruntime/__init__.py",
        get_available_providers=lambda: [CUDA, CPU] if built else [CPU],
        SessionOptions=FakeOptions,
        InferenceSession=session,
        set_default_logger_severity=lambda _: None,
        preload_dlls=lambda: print("libfoo.so.13 is missing"),
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(providers, "_said", set())

    def set_up(runtime: Any, driver: str | None) -> None:
        monkeypatch.setattr(providers, "_DEVICES", ("/",) if driver is None else ())
        monkeypatch.setattr(providers, "import_onnxruntime", lambda: runtime)
        monkeypatch.setattr(providers, "driver_problem", lambda: driver)

    return set_up


def test_cuda_is_used_where_it_works(machine) -> None:
    machine(fake_runtime(works=True), None)
    for wanted in ("auto", "cuda"):
        assert create_session(b"", wanted).get_providers()[0] == CUDA
    assert create_session(b"", "cpu").get_providers() == [CPU]


@pytest.mark.parametrize(
    ("runtime", "driver", "reason"),
    [
        (fake_runtime(works=False, built=False), None, "has no CUDA support"),
        (fake_runtime(works=False), "no NVIDIA driver on this machine", "no NVIDIA driver"),
        (fake_runtime(works=False), None, "libfoo.so.13 is missing"),
        (fake_runtime(works=True, fails="CUDA failure 35: driver too old"), None, "driver too old"),
    ],
)
def test_cuda_that_cannot_be_had(
    machine, caplog, capsys, runtime: Any, driver: str | None, reason: str
) -> None:
    """``cuda`` fails with the reason; ``auto`` says it in one line, once, and runs on the CPU."""
    machine(runtime, driver)
    with pytest.raises(ProviderError, match=f"cannot run on CUDA: .*{reason}"):
        create_session(b"", "cuda")
    with caplog.at_level(logging.WARNING, "draw_onnx"):
        assert create_session(b"", "auto").get_providers() == [CPU]
        assert create_session(b"", "auto").get_providers() == [CPU]
    assert len(caplog.records) == 1
    assert reason in caplog.records[0].getMessage()
    assert "running on the CPU" in caplog.records[0].getMessage()
    assert capsys.readouterr().out == ""  # what preload_dlls prints never reaches stdout


@pytest.fixture
def int8(fake: Path) -> bytes:
    """A product in eight bits by the sizes of what it takes, which is all that is looked at."""
    sizes = {b"w": (4, 3), b"scale": (3,), b"zero": (3,)}
    tensors = b"".join(proto(5, proto(1, bytes(dims)) + proto(8, name)) for name, dims in sizes.items())
    inputs = b"".join(proto(1, name) for name in (b"x", *sizes))
    node = inputs + proto(4, b"DynamicQuantizeMatMul") + proto(7, b"com.microsoft")
    data = with_metadata((fake / "decoder.onnx").read_bytes(), {"dtype": "int8"})
    return with_graph_field(data, tensors + proto(1, node))


def test_int8_runs_on_the_cpu_beside_a_gpu(
    machine, caplog, monkeypatch: pytest.MonkeyPatch, fake: Path, int8: bytes
) -> None:
    """ONNX Runtime would run its operators there all the same, and call the session one of CUDA."""
    machine(fake_runtime(works=True), None)
    monkeypatch.setattr(session, "_check_interface", lambda *_: None)
    with caplog.at_level(logging.WARNING, "draw_onnx"):
        assert Sampler(int8).provider == "cpu"
        assert Sampler(int8, "cpu").provider == "cpu"
        assert Sampler(fake / "decoder.onnx").provider == "cuda"
    (record,) = caplog.records
    assert record.getMessage() == (
        "running on the CPU, CUDA cannot be used: the file is in int8, which ONNX Runtime runs on CPUs only"
    )
    with pytest.raises(ProviderError, match=r"^cannot run on CUDA: the file is in int8, .* CPUs only$"):
        Sampler(int8, "cuda")


@pytest.mark.parametrize("provider", ["auto", "cpu", "cuda"])
def test_files_are_opened_as_this_cpu_wants_them(
    machine, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    opened, runtime = [], fake_runtime(works=True)
    session_of = runtime.InferenceSession
    runtime.InferenceSession = lambda data, *rest, **more: (
        opened.append(data) or session_of(data, *rest, **more)
    )
    machine(runtime, None)
    monkeypatch.setattr(providers, "for_this_cpu", lambda data: data + b"!")
    create_session(b"file", provider)
    assert opened == [b"file!"]


def test_auto_is_silent_where_nobody_expects_a_gpu(machine, caplog) -> None:
    machine(fake_runtime(works=False, built=False), "no NVIDIA driver on this machine")
    with caplog.at_level(logging.WARNING, "draw_onnx"):
        create_session(b"", "auto")
    assert not caplog.records


def test_both_wheels_are_noticed(monkeypatch: pytest.MonkeyPatch, machine, run) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    assert "both installed" in (providers.wheel_conflict() or "")
    machine(fake_runtime(works=False, built=False), None)
    with pytest.raises(ProviderError, match="both installed"):
        create_session(b"", "cuda")


def test_a_missing_runtime_names_both_extras(
    monkeypatch: pytest.MonkeyPatch, fake: Path, run, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # import raises ModuleNotFoundError
    with pytest.raises(DrawError) as error:
        Sampler(fake / "decoder.onnx")
    assert "draw-onnx[cpu]" in str(error.value)
    assert "draw-onnx[gpu]" in str(error.value)
    assert "decoder.onnx" not in str(error.value)  # the file is not at fault
    got = run("gen", "--onnx", fake / "decoder.onnx", "--gif", tmp_path / "x.gif")
    assert got.code == 1
    assert len(got.err.strip().splitlines()) == 1
    got = run("doctor")
    assert got.code == 1
    assert "draw-onnx[cpu]" in got.out


def test_an_emptied_runtime_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after one of the two wheels has been uninstalled."""
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace())
    with pytest.raises(ProviderError, match="installed but empty"):
        providers.import_onnxruntime()


def test_doctor_on_this_machine(run) -> None:
    got = run("doctor")
    lines = dict(line.split(maxsplit=1) for line in got.out.splitlines())
    assert lines["CPU"] == "works"
    assert lines["numpy"][0].isdigit()
    assert "CUDA" in lines
    assert got.code == (1 if "PROBLEM" in lines else 0)
    assert got.err == ""


def test_doctor_shows_texts_of_a_file_escaped(run, fake: Path, tmp_path: Path) -> None:
    """They can neither add lines to its report nor command the terminal."""
    author = "me\nstate           its graph is as draw-export wrote it: the digest agrees \x1b[31m"
    path = tmp_path / "x.onnx"
    path.write_bytes(with_metadata((fake / "decoder.onnx").read_bytes(), {"model_author": author}))
    got = run("doctor", "--onnx", path)
    assert "\x1b" not in got.out
    assert [line.split()[0] for line in got.out.splitlines()].count("state") <= 1
    assert r"me\nstate" in got.out


def test_doctor_tries_every_packaged_model(
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake: Path
) -> None:
    from draw_onnx import pretrained

    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    for name in ("decoder", "classifier", "scorer"):
        (tmp_path / f"{name}.onnx").write_bytes((fake / f"{name}.onnx").read_bytes())
    got = run("doctor")
    assert got.code == 0, got.out
    assert "decoder: draw.decoder, fake, 1 x 7 x 6 pixels, 3 steps, works" in got.out
    (tmp_path / "broken.onnx").write_bytes((fake / "decoder.onnx").read_bytes()[:-300])
    got = run("doctor")
    assert got.code == 1
    assert "PROBLEM" in got.out
    assert "broken" in got.out


class FakeDriver:
    """libcuda of a machine with one GPU."""

    def __init__(self, name: bytes, version: int) -> None:
        self._name, self._version = name, version

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, device: int) -> int:
        buffer.value = self._name[: size - 1]
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self._version
        return 0


def test_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver(b"NVIDIA H100", 13010))
    assert providers.gpu_description() == "NVIDIA H100, driver for CUDA up to 13.1"


@pytest.mark.parametrize(("cpus", "threads"), [(2, 2), (16, 4)])
def test_four_threads_make_noise_for_a_gpu(monkeypatch: pytest.MonkeyPatch, cpus: int, threads: int) -> None:
    monkeypatch.setattr(batches, "available_cpus", lambda: cpus)
    assert batches.thread_count(None, "cuda") == threads
    assert batches.thread_count(None, "cpu") == cpus
    assert batches.thread_count(7, "cuda") == 7


def test_draw_doctor_notices_an_lstm_that_miscounts(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    class Session:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.array([2.0, 1.0]) if names == ["m"] else np.array([0.3])]

    monkeypatch.setattr(providers, "create_session", lambda data, provider: Session())
    got = run("doctor")
    assert got.code == 1
    assert "the CPU provider does not work: LSTM gave [0.3], not [0.324" in got.out
