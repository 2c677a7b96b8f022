"""Outputs where a user did not mean them: over what is read, in a folder of pictures, by an empty name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.files import check_not_read


def picture(path: Path) -> bytes:
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(path)
    return path.read_bytes()


def test_a_file_that_is_read_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    (tmp_path / "other").touch()
    for name in ("a", "link", "hard"):
        with pytest.raises(DrawError, match=f"cannot write .*{name}: it is one of the files that are read"):
            check_not_read([None, tmp_path / name], [tmp_path / "none", tmp_path / "a"])
    check_not_read([tmp_path / "new", tmp_path / "other"], ["mnist", tmp_path / "a", "\0"])


@pytest.mark.parametrize(
    ("command", "model", "option"),
    [
        ("draw-score", "scorer.onnx", "--png"),
        ("draw-score", "scorer.onnx", "--gif"),
        ("draw-classify", "classifier.onnx", "--gif"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_picture_is_not_replaced_by_what_is_drawn_of_it(
    spawn, fake: Path, tmp_path: Path, command: str, model: str, option: str, folder: bool
) -> None:
    path = tmp_path / f"digit.{option[2:]}"
    before = picture(path)
    got = spawn(command, "--onnx", fake / model, tmp_path if folder else path, option, path.name)
    assert (got.returncode, got.stdout) == (1, b"")
    assert got.stderr.endswith(
        f"{command}: error: cannot write {path.name}: it is one of the files that are read\n".encode()
    )
    assert path.read_bytes() == before


def test_a_model_is_not_replaced_by_a_picture(spawn, fake: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.gif"
    model.write_bytes((fake / "decoder.onnx").read_bytes())
    got = spawn("draw-gen", "--onnx", model, "--gif", "m.gif")
    assert got.returncode == 1
    assert model.read_bytes() == (fake / "decoder.onnx").read_bytes()
