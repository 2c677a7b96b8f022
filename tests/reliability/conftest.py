"""Commands as processes of their own, with the surroundings that break them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Spawn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def spawn(script: Callable[[str], str], tmp_path: Path) -> Spawn:
    """``spawn("draw-gen", …)`` in ``tmp_path``; ``shell`` is put behind the command (``2>&-``), ``before`` in front."""

    def run(
        *arguments: object,
        shell: str = "",
        before: Sequence[str] = (),
        environment: Mapping[str, str | None] | None = None,
        **more: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        command = [*before, script(str(arguments[0])), *map(os.fsencode, map(str, arguments[1:]))]
        if shell:
            command = ["sh", "-c", f'"$@" {shell}', "sh", *command]  # type: ignore[list-item]
        changed = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        values = {key: value for key, value in changed.items() if value is not None}
        options = {"capture_output": True, "timeout": 300, "cwd": tmp_path, **more}
        return subprocess.run(command, env=values, check=False, **options)

    return run


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DRAW of random weights that any command takes."""
    import torch

    from draw_onnx.models.checkpoint import Checkpoint, build_model, save_checkpoint
    from draw_onnx.models.config import DrawConfig

    torch.manual_seed(0)
    config = DrawConfig(1, 8, 8, time_steps=2, hidden_size=8, latent_size=2, read_size=2, write_size=2)
    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    save_checkpoint(path, Checkpoint(config, "digits", dict(build_model(config).state_dict()), 1))
    return path
