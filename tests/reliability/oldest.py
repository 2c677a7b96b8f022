"""The lower bounds of pyproject.toml as exact requirements: ``python oldest.py cpu test`` for these extras."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def oldest(extras: list[str]) -> list[str]:
    """``name==version`` of the dependencies and of those of the extras, each once."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found = {}
    for text in wanted:
        bound = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", text)
        if bound is None:
            raise SystemExit(f"{text}: a lower bound is expected")
        found[bound[1]] = f"{bound[1]}=={bound[2]}"
    return list(found.values())


if __name__ == "__main__":
    print("\n".join(oldest(sys.argv[1:])))
