"""draw-train --init-from: trained weights as the beginning of another run, and what they cannot become."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from draw_onnx.models.checkpoint import load_checkpoint, weights_sha256
from draw_onnx.train import cli
from draw_onnx.train.evaluation import cli as eval_cli

from ..conftest import Command


def test_a_learned_prior_begins_as_the_standard_one(command: Command, finished: Path, tmp_path: Path) -> None:
    """From weights without one: the same bound before the first update, on which it learns; and not back again."""
    run, back = tmp_path / "run", tmp_path / "back"
    short = ("--iterations", 1, "--save-every", 1, "--threads", 1)
    given = ("--init-from", finished / "best.ckpt", "--prior", "learned", "--out", run)
    code, out, error = command(cli.main, *given, *short)
    assert code == 0, error
    best = load_checkpoint(finished / "best.ckpt")
    assert f"validation {best.metrics['valid_bound']:.2f}" in error
    assert "not the paper's model" in out
    last = load_checkpoint(run / "last.ckpt")
    assert last.config == dataclasses.replace(best.config, prior="learned")
    assert set(last.weights) == {*best.weights, "prior.weight", "prior.bias"}
    assert last.weights["prior.bias"].abs().max() > 0
    given = ("--init-from", run / "last.ckpt", "--prior", "standard", "--out", back)
    code, _, error = command(cli.main, *given, *short)
    assert (code, "leave out --prior" in error) == (1, True)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (("--hidden", 6), "--hidden 6: the checkpoint's model has 8 units, and may only get more"),
        (
            ("--read-size", 4),
            "--read-size 4: the checkpoint's windows have 3 filters a side, which are among 5, 7, 9",
        ),
        (("--latent", 3), "leave out --latent"),
        (("--hidden", 9, "--latent", 3), "leave out --latent"),
    ],
)
def test_what_trained_weights_cannot_become(
    command: Command, finished: Path, tmp_path: Path, sizes: tuple[object, ...], message: str
) -> None:
    code, _, error = command(
        cli.main, "--init-from", finished / "best.ckpt", *sizes, "--out", tmp_path / "run"
    )
    assert code == 1
    assert message in error
    assert not (tmp_path / "run").exists()


def test_init_from_another_run(command: Command, finished: Path, tmp_path: Path) -> None:
    """The same sizes, another number of steps, a fresh schedule; the checkpoint says which weights it started from."""
    best = load_checkpoint(finished / "best.ckpt")
    arguments = ("--init-from", finished / "best.ckpt", "--out", tmp_path / "run", "--threads", 1)
    code, out, error = command(cli.main, *arguments, "--iterations", 5, "--time-steps", 3)
    assert code == 0, error
    assert "starts from the weights of iteration" in error
    assert "test: " in out
    last = load_checkpoint(tmp_path / "run" / "last.ckpt")
    assert dataclasses.replace(last.config, time_steps=2) == best.config
    assert last.training is not None
    assert last.training["settings"]["init_from"] == weights_sha256(best.weights, best.config)


def test_the_weights_to_share(command: Command, finished: Path, tmp_path: Path) -> None:
    """best.safetensors says what best.ckpt says, to every command that takes weights, and cannot be resumed."""
    best, shared = (load_checkpoint(finished / name) for name in ("best.ckpt", "best.safetensors"))
    assert {**vars(best), "weights": None} == {**vars(shared), "weights": None}
    assert weights_sha256(best.weights, best.config) == weights_sha256(shared.weights, shared.config)
    lines = [
        command(eval_cli.main, "--ckpt", finished / name, "--threads", 1)[1]
        for name in ("best.ckpt", "best.safetensors")
    ]
    assert lines[0] == lines[1] != ""
    assert f"{best.metrics['test_bound']:.2f} ± {best.metrics['test_standard_error']:.2f} nats" in lines[0]
    arguments = ("--init-from", finished / "best.safetensors", "--out", tmp_path / "run", "--threads", 1)
    code, _, error = command(cli.main, *arguments, "--iterations", 2)
    assert code == 0, error
    assert "starts from the weights of iteration" in error
    (tmp_path / "last.ckpt").write_bytes((finished / "best.safetensors").read_bytes())
    code, _, error = command(cli.main, "--resume", "--out", tmp_path)
    assert (code, error.count("\n")) == (1, 1)
    assert "weights-only checkpoint" in error


def test_sizes_that_are_not_the_presets_are_said(command: Command, finished: Path, tmp_path: Path) -> None:
    arguments = (
        "--init-from",
        finished / "best.ckpt",
        "--out",
        tmp_path / "run",
        "--threads",
        1,
        "--iterations",
        2,
    )
    code, _, error = command(cli.main, *arguments)
    assert code == 0, error
    assert (
        "other than the preset's: time_steps 2 (preset 8), hidden_size 8 (preset 64), latent_size 2 (preset 8)"
        in error
    )


def test_a_length_out_of_range_when_a_run_goes_on(command: Command, finished: Path) -> None:
    code, _, error = command(cli.main, "--resume", "--out", finished, "--iterations", 0)
    assert (code, error.count("\n")) == (1, 1)
    assert "error: --iterations must be between 1 and 1,000,000,000,000, not 0\n" in error
