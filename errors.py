"""The one exception a user is meant to read, and other exceptions put on one line."""

from __future__ import annotations


class DrawError(Exception):
    """Something the user can mend: a file, an option, a device. The message is one line.

    Commands print it as ``draw-gen: error: …`` and exit 1; the Python API lets it through.
    """


def first_line(error: BaseException, limit: int = 300) -> str:
    """An exception's message on one line of at most ``limit`` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]}…"
