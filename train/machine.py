"""What a run computes on: the device, how numbers are treated there, and its name, since elsewhere is not bit-exact."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ..console import note
from ..errors import DrawError
from ..processor import cpu_facts, cpu_flags
from ..runtime.cpus import available_cpus
from .ranks import Rank
from .settings import Hardware

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Of schedulers: read by Fabric as whole numbers the moment it is imported, wanted or not.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
# Fabric would take these in the place of our options and of the checkpoint's settings.
_OF_FABRIC = tuple(
    f"LT_{name}" for name in ("ACCELERATOR", "STRATEGY", "DEVICES", "NUM_NODES", "PRECISION", "CLI_USED")
)


@contextmanager
def without_leftovers() -> Iterator[None]:
    """Variables that would mislead Fabric, or end its import, are away in here: around all that it reads them in."""
    misleading = [name for name in _RANKS if not os.environ.get(name, "0").isdecimal()]
    away = {name: os.environ.pop(name) for name in (*misleading, *_OF_FABRIC) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(away)


def choose_device(name: str) -> torch.device:
    """``auto`` takes the GPU where PyTorch finds one. Raises DrawError for another name, or no GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise DrawError(f"unknown device {name!r}: auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise DrawError("--device cuda: PyTorch finds no CUDA device here (is its CUDA build installed?)")
    return torch.device(name)


def make_fabric(hardware: Hardware, rank: Rank) -> Fabric:
    """Devices and data parallelism, before ``launch``. Raises DrawError where the machine lacks what is asked for."""
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        # PyTorch counts processors, not what a container is granted of them, nor who else of this run is here.
        torch.set_num_threads(max(1, min(torch.get_num_threads(), available_cpus()) // rank.local))
    device = choose_device(hardware.device).type
    if device == "cuda" and rank.local > torch.cuda.device_count():
        raise DrawError(f"--devices {rank.local}: this machine has {torch.cuda.device_count()} GPU(s)")
    if hardware.cuda_graph and (device != "cuda" or rank.count > 1):
        raise DrawError("--cuda-graph needs one GPU")
    with without_leftovers():
        from lightning_fabric import Fabric

        from .environment import environment

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its import has made it INFO
        # Mixed precision is the models' own (product_dtype): Fabric's rounds the pictures and the noise as well.
        return Fabric(
            accelerator=device,
            devices=rank.local,
            num_nodes=rank.count // rank.local,
            strategy="ddp" if rank.count > 1 else "auto",
            plugins=[environment(rank)],
        )


def launch_fabric(fabric: Fabric) -> None:
    """Meet the other processes, where there are any."""
    with without_leftovers():
        fabric.launch()


def agree_on_largest() -> Callable[[int], int]:
    """A function of a number that gives the largest of all processes, each of which must call it.

    Through the processors' memory: to ask a GPU after every step would make each wait for the last.
    """
    group = torch.distributed.new_group(backend="gloo")

    def agree(number: int) -> int:
        value = torch.tensor(number)
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX, group)
        return int(value)

    return agree


@contextmanager
def flushed_subnormals() -> Iterator[None]:
    """This thread, and those that it starts from here on, take subnormal numbers for zero.

    Logistic tails of the canvas and Adam's squares make them, and a CPU takes a hundred cycles and more for each. Enter
    it before the first parallel operation: the threads of PyTorch's pool keep the mode that they were started in.
    """
    before = not bool(torch.tensor(1e-38) * 1e-3)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


# Seconds: compiling a chunk takes half a minute to a minute and saves 10 to 30 % of what follows.
_COMPILE_FROM = 600.0


def decide_compile(seconds: float, device: torch.device) -> bool:
    """Whether a run of about ``seconds`` is long enough to repay compiling, on a machine that can compile."""
    if seconds < _COMPILE_FROM:
        return False
    try:
        torch.compile(lambda x: x.sin() + 1, dynamic=False)(torch.zeros(2, device=device))
    except Exception as error:
        # No compiler, no headers, no Triton: whatever is missing, training goes without.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        note(f"time steps are not compiled, torch.compile does not work here ({reason})")
        return False
    return True


def is_about_compiling(error: Exception) -> bool:
    """Whether torch.compile has failed: by name, because importing its exceptions takes a second."""
    return any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether bfloat16 products are faster here than float32's: measured on AMD's AVX-512 and Intel's AMX, taken
    for granted on GPUs and on Arm.

    Where they are emulated they take many times as long, and twice as long on an Intel CPU with AVX-512's instructions for
    them alone (docs/training.md).
    """
    flags = cpu_flags()
    amd = cpu_facts().get("vendor_id") == "AuthenticAMD"
    return (
        device.type == "cuda"
        or not flags.isdisjoint({"amx_bf16", "bf16"})
        or (amd and "avx512_bf16" in flags)
    )


def describe_machine(device: torch.device, count: int) -> str:
    """``1 x cpu (AMD EPYC), 2 threads`` or ``1 x cuda (NVIDIA H100)``"""
    if device.type == "cuda":
        return f"{count} x cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{count} x {device.type} ({processor()}), {threads} thread{'s' if threads > 1 else ''}"


def processor() -> str:
    """The processor's name, where the system tells it."""
    return cpu_facts().get("model name") or platform.processor() or platform.machine()
