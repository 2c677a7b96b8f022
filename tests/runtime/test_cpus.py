"""The number of CPUs, with made-up control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from draw_onnx.runtime import cpus


def groups(root: Path, mine: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "mine").write_text(mine)


CASES = [
    ("nothing", "0::/\n", {}, 16),
    ("no limit", "0::/\n", {"cpu.max": "max 100000\n"}, 16),
    ("one and a half", "0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    ("less than one", "0::/\n", {"cpu.max": "20000 100000\n"}, 1),
    ("more than there are", "0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
    ("of a parent", "0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
    ("the path is the host's", "0::/docker/abc\n", {"cpu.max": "400000 100000"}, 4),
    (
        "version 1",
        "3:memory:/x\n2:cpu,cpuacct:/x\n",
        {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
        3,
    ),
    (
        "version 1, no limit",
        "2:cpu,cpuacct:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        16,
    ),
    ("nonsense", "nonsense\n::\n", {"cpu.max": "many\n"}, 16),
]


@pytest.mark.parametrize(("mine", "files", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: str, files: dict[str, str], expected: int
) -> None:
    groups(tmp_path, mine, files)
    monkeypatch.setattr(cpus, "_CGROUPS", tmp_path / "sys")
    monkeypatch.setattr(cpus, "_MINE", tmp_path / "mine")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert cpus.available_cpus() == expected


def test_where_there_are_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_MINE", tmp_path / "none")
    assert cpus.available_cpus() >= 1
