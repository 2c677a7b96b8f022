"""Whose a model is: the licence and the author that a file names."""

from __future__ import annotations

import functools
from pathlib import Path

from ..errors import DrawError
from ..pretrained import find_packaged, packaged_models
from ..runtime.metadata import Metadata
from ..runtime.session import peek


def packaged_terms(weights_sha256: str) -> tuple[str, str]:
    """Licence and author of a packaged model, found by its weights; both empty, not stated, for anybody else's."""
    for name in packaged_models(".onnx"):
        metadata = _peek(find_packaged(name, ".onnx", "model"))
        if metadata is not None and metadata.weights_sha256 == weights_sha256:
            return metadata.model_license, metadata.model_author
    return "", ""


@functools.cache
def _peek(path: Path) -> Metadata | None:
    try:
        return peek(path)
    except DrawError:  # somebody's checkout: another model is none of theirs
        return None
