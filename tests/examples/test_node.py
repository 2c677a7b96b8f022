"""examples/node alone; beside C and C++ it is in test_ports.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from draw_onnx.streams import printable

pytestmark = pytest.mark.examples


def test_a_terminal_is_sent_no_control_characters(
    node_folder: Path, edited: Callable[..., Path], tmp_path: Path
) -> None:
    """Labels come from the file, and may be anything: colours, another title, text that runs backwards."""
    label = "é \x1b]0;title\x07\u202e\U000e0001\x9b31m"
    model = edited("classifier", labels=",".join(f"{label}{k}" for k in range(3)))
    picture = tmp_path / "a \x1b[31m.pgm"
    picture.write_bytes(b"P5 24 20 255\n" + bytes(480))
    command = ["node", node_folder / "draw.js", "classify", model, picture]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{printable(str(picture))}: {printable(label)}")
    done = subprocess.run([*command, f"{picture}-not-there"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert printable(f"{picture}-not-there") in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
