"""The one exception a user is meant to read."""

from __future__ import annotations


class DrawError(Exception):
    """Something the user can mend: a file, an option, a device. The message is one line.

    Commands print it as ``draw-gen: error: …`` and exit 1; the Python API lets it through.
    """
