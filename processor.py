"""What Linux says of the processor; elsewhere nothing."""

from __future__ import annotations

from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def cpu_facts() -> dict[str, str]:
    """``vendor_id``, ``cpu family``, ``model name``, ``flags`` (on Arm ``Features``) and more."""
    lines = _INFO.read_text(encoding="utf-8").splitlines() if _INFO.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_flags() -> set[str]:
    """The instruction sets: ``avx2``, ``avx512_bf16``, on Arm ``bf16``."""
    facts = cpu_facts()
    return set(facts.get("flags", facts.get("Features", "")).split())


def has_vnni() -> bool:
    """Whether x86's instructions for products of eight bits (AVX-512's VNNI, or AVX's) are known to be there."""
    return not cpu_flags().isdisjoint({"avx512_vnni", "avx_vnni"})
