"""``draw-onnx``: all commands under one name, also ``python -m draw_onnx``.

``draw-onnx gen`` is ``draw-gen``: the same Typer app, imported when it is asked for, so that help and completion stay quick.
"""

from __future__ import annotations

import os
import sys
from glob import glob, has_magic
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .console import VersionOption, make_app, run_app

NAME = "draw-onnx"

# Module of the app, and its line in --help.
COMMANDS = {
    "train": ("train.cli", "Train a model from a preset."),
    "export": ("export.cli", "Turn a checkpoint into one plain ONNX file, compared with PyTorch."),
    "eval": ("train.evaluation.cli", "Test bound or error of a checkpoint or an exported file."),
    "gen": ("runtime.commands.gen", "Draw pictures: PNG, GIF, arrays."),
    "classify": ("runtime.commands.classify", "Say what pictures show, in a few glimpses."),
    "score": ("runtime.commands.score", "Rate pictures in nats, and paint them again."),
    "doctor": ("runtime.commands.doctor", "Say what is installed and works, and what a file is."),
}


def load(name: str) -> typer.Typer:
    """The Typer app behind ``draw-NAME``."""
    app: typer.Typer = import_module(f".{COMMANDS[name][0]}", __package__).app
    return app


class _Commands(TyperGroup):
    """Listed by their lines above; a command's own options are looked up in its app, for completion."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = typer.main.get_command(load(name))
        return name, command, rest


app = make_app(cls=_Commands, add_completion=True)


@app.callback()
def about(version: Annotated[bool, VersionOption] = False) -> None:
    """DRAW, the recurrent attentive image generator: train it, export it to plain ONNX, run it.

    Each command is there under a name of its own as well: draw-onnx gen is draw-gen.

        draw-onnx gen --gif out.gif
    """


def _list(name: str, text: str) -> None:
    @app.command(name, help=text)
    def command() -> None:
        """Stands for the app, which is run in its place."""


for _name, (_, _text) in COMMANDS.items():
    _list(_name, _text)


def _expanded(arguments: list[str]) -> list[str]:
    """Windows leaves ``*.png`` to the program; click sees to it only where it reads ``sys.argv`` itself."""
    if os.name != "nt":
        return arguments
    return [path for a in arguments for path in (sorted(glob(a)) if has_magic(a) else []) or [a]]


def main() -> None:
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in COMMANDS and "_DRAW_ONNX_COMPLETE" not in os.environ:
        # sys.argv stays: training on several devices starts the other processes with it.
        run_app(load(verb), f"{NAME} {verb}", _expanded(sys.argv[2:]))
    if not verb:
        sys.argv.append("--help")
    run_app(app, NAME)


if __name__ == "__main__":
    main()
