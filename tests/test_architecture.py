"""Arrows between the rooms run as docs/architecture.md says, and no file is too long to be read at once."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

CODE = {".py", ".mjs", ".js", ".cpp", ".hpp", ".c", ".h"}
MOST_LINES = 350
ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = PAGE.split("| room | imports | and from outside |\n")[1].split("\n\n")[0].splitlines()[1:]
ALLOWED = {
    cells[1].strip().strip("`/"): set(re.findall(r"`([a-z/]+)/`", cells[2]))
    for cells in (row.split("|") for row in ROWS)
}


def room_of(path: Path) -> str:
    """The innermost room that a file or module of the package lies in; empty for the files at the root."""
    rooms = [name for name in ALLOWED if path.is_relative_to(name)]
    return max(rooms, key=len, default="")


def imports(file: Path) -> set[Path]:
    """What a file imports of the package, as paths from the root; imports inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.relative_to(ROOT).parents[node.level - 1]
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {base.joinpath(*module.split(".")) for module in modules}
    return found


def test_the_page_names_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["setuptools"]["packages"])
    assert packages == {"draw_onnx", *("draw_onnx." + room.replace("/", ".") for room in ALLOWED)}


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_what_the_page_says(room: str) -> None:
    files = [f for f in (ROOT / room).rglob("*.py") if room_of(f.relative_to(ROOT)) == room]
    assert files
    arrows = {(f.name, room_of(target)) for f in files for target in imports(f)}
    assert {(name, target) for name, target in arrows if target not in {"", room} | ALLOWED[room]} == set()


def test_no_file_is_too_long(repository_files: list[str]) -> None:
    """Tests are files as well."""
    code = [name for name in repository_files if Path(name).suffix in CODE]
    assert code
    lines = {name: (ROOT / name).read_bytes().count(b"\n") for name in code}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
