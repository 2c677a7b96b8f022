"""Where a model runs: the one file that chooses ONNX Runtime's execution provider.

``cpu``: the CPU. ``cuda``: an NVIDIA GPU, or an error that says why not. ``auto``: the GPU when it
really works, else the CPU; where a GPU could have been expected, one line says why it was not used.

ONNX Runtime lists CUDA as available wherever onnxruntime-gpu is installed, and asked for it without a
GPU it runs on the CPU without a word. So the provider is checked after the session has been made.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import io
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DrawError, first_line
from .quantised import for_this_cpu

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = ("auto", "cpu", "cuda")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# TF32 keeps ten bits of the mantissa: pictures would differ from the CPU's in the third decimal.
CUDA_OPTIONS = {"use_tf32": "0"}


class ProviderError(DrawError):
    """Something is wrong with the machine or the installation, not with the model."""


_EXTRAS = "pip install 'draw-onnx[cpu]', or 'draw-onnx[gpu]' for an NVIDIA GPU"
_log = logging.getLogger("draw_onnx")
_said: set[str] = set()


def import_onnxruntime() -> Any:
    """The module onnxruntime.

    Raises:
        ProviderError: it is not installed, or broken; names the extras that install it.
    """
    # Since 1.29 official builds keep a device id and a cache of events in the home folder and report to
    # Microsoft. Who draws a picture has not asked for that; who wants it sets the variable to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise ProviderError(f"ONNX Runtime is not installed: {_EXTRAS}") from None
        raise ProviderError(f"ONNX Runtime does not load ({error}): {wheel_conflict() or _EXTRAS}") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        # Uninstalling one of two wheels takes the other's files away and leaves an empty package.
        raise ProviderError(f"ONNX Runtime is installed but empty: uninstall it and {_EXTRAS}")
    return onnxruntime


def wheel_conflict() -> str | None:
    """What to do when both distributions that install the module onnxruntime are there; None when they are not."""
    try:
        for name in ("onnxruntime", "onnxruntime-gpu"):
            importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
        "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you want"
    )


def create_session(
    data: bytes, provider: str = "auto", cpu_only: bool = False
) -> onnxruntime.InferenceSession:
    """A session on the provider asked for; its first provider is the one that really runs.

    One thread inside the session: parallel work is done by running several batches at once, which is
    faster for these small matrices, and the result cannot depend on how a product was split.

    Args:
        cpu_only: the file has int8's operators, which ONNX Runtime has on CPUs only: with CUDA it would run them there
            all the same, and copy what goes in and out.

    Raises:
        ProviderError: ``provider`` is unknown or cannot be honoured.
        DrawError: ONNX Runtime cannot load the model.
    """
    if provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}: choose {', '.join(PROVIDERS)}")
    ort = import_onnxruntime()
    data = for_this_cpu(data)
    if provider == "cpu":
        return _open(ort, data, [CPU])
    problem = "the file is in int8, which ONNX Runtime runs on CPUs only" if cpu_only else cuda_problem(ort)
    if problem is None:
        session, problem = _open_cuda(ort, data)
        if session is not None:
            return session
    session = _open(ort, data, [CPU])  # raises where it is the file's fault, not CUDA's
    if provider == "cuda":
        raise ProviderError(f"cannot run on CUDA: {problem}")
    # Without a GPU build and without a GPU nobody expects one: nothing to say. The driver is not asked, since CUDA fails
    # in children of a process that has begun with it.
    if CUDA in ort.get_available_providers() or any(map(os.path.exists, _DEVICES)):
        line = f"running on the CPU, CUDA cannot be used: {problem}"
        if line not in _said:
            _said.add(line)
            _log.warning(line)
    return session


def cuda_problem(ort: Any) -> str | None:
    """Why CUDA cannot work, as far as can be told without a session; None when nothing speaks against it."""
    if CUDA not in ort.get_available_providers():
        advice = wheel_conflict() or "install draw-onnx[gpu] in place of draw-onnx[cpu]"
        return f"the installed ONNX Runtime {ort.__version__} has no CUDA support ({advice})"
    return driver_problem()


_DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # Linux's, and that of Linux in Windows
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def gpu_description() -> str | None:
    """The first GPU's name and the newest CUDA that its driver knows; None without a working driver."""
    if driver_problem() is not None:
        return None
    driver = ctypes.CDLL(_DRIVER)
    name, version = ctypes.create_string_buffer(256), ctypes.c_int(0)
    if driver.cuDeviceGetName(name, len(name), 0) or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    newest = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return f"{name.value.decode(errors='replace')}, driver for CUDA up to {newest}"


def driver_problem() -> str | None:
    """Why the NVIDIA driver offers no GPU; None when it offers one."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no NVIDIA driver on this machine ({_DRIVER} is not there)"
    count = ctypes.c_int(0)
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if error == 100 or (error == 0 and count.value == 0):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "the NVIDIA driver finds no GPU" + (
            f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if hidden is not None else ""
        )
    return f"the NVIDIA driver fails with error {error}" if error else None


def _open(ort: Any, data: bytes, providers: list[Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors arrive as exceptions; not twice, and not in colour
    # As it was judged: bytes that are ONNX to a parser may be a model in ONNX Runtime's own format to its reader.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        # Without enable_fallback=0 ONNX Runtime prints to stdout and goes on with the CPU.
        return ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except MemoryError:
        raise
    except Exception as error:  # the binding raises half a dozen unrelated classes
        raise DrawError(f"ONNX Runtime {ort.__version__} cannot load it: {first_line(error)}") from error


def _open_cuda(ort: Any, data: bytes) -> tuple[Any, str]:
    """A session that runs on CUDA, or None and the reason."""
    printed = io.StringIO()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(printed):  # it prints what it misses, to stdout
            ort.preload_dlls()
    ort.set_default_logger_severity(4)  # the provider's own complaint is several lines of C++
    try:
        session = _open(ort, data, [(CUDA, CUDA_OPTIONS), CPU])
    except DrawError as error:
        return None, str(error)
    finally:
        ort.set_default_logger_severity(2)  # ONNX Runtime's own
    if session.get_providers()[0] == CUDA:
        return session, ""
    lines = printed.getvalue().strip().splitlines()
    return None, _library_problem(ort) or (
        lines[-1] if lines else "ONNX Runtime did not load its CUDA provider"
    )


def _library_problem(ort: Any) -> str | None:
    """What the dynamic linker says about ONNX Runtime's CUDA library."""
    folder = Path(ort.__file__).parent / "capi"
    try:
        for name in ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"):
            if (folder / name).exists():
                ctypes.CDLL(str(folder / name), mode=getattr(ctypes, "RTLD_GLOBAL", 0))
    except OSError as error:
        return first_line(error)
    return None
