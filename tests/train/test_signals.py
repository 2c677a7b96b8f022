"""Signals while a run trains, compiles or validates: it stops, saves and says so."""

from __future__ import annotations

import signal

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.models.products import Chunked
from draw_onnx.train.interrupt import Interrupt
from draw_onnx.train.stages import place_of
from draw_onnx.train.trainer import Trainer

from .conftest import Make, run_stage

FAILED = type("TorchDynamoException", (RuntimeError,), {})  # what torch.compile raises, by its name


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
    interrupt = run_stage(trainer)
    assert interrupt.exit_code == code
    assert load_checkpoint(trainer.folder.last).iteration == trainer.iteration == 6
    assert signal.getsignal(number) is not interrupt._note


@pytest.mark.usefixtures("heard_signals")
def test_a_signal_in_the_last_validation_is_heeded(make_trainer: Make) -> None:
    """The test figure may take minutes, which a scheduler that has given notice does not wait for."""
    trainer = make_trainer(iterations=4, eval_every=4)
    assert run_stage(trainer, lambda _: signal.raise_signal(signal.SIGTERM)).exit_code == 143
    assert load_checkpoint(trainer.folder.last).iteration == 4


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("heard", [True, False])
def test_a_compiler_that_ctrl_c_ends_is_no_error(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """A terminal sends it to g++ as well, and torch.compile fails: the run stops before its first update, and saves."""
    trainer = make_trainer(iterations=100, eval_every=100, save_every=100)
    for _ in range(2):
        trainer.step()

    def stop(_: int) -> None:
        if heard:
            signal.raise_signal(signal.SIGINT)
        raise FAILED("g++")

    monkeypatch.setattr(trainer.update, "prepare", stop)
    if not heard:
        with pytest.raises(DrawError, match=r"torch.compile does not work here \(g\+\+\): give --no-compile"):
            run_stage(trainer)
        return
    assert run_stage(trainer).exit_code == 130
    assert load_checkpoint(trainer.folder.last).iteration == 2


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_stopped_before_the_first_update_a_run_goes_on(make_trainer: Make, optimizer: str) -> None:
    """The optimiser has no state then. Nothing is compiled for a run that stops."""
    trainer = make_trainer(optimizer=optimizer)
    trainer.update.prepare = lambda _: pytest.fail("compiles")  # type: ignore[method-assign]
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        trainer.run(interrupt)
    assert interrupt.exit_code == 130
    resumed = make_trainer(resume=load_checkpoint(trainer.folder.last))
    assert resumed.iteration == 0
    run_stage(resumed)
    whole = make_trainer(folder="whole", optimizer=optimizer)
    run_stage(whole)
    for name, value in whole.update.average.weights.items():
        assert torch.equal(value, resumed.update.average.weights[name]), name


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_compiling_before_the_first_update_changes_nothing(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """All of it is compiled then, forward and backward, and the run's bits are those of one that compiled on its way."""
    compile_chunk, compiled = Chunked.compile_chunk, []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        compiled.append(graph)
        return aot_eager(graph, inputs)

    aot_eager = torch._dynamo.lookup_backend("aot_eager")
    monkeypatch.setattr(Chunked, "compile_chunk", lambda self: compile_chunk(self, backend))
    before, on_its_way = (make_trainer(model, folder, compile=True) for folder in ("before", "way"))
    state = torch.get_rng_state()
    before.update.prepare(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in before.model.parameters())
    assert before.update.optimizer.state_dict()["state"] == {}
    graphs = len(compiled)
    assert graphs > 0
    for _ in range(3):
        before.step()
    assert len(compiled) == graphs
    for _ in range(3):
        on_its_way.step()
    for name, value in on_its_way.model.state_dict().items():
        assert torch.equal(value, before.model.state_dict()[name]), name


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("saved", [False, True])
def test_a_broken_run_that_is_stopped_says_so(make_trainer: Make, saved: bool) -> None:
    """Nothing is saved of weights that are no numbers, and nobody is sent to go on from them."""
    trainer = make_trainer(iterations=40, save_every=2 if saved else 40)
    step = trainer.step

    def break_and_signal() -> dict[str, torch.Tensor]:
        terms = step()
        if trainer.iteration == 3:
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))
            trainer.update.average.update(trainer.model, trainer.iteration)
            signal.raise_signal(signal.SIGINT)
        return terms

    trainer.step = break_and_signal  # type: ignore[method-assign]
    with pytest.raises(DrawError, match="stopped at iteration 3, where weights are no finite numbers"):
        run_stage(trainer)
    assert trainer.folder.last.exists() is saved
    if saved:
        assert load_checkpoint(trainer.folder.last).iteration == 2


@pytest.mark.usefixtures("heard_signals")
def test_a_run_that_is_made_to_end_where_it_was_stopped_is_recorded(make_trainer: Make) -> None:
    trainer = make_trainer(iterations=20, eval_every=20, save_every=20)
    step = trainer.step

    def step_and_signal() -> dict[str, torch.Tensor]:
        terms = step()
        if trainer.iteration == 6:
            signal.raise_signal(signal.SIGINT)
        return terms

    trainer.step = step_and_signal  # type: ignore[method-assign]
    run_stage(trainer)
    last = load_checkpoint(trainer.folder.last)
    assert last.training is not None
    last.training["settings"]["iterations"] = 6
    last.training["stages"]["plan"][0]["settings"]["iterations"] = 6
    drawn: list[Trainer] = []
    run_stage(make_trainer(resume=last), drawn.append)
    rows = trainer.folder.metrics.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "6"]
    assert all(rows[1].split(",")), "a value is missing"
    assert len(drawn) == 1
    assert place_of(load_checkpoint(trainer.folder.last)).total == 6
