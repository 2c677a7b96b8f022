"""Runs in several stages: one curve, exact resumption anywhere, and figures that belong to the stage."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, build_model, load_checkpoint
from draw_onnx.models.draw import Draw
from draw_onnx.models.growth import grown
from draw_onnx.train import launch
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.options import begin, go_on
from draw_onnx.train.ranks import Rank
from draw_onnx.train.run_lock import RunLock
from draw_onnx.train.selection import BestWeights
from draw_onnx.train.settings import Hardware, RunFolder
from draw_onnx.train.stages import place_of, reading_state
from draw_onnx.train.trainer import Trainer

from .conftest import STAGED

MODEL = STAGED.model


class Stopped(Exception):
    """What kill -9 is to a test."""


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, bars: Dataset, tmp_path: Path) -> Callable[..., RunFolder]:
    """Train ``STAGED`` in a folder, or go on there; ``kill_at`` ends it before that iteration's update."""
    monkeypatch.setattr(launch, "load_dataset", lambda *_, **__: bars)
    monkeypatch.setattr(launch, "write_sheet", lambda *_: None)
    step = Trainer.step

    def run(
        name: str, kill_at: int | None = None, resume: bool = False, compile: bool = False, code: int = 0
    ) -> RunFolder:
        def step_or_stop(trainer: Trainer) -> dict[str, torch.Tensor]:
            if trainer.iteration == kill_at:
                raise Stopped
            return step(trainer)

        monkeypatch.setattr(Trainer, "step", step_or_stop)
        folder = RunFolder(tmp_path / name)
        start = go_on(load_checkpoint(folder.last), {}, {}, folder) if resume else begin(STAGED, {}, {})
        with RunLock(folder.path) as lock:
            got = launch.train(start, folder, Hardware(device="cpu", compile=compile), None, lock, Rank())
        assert got == code
        return folder

    return run


def rows(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics.open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
            for row in csv.DictReader(file)
        ]


# Inside the first stage, at its end, before the second's first checkpoint, and after it.
@pytest.mark.parametrize("kill_at", [5, 8, 9, 16])
def test_resuming_is_bit_exact_in_every_stage(train: Callable[..., RunFolder], kill_at: int) -> None:
    whole = train("whole")
    with pytest.raises(Stopped):
        train("parts", kill_at=kill_at)
    parts = train("parts", resume=True)
    a, b = load_checkpoint(whole.last), load_checkpoint(parts.last)
    assert a.iteration == b.iteration == 20
    assert a.config.time_steps == 3
    assert a.training is not None
    assert b.training is not None
    for name, value in a.weights.items():
        assert torch.equal(value, b.weights[name]), name
        assert torch.equal(a.training["model"][name], b.training["model"][name]), name
    for state in ("exp_avg", "exp_avg_sq"):
        for k, entry in a.training["optimizer"]["state"].items():
            assert torch.equal(entry[state], b.training["optimizer"]["state"][k][state])
    assert rows(whole) == rows(parts)
    assert a.training["stages"] == b.training["stages"]


@pytest.mark.usefixtures("heard_signals")
def test_a_signal_in_a_stage_s_last_step_stops_before_the_next(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = BestWeights.validate

    def heard(selection: BestWeights, iteration: int) -> dict[str, float]:
        if iteration == 8:
            signal.raise_signal(signal.SIGTERM)
        return validate(selection, iteration)

    monkeypatch.setattr(BestWeights, "validate", heard)
    assert load_checkpoint(train("run", code=143).last).iteration == 8
    assert load_checkpoint(train("run", resume=True).last).iteration == 20


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("where", ["the beginning", "between", "the test"])
def test_ctrl_c_outside_the_loop_says_how_to_go_on(
    train: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
) -> None:
    """Before the first update, while a stage is announced, and in the test figure: one way to stop, and nothing lost."""
    names = {"the beginning": "announcement", "between": "announcement", "the test": "evaluate"}
    plain = getattr(launch, names[where])

    def heard(*arguments: Any, **more: Any) -> Any:
        if where == "the test" or arguments[0].place.index == (where == "between"):
            signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(launch, names[where], heard)
        folder = train("run", code=130)
    stopped = {"the beginning": 0, "between": 8, "the test": 20}[where]
    assert load_checkpoint(folder.last).iteration == stopped
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == [f"stopped at iteration {stopped}; go on with:", resume_words(folder)]
    # Nothing that takes long stands between Ctrl-C and that.
    assert where == "the test" or not any("starts from the weights" in line for line in said)
    assert not folder.test.exists()
    whole, parts = train("whole"), train("run", resume=True)
    assert rows(whole) == rows(parts)
    assert whole.test.read_text() == parts.test.read_text()


@pytest.mark.usefixtures("heard_signals")
def test_a_second_ctrl_c_says_where_the_run_goes_on(
    train: Callable[..., RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path,
) -> None:
    def impatient(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(launch, "evaluate", impatient)
    with pytest.raises(KeyboardInterrupt):
        train("run")
    assert capsys.readouterr().err.splitlines()[-1] == resume_words(RunFolder(tmp_path / "run"))


def resume_words(folder: RunFolder) -> str:
    return f"draw-train --resume --out {folder.path} --device cpu --no-compile"


@pytest.mark.parametrize("name", ["a/best.ckpt", None])
def test_whose_weights_a_run_starts_from(
    train: Callable[..., RunFolder], capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str | None
) -> None:
    """Of a fresh run, at a later stage too, the file's; from then on the stage's before."""
    train("first")
    initial = Checkpoint(MODEL, "bars", build_model(MODEL).state_dict(), iteration=8)
    said = capsys.readouterr().err
    assert "starts from the weights of iteration 8 of the stage before: validation " in said
    run = RunFolder(tmp_path / "second")
    start = begin(STAGED, {}, {}, initial, from_stage=2)
    with RunLock(run.path) as lock:
        launch.train(start, run, Hardware(device="cpu", compile=False), None, lock, Rank(), name)
    said = capsys.readouterr().err
    assert (
        f"starts from the weights of iteration 8 in {name or 'the file of --init-from'}: validation" in said
    )
    assert "of the stage before" not in said


def test_one_curve_over_all_stages(train: Callable[..., RunFolder]) -> None:
    got = [(int(row["iteration"]), int(row["stage"])) for row in rows(train("run"))]
    assert got == [(5, 1), (8, 1), (13, 2), (18, 2), (20, 2)]


def test_a_stage_begins_from_the_averaged_weights_with_a_fresh_optimiser(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    init = Trainer.__init__

    def spy(trainer: Trainer, start, *rest) -> None:
        init(trainer, start, *rest)
        weights = {k: v.clone() for k, v in trainer.model.state_dict().items()}
        starts.append((start, weights, dict(trainer.update.optimizer.state_dict()["state"])))

    monkeypatch.setattr(Trainer, "__init__", spy)
    train("run")
    (_, _, _), (start, weights, state) = starts
    assert state == {}
    assert start.initial.iteration == 8
    config = start.place.stage.config
    assert (config.read_size, config.write_size, config.hidden_size, config.prior) == (3, 5, 12, "learned")
    for name, value in grown(start.initial.weights, MODEL, config, weights).items():
        assert torch.equal(weights[name], value), name


def test_best_belongs_to_the_stage(train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sequences have other figures: a stage that begins worse still leaves its own best weights."""
    validate = BestWeights.validate

    def worse_from_the_second_stage_on(selection: BestWeights, iteration: int) -> dict[str, float]:
        row = validate(selection, iteration)
        row["valid_bound"] += 1000 * (iteration > 8)
        return row

    monkeypatch.setattr(BestWeights, "validate", worse_from_the_second_stage_on)
    best = load_checkpoint(train("run").best)
    assert best.iteration > 8
    assert best.config.time_steps == 3


def test_stages_keep_their_lengths_on_resume(train: Callable[..., RunFolder]) -> None:
    with pytest.raises(Stopped):
        train("run", kill_at=5)
    folder = RunFolder(train("other").path.parent / "run")
    with pytest.raises(DrawError, match="this run has stages"):
        go_on(load_checkpoint(folder.last), {"iterations": 50}, {}, folder)


def test_the_time_of_the_stages_before_counts(train: Callable[..., RunFolder], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train("run", kill_at=8)
    folder = RunFolder(tmp_path / "run")
    checkpoint = load_checkpoint(folder.last)
    assert checkpoint.training is not None
    checkpoint.training["seconds"] = 100.0
    start = go_on(checkpoint, {}, {}, folder)
    assert (start.place.index, start.place.first, start.seconds) == (1, 8, 100.0)


@pytest.mark.parametrize("text", ["CUDA error: unspecified launch failure", "CUDA out of memory. Tried"])
def test_a_failing_machine_is_no_damaged_file(text: str) -> None:
    kind = torch.OutOfMemoryError if "memory" in text else RuntimeError
    with pytest.raises(kind, match=text), reading_state(Path("last.ckpt")):
        raise kind(text)


def test_damaged_stages_are_one_line(train: Callable[..., RunFolder]) -> None:
    checkpoint = load_checkpoint(train("run").last)
    assert checkpoint.training is not None
    good = checkpoint.training["stages"]
    assert place_of(checkpoint).to_dict() == good
    changes = ({"plan": []}, {"plan": 3}, {"index": -1}, {"index": 2}, {"first": None})
    for wrong in (None, {}, *({**good, **change} for change in changes)):
        checkpoint.training["stages"] = wrong
        with pytest.raises(DrawError, match="stages are damaged"):
            place_of(checkpoint)


def test_every_stage_has_the_compilers_whole_limit(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What earlier stages compiled counts towards one limit of torch's, past which a chunk runs uncompiled."""
    compile_chunk = Draw.compile_chunk
    monkeypatch.setattr(Draw, "compile_chunk", lambda model: compile_chunk(model, "aot_eager"))
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        train("compiled", compile=True)
