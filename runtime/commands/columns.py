"""Tables as a terminal shows them: some letters take two of its places, and some none."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Lines of rows of equal length, two blanks between columns; those numbered ``right`` end below each other."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, texts)) for texts in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (width - cell_len(text)) for width, text in zip(widths, row, strict=True)]
        padded = [
            blank + text if k in right else text + blank
            for k, (blank, text) in enumerate(zip(blanks, row, strict=True))
        ]
        lines.append("  ".join(padded).rstrip(" "))
    return lines
