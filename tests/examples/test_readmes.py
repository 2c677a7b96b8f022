"""The first block of commands in each README works as it stands, and gives the line that the README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.examples

ROOT = Path(__file__).resolve().parents[2]


def follow(readme: Path, folder: Path) -> None:
    """Run the block in ``folder`` as bash does, stopping at the first failure."""
    text = readme.read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    promised = re.search(r"`(check [^`]*)`", text)
    assert block is not None
    assert promised is not None
    environment = {key: value for key, value in os.environ.items() if key != "ONNXRUNTIME_LIB"}
    command = ["bash", "-e", "-o", "pipefail", "-c", block.group(1)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[:2] == promised.group(1).split()[:2]
    assert {path.name for path in folder.glob("picture*")} == {f"picture{k}.pgm" for k in range(2, 8)}
    for path in folder.glob("picture*"):
        path.unlink()


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_compiled(language: str, headers: Path, library, fake: Path, tmp_path: Path) -> None:
    """The release that the README has unpacked is laid out from the headers and the wheel's library."""
    for tool in ("cc", "c++"):
        if shutil.which(tool) is None:
            if "compiler" in os.environ.get("DRAW_REQUIRE", "").split(","):
                pytest.fail(f"{tool} is not installed")
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path / "examples" / language
    for name in {language, "c"}:  # C++ takes the noise from beside it
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name)
    shutil.copytree(fake, tmp_path / "tests" / "fake")
    release = folder / "onnxruntime-linux-x64-1.17.0"
    (release / "lib").mkdir(parents=True)
    (release / "include").symlink_to(headers)
    (release / "lib" / "libonnxruntime.so").symlink_to(library["ONNXRUNTIME_LIB"])
    follow(ROOT / "examples" / language / "README.md", folder)


def test_node(node_folder: Path) -> None:
    follow(ROOT / "examples" / "node" / "README.md", node_folder)
