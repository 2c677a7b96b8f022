"""Too little memory, or too few threads: a command ends in one line, and the old file stays."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from draw_onnx.console import make_app, run_app


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="limits of the address space mean something else here"
)
@pytest.mark.parametrize("megabytes", [250, 400])
def test_too_little_memory(script, fake: Path, tmp_path: Path, megabytes: int) -> None:
    """How much is needed is the libraries' affair: it works, or ends in one line with nothing half written.

    With less than 200 MB CPython 3.11 can end in a loop of its own: it finds no room for the line of a MemoryError.
    """
    arrays, sheet = tmp_path / "out.npz", tmp_path / "out.png"
    failed = []
    for out, options in (
        (arrays, ["-n", "30000", "--npz"]),
        (sheet, ["-n", "9000", "--scale", "16", "--grid"]),
    ):
        out.write_bytes(b"old")
        command = [script("draw-gen"), "--onnx", fake / "decoder-colour.onnx", *options, out]
        limited = ["sh", "-c", f'ulimit -v {1024 * megabytes}; exec "$@"', "sh", *map(str, command)]
        ran = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=240)
        failed.append(ran.returncode)
        if ran.returncode:
            # Where ONNX Runtime's own threads find no room, C++ ends the process.
            if ran.returncode != -signal.SIGABRT:
                assert ran.returncode == 1, ran.stderr
                assert ran.stderr.splitlines()[-1].startswith("draw-gen: error: "), ran.stderr
                assert "Traceback" not in ran.stderr
            assert out.read_bytes() == b"old"
        else:
            assert out.read_bytes() != b"old"
    if -signal.SIGABRT not in failed:
        assert {p.name for p in tmp_path.iterdir()} == {"out.npz", "out.png"}
    if not failed[0]:
        assert len(np.load(arrays)["images"]) == 30000
    if megabytes <= 250:
        assert failed[1], "290 MB of pixels found room in less"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (MemoryError("Unable to allocate 3 GiB"), "out of memory: Unable to allocate 3 GiB"),
        (RuntimeError("can't start new thread"), "no room for it on this machine: can't start new thread"),
        (
            RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory:\nyou tried 8 bytes"),
            "no room for it on this machine: [enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried 8 bytes",
        ),
        (RuntimeError("a bug"), None),
    ],
)
def test_what_libraries_call_it(
    capsys: pytest.CaptureFixture[str], error: Exception, said: str | None
) -> None:
    app = make_app()

    @app.command()
    def command() -> None:
        raise error

    with pytest.raises(SystemExit if said else RuntimeError) as ended:
        run_app(app, "draw-x", [])
    if said:
        assert isinstance(ended.value, SystemExit)
        assert ended.value.code == 1
        assert capsys.readouterr().err == f"draw-x: error: {said}\n"
