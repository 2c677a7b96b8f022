"""What a run computes on, in words: a run that goes on elsewhere is not bit-exact."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def describe_machine(device: torch.device, count: int) -> str:
    """``1 x cpu (AMD EPYC), 2 threads`` or ``1 x cuda (NVIDIA H100)``"""
    if device.type == "cuda":
        return f"{count} x cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{count} x {device.type} ({processor()}), {threads} thread{'s' if threads > 1 else ''}"


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
