"""What a run computes on: subnormals, compiling, the clock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from draw_onnx.models.config import DrawConfig
from draw_onnx.train import clock, machine
from draw_onnx.train.launch import expected_seconds
from draw_onnx.train.presets import find_preset
from draw_onnx.train.ranks import Rank
from draw_onnx.train.settings import Hardware, TrainSettings
from draw_onnx.train.stages import Stage
from draw_onnx.train.trainer import Trainer

from .conftest import run_stage

# Forward and backward, each over a million numbers, so that both of the pool's threads have their share.
SCRIPT = """
import torch
from draw_onnx.train.machine import flushed_subnormals
torch.set_num_threads(2)
with flushed_subnormals():
    x = torch.full((1 << 20,), 1e-30, requires_grad=True)
    y = x * 1e-10
    (y + x * 1e-20).backward(torch.full_like(y, 1e-20))
    print(int(y.count_nonzero()), int(x.grad.count_nonzero()))
print(int((torch.full((4,), 1e-30) * 1e-10).count_nonzero()))
"""


def test_subnormals_are_flushed_on_every_thread_and_in_backward() -> None:
    """1e-40, and gradients of 1e-30 and 1e-40, of which only the first is a normal number."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    values, gradients, after = map(int, done.stdout.split())
    assert values == 0
    assert gradients == 1 << 20  # 1e-20 * 1e-10 = 1e-30, to which 1e-40 adds nothing
    assert after == 4  # the caller's mode comes back


def test_backward_alone_is_flushed() -> None:
    script = SCRIPT.replace("(y + x * 1e-20)", "(x * 1e-20)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "0"


def test_training_flushes(
    monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]], tmp_path
) -> None:
    from draw_onnx.train import cli

    seen = []
    step = Trainer.step

    def look(trainer: Trainer) -> dict[str, torch.Tensor]:
        seen.append(bool(torch.tensor(1e-38) * 1e-3))
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", look)
    code, _, error = command(cli.main, "--out", tmp_path / "run", "--iterations", 3, "--hidden", 8)
    assert code == 0, error
    assert seen == [False] * 3
    assert bool(torch.tensor(1e-38) * 1e-3)


def stage(iterations: int, config: DrawConfig | None = None) -> Stage:
    return Stage(TrainSettings("mnist", "mnist", iterations), config or DrawConfig())


def test_what_is_long_enough_to_compile() -> None:
    """The paper's run is, the digits of a minute are not."""
    digits = find_preset("digits")
    assert expected_seconds(Stage(digits.settings, digits.model)) < 100
    assert expected_seconds(stage(1000)) > 600
    assert expected_seconds(stage(20)) < 60


def test_compiling_is_tried_where_it_pays_and_given_up_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert not machine.decide_compile(599.0, cpu)
    assert machine.decide_compile(600.0, cpu)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    assert not machine.decide_compile(3600.0, cpu)
    error = capsys.readouterr().err
    assert error == "time steps are not compiled, torch.compile does not work here (no C++ compiler found)\n"


@pytest.mark.parametrize(
    ("given", "variable", "processes", "threads"),
    [
        (3, None, 1, [3]),
        (3, "4", 2, [3]),
        (None, None, 1, [6]),  # what the container is granted
        (None, None, 2, [3]),  # each of two processes has half of it
        (None, None, 9, [1]),
        (None, "4", 1, []),  # PyTorch has read it
    ],
)
def test_how_many_threads_a_run_takes(
    monkeypatch: pytest.MonkeyPatch,
    given: int | None,
    variable: str | None,
    processes: int,
    threads: list[int],
) -> None:
    said: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(machine, "available_cpus", lambda: 6)
    machine.make_fabric(Hardware(device="cpu", threads=given), Rank(count=processes, local=processes))
    assert said == threads


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("", "asimd bf16", True),
        ("", "", False),
    ],
)
def test_where_bfloat16_pays(monkeypatch: pytest.MonkeyPatch, vendor: str, flags: str, fast: bool) -> None:
    monkeypatch.setattr(machine, "cpu_facts", lambda: {"vendor_id": vendor} if vendor else {})
    monkeypatch.setattr(machine, "cpu_flags", lambda: set(flags.split()))
    assert machine.bfloat16_pays(torch.device("cpu")) is fast
    assert machine.bfloat16_pays(torch.device("cuda"))


def test_the_clock_counts_between_start_and_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = clock.Clock(torch.device("cpu"), 5.0)
    watch.start()
    watch.start()  # the interval goes on
    now[0] = 12.0
    watch.stop()
    now[0] = 100.0
    watch.stop()
    assert watch.seconds == 7.0


def test_compiling_validations_sheets_and_checkpoints_are_not_counted(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still but in updates (1 s each) and in all that stands beside them (100 s each)."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trainer = make_trainer()

    def slower(method: Callable, seconds: float) -> Callable:
        def run(*arguments, **keywords):
            now[0] += seconds
            return method(*arguments, **keywords)

        return run

    monkeypatch.setattr(trainer, "step", slower(trainer.step, 1.0))
    save = trainer.save

    def slow_save() -> None:
        trainer.clock.stop()  # what save itself begins with
        now[0] += 100.0
        save()

    monkeypatch.setattr(trainer, "save", slow_save)
    monkeypatch.setattr(trainer.selection, "validate", slower(trainer.selection.validate, 100.0))
    monkeypatch.setattr(trainer.update, "prepare", slower(trainer.update.prepare, 100.0))
    run_stage(trainer, lambda _: now.__setitem__(0, now[0] + 100.0))
    assert trainer.clock.seconds == 20.0


def test_an_old_run_that_was_not_compiled_stays_so() -> None:
    settings = TrainSettings("mnist", "mnist", 100)
    saved = settings.to_dict()
    del saved["compile"]
    assert TrainSettings.from_dict(saved).compile is False
    assert Hardware().compile is None
