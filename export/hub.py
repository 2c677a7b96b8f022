"""``draw-export --hub DIR``: a folder that can be uploaded to a model hub as it is, and used as a model.

README.md           card: front matter for the hub's index, then a page for people
model.safetensors   weights: `--ckpt DIR`, `--init-from DIR`
config.json         sizes, data set, how pictures are prepared
decoder.onnx, scorer.onnx or classifier.onnx, each compared with PyTorch: `--onnx DIR`, `Sampler(DIR)`
samples.png, drawing.gif    what a decoder draws
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..console import note
from ..errors import DrawError
from ..files import check_folder_writable, make_folder, move_into, write_bytes, write_text, writing
from ..models.checkpoint import Checkpoint, save_weights, weights_sha256
from ..models.config import DrawConfig, config_to_dict, model_kind, prior_of, prior_remark
from ..runtime.metadata import CLASSIFIER, STEPS
from .model_card import front_matter, metrics
from .options import ExportOptions

if TYPE_CHECKING:
    from .exported import Exported

WEIGHTS = "model.safetensors"
_NEW = ".draw-onnx-hub-"  # begins the name of the folder in which new files wait
_STALE = 24 * 3600  # seconds after which nobody is writing one any more
_CARD_MARK = "library_name: draw-onnx"
_USES = {
    "decoder": "draw-gen --onnx . --gif out.gif        # in a copy of this folder",
    "scorer": "draw-score --onnx . PICTURE",
    "classifier": "draw-classify --onnx . PICTURE",
}
# All that a folder may hold, in the order in which it gets them.
FILES = (
    *(f"{graph}.onnx" for graph in _USES),
    WEIGHTS,
    "config.json",
    "samples.png",
    "drawing.gif",
    "README.md",
)


def options_for(checkpoint: Checkpoint, options: ExportOptions) -> list[ExportOptions]:
    """Of each file in the folder: the graph asked for, or all that the model has.

    What is for decoders alone (int8, the LSTM operator) is left out of the scorer beside it.
    """
    if options.graph is not None:
        return [options]
    if not isinstance(checkpoint.config, DrawConfig):
        return [replace(options, graph="classifier")]
    dtype = "fp32" if options.dtype == "int8" else options.dtype
    return [replace(options, graph="decoder"), replace(options, graph="scorer", recurrence=None, dtype=dtype)]


def check_folder(folder: Path) -> None:
    """Refuse, before the work, a folder that cannot be made, or that holds somebody's other files.

    Raises:
        DrawError: it is a file, is not writable, or its README.md is not a card of ours.
    """
    if folder.exists() and not folder.is_dir():
        raise DrawError(f"cannot write {folder}: it is a file, and --hub makes a folder")
    readme = folder / "README.md"
    if readme.exists():
        if _CARD_MARK not in readme.read_text(encoding="utf-8", errors="replace")[:2000]:
            raise DrawError(f"{readme} is not a card that --hub wrote: choose another folder")
    elif there := [name for name in FILES if (folder / name).exists()]:
        raise DrawError(
            f"{folder} holds {there[0]} and no card that --hub wrote: choose another folder, or remove it"
        )
    check_folder_writable(folder)


def write_folder(
    folder: Path, checkpoint: Checkpoint, files: Sequence[Exported], card: str | None = None
) -> None:
    """Write the folder; graphs and pictures go that an earlier export has left. All files are written before the first
    of an earlier export is replaced.

    Args:
        files: of ``checkpoint``, one for each graph.
        card: the card of a packaged model; one is written from the checkpoint unless given.

    Raises:
        DrawError: the folder cannot be made or written.
    """
    make_folder(folder)
    # Of exports that were killed: a young one may be of one that still writes.
    for old in folder.glob(f"{_NEW}*"):
        with suppress(OSError):  # gone by itself
            if time.time() - old.stat().st_mtime > _STALE:
                shutil.rmtree(old, ignore_errors=True)
    with writing(folder), tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as name:
        new = Path(name)
        try:
            for file in files:
                write_bytes(new / f"{file.graph}.onnx", file.data)
            save_weights(new / WEIGHTS, checkpoint)
            write_text(new / "config.json", json.dumps(_config(checkpoint), indent=2) + "\n")
            drawn = (new / "decoder.onnx").exists() and _draw(new)
            if card is not None:
                text = _hosted(card, drawn)
            else:
                text = _card(folder.resolve().name, checkpoint, files, drawn)
            write_text(new / "README.md", text)
        except DrawError as error:  # says where it could not write: nobody knows the temporary folder
            raise DrawError(str(error).replace(name, str(folder))) from error
        for each in FILES:  # the card last: a hub shows a folder by it
            if (new / each).exists():
                move_into(new / each, folder / each)
            else:
                (folder / each).unlink(missing_ok=True)


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "library_name": "draw-onnx",
        "draw_onnx_version": __version__,
        "model_type": model_kind(checkpoint.config),
        **config_to_dict(checkpoint.config),
        "dataset": checkpoint.dataset,
        "picture_fit": checkpoint.picture_fit,
        "binary": checkpoint.binary,
        **({} if checkpoint.figure_size is None else {"figure_size": checkpoint.figure_size}),
        "weights_sha256": weights_sha256(checkpoint.weights, checkpoint.config),
    }


def _draw(folder: Path) -> bool:
    """A sheet of samples with their steps, and a GIF of four being painted: by the file itself, in ONNX Runtime."""
    from ..runtime.pictures.drawing import grid, sheet, write_png
    from ..runtime.pictures.gif import write_steps_gif
    from ..runtime.sampler import Sampler

    sampler = Sampler(folder / "decoder.onnx", "cpu")
    samples, filters = sampler.sample(16), sampler.metadata.write_size
    if samples.canvases is None:  # --outputs image
        write_png(folder / "samples.png", grid(samples.images))
        return False
    canvases, windows = samples.canvases, samples.write_attention
    shown, painted = (None if windows is None else windows[:n] for n in (8, 4))
    try:
        write_png(folder / "samples.png", sheet(canvases[:8], shown, filters))
        write_steps_gif(folder / "drawing.gif", canvases[:4], painted, filters)
    except DrawError as error:  # too large or too long for one that viewers open
        note(f"no picture of the steps: {error}")
        write_png(folder / "samples.png", grid(samples.images))
        return False
    return True


def _hosted(card: str, drawn: bool) -> str:
    """A packaged model's card with the folder's pictures, and words, in place of those and links from elsewhere."""
    text = re.sub(r"^!\[[^\]]*\]\(\.\./[^)]*\)\n+", "", card, flags=re.MULTILINE)
    text = re.sub(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)[^)]*\)", r"\1", text)  # links to the repository
    shown = r"\1\n![Being painted](drawing.gif)\n"
    return re.sub(r"^(# .*\n\n(?:.+\n)+)", shown, text, count=1, flags=re.MULTILINE) if drawn else text


def _card(name: str, checkpoint: Checkpoint, files: Sequence[Exported], drawn: bool) -> str:
    licence, author = files[0].metadata.model_license, files[0].metadata.model_author
    draw = isinstance(checkpoint.config, DrawConfig)
    sizes = ", ".join(f"{k} {v}" for k, v in config_to_dict(checkpoint.config).items() if k != "labels")
    weights = sum(tensor.numel() for tensor in checkpoint.weights.values())
    title = "A DRAW network that paints pictures" if draw else "A glimpse classifier that names pictures"
    remark = prior_remark(prior_of(checkpoint.config))
    lines = [
        front_matter(name, checkpoint, checkpoint.metrics, licence),
        f"# {name}\n",
        f"{title} like those of `{checkpoint.dataset}`, trained with draw-onnx {__version__}.{remark}\n",
    ]
    if any(file.graph == "decoder" for file in files):
        lines.append("![Being painted](drawing.gif)\n" if drawn else "![Samples](samples.png)\n")
    lines += ["```sh", 'pip install "draw-onnx[cpu]"', *(_USES[file.graph] for file in files), "```\n"]
    lines += ["| file | what | compared with PyTorch |", "|---|---|---|"]
    for file in files:
        metadata = file.metadata
        # A file without steps has none to compare, and a classifier's answer is that of the last one.
        steps = metadata.outputs == STEPS and metadata.model_type != CLASSIFIER
        within = f"{metadata.compared}{', at every step' if steps else ''}" if metadata.compared else "no"
        what = f"{metadata.model_type}, {metadata.time_steps} steps, {len(file.data):,} bytes"
        lines.append(f"| `{file.graph}.onnx` | {what} | {within} |")
    lines += [f"| `{WEIGHTS}` | {weights:,} weights, to train on from or export again | |\n"]
    lines += [f"- **Sizes**: {sizes}.", f"- **Licence**: {licence or 'not stated'}."]
    lines += [f"- **Author**: {author}."] if author else []
    lines += [f"- **Weights**: SHA-256 `{weights_sha256(checkpoint.weights, checkpoint.config)}`."]
    lines += [f"- **Limits**: it knows pictures like those of `{checkpoint.dataset}` and nothing else.\n"]
    found = metrics(checkpoint.metrics)
    if found:
        lines += ["| figure | value | |", "|---|---|---|"]
        for metric in found:
            beside = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in metric.get("args", {}).items())
            lines.append(f"| {metric['name']} | {metric['value']:g} | {beside} |")
    else:
        lines.append("It has no test figure: `draw-eval` measures one.")
    return "\n".join(lines) + "\n"
