"""Signals while a run trains, compiles or validates: it stops, saves and says so."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import torch

from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train.trainer import Trainer

Make = Callable[..., Trainer]


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGUSR1", 138)]
)
def test_a_signal_finishes_the_step_and_saves(make_trainer: Make, name: str, code: int) -> None:
    if not hasattr(signal, name):
        pytest.skip(f"no {name} here")
    number = getattr(signal, name)
    trainer = make_trainer(iterations=100, eval_every=100, save_every=100)
    step = trainer.step

    def step_and_signal() -> dict[str, torch.Tensor]:
        terms = step()
        if trainer.iteration == 6:
            signal.raise_signal(number)
        return terms

    trainer.step = step_and_signal  # type: ignore[method-assign]
    interrupt = trainer.run(lambda _: None)
    assert interrupt.exit_code == code
    assert load_checkpoint(trainer.folder.last).iteration == trainer.iteration == 6
    assert signal.getsignal(number) is not interrupt._note


@pytest.mark.usefixtures("heard_signals")
def test_a_signal_in_the_last_validation_is_heeded(make_trainer: Make) -> None:
    """The test figure may take minutes, which a scheduler that has given notice does not wait for."""
    trainer = make_trainer(iterations=4, eval_every=4)
    assert trainer.run(lambda _: signal.raise_signal(signal.SIGTERM)).exit_code == 143
    assert load_checkpoint(trainer.folder.last).iteration == 4


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("heard", [True, False])
def test_a_compiler_that_ctrl_c_ends_is_no_error(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """A terminal sends it to g++ as well, and torch.compile fails: the run stops as after any step, and saves."""
    trainer = make_trainer(iterations=100, eval_every=100, save_every=100)
    step = trainer.step

    def stop_at_two() -> dict[str, torch.Tensor]:
        if trainer.iteration == 2:
            if heard:
                signal.raise_signal(signal.SIGINT)
            raise type("TorchDynamoException", (RuntimeError,), {})("g++")
        return step()

    monkeypatch.setattr(trainer, "step", stop_at_two)
    if not heard:
        with pytest.raises(RuntimeError, match="g\\+\\+"):
            trainer.run(lambda _: None)
        return
    assert trainer.run(lambda _: None).exit_code == 130
    assert load_checkpoint(trainer.folder.last).iteration == 2


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_stopped_before_the_first_update_a_run_goes_on(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """The optimiser has no state then."""
    trainer = make_trainer(optimizer=optimizer)

    def stop() -> dict[str, torch.Tensor]:
        signal.raise_signal(signal.SIGINT)
        raise type("TorchDynamoException", (RuntimeError,), {})("g++")

    monkeypatch.setattr(trainer, "step", stop)
    assert trainer.run(lambda _: None).exit_code == 130
    resumed = make_trainer(resume=load_checkpoint(trainer.folder.last))
    assert resumed.iteration == 0
    resumed.run(lambda _: None)
    whole = make_trainer(folder="whole", optimizer=optimizer)
    whole.run(lambda _: None)
    for name, value in whole.average.weights.items():
        assert torch.equal(value, resumed.average.weights[name]), name


@pytest.mark.usefixtures("heard_signals")
def test_in_a_validation_what_was_saved_counts(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is missing, so that the run goes on from before it, as after a second Ctrl-C."""
    trainer = make_trainer(iterations=100, eval_every=4, save_every=3)

    def stop() -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        raise type("TorchDynamoException", (RuntimeError,), {})("g++")

    monkeypatch.setattr(trainer, "_validate", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(lambda _: None)
    assert load_checkpoint(trainer.folder.last).iteration == 3
