"""Runs in several stages: one curve, exact resumption anywhere, and figures that belong to the stage."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, build_model, load_checkpoint
from draw_onnx.models.config import DrawConfig
from draw_onnx.models.draw import Draw
from draw_onnx.models.growth import grown, misfits
from draw_onnx.train import launch
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.options import begin, go_on
from draw_onnx.train.presets import PRESETS, Preset, find_preset
from draw_onnx.train.ranks import Rank
from draw_onnx.train.run_lock import RunLock
from draw_onnx.train.settings import Hardware, RunFolder, TrainSettings
from draw_onnx.train.stages import Place, Stage, place_of
from draw_onnx.train.trainer import Trainer

MODEL = DrawConfig(1, 6, 5, time_steps=2, hidden_size=8, latent_size=2, read_size=2, write_size=3)
SETTINGS = TrainSettings(
    "bars", "bars", 10, batch_size=10, learning_rate=5e-3, warmup=2, eval_every=5, save_every=3
)
PRESET = Preset(
    "two stages",
    MODEL,
    SETTINGS,
    (
        {"iterations": 8},
        {
            "iterations": 12,
            "time_steps": 3,
            "read_size": 3,
            "write_size": 5,
            "hidden_size": 12,
            "learning_rate": 2e-3,
            "batch_size": 6,
            "prior": "learned",
        },
    ),
)


class Stopped(Exception):
    """What kill -9 is to a test."""


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, bars: Dataset, tmp_path: Path) -> Callable[..., RunFolder]:
    """Train ``PRESET`` in a folder, or go on there; ``kill_at`` ends it before that iteration's update."""
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
        start = go_on(load_checkpoint(folder.last), {}, {}, folder) if resume else begin(PRESET, {}, {})
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
    validate = Trainer._validate

    def heard(trainer: Trainer) -> dict[str, float]:
        if trainer.iteration == 8:
            signal.raise_signal(signal.SIGTERM)
        return validate(trainer)

    monkeypatch.setattr(Trainer, "_validate", heard)
    assert load_checkpoint(train("run", code=143).last).iteration == 8
    assert load_checkpoint(train("run", resume=True).last).iteration == 20


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
        starts.append((start, weights, dict(trainer.optimizer.state_dict()["state"])))

    monkeypatch.setattr(Trainer, "__init__", spy)
    train("run")
    (_, _, _), (start, weights, state) = starts
    assert state == {}
    assert start.initial.iteration == 8
    config = start.place.stage.config
    assert (config.read_size, config.write_size, config.hidden_size, config.prior) == (3, 5, 12, "learned")
    for name, value in grown(start.initial.weights, MODEL, config, weights).items():
        assert torch.equal(weights[name], value), name


def test_how_a_run_is_watched_holds_for_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """More frequent validations are no other experiment; a rate is, and is said to be."""
    watched = {"eval_every": 2, "save_every": 7}
    preset = dataclasses.replace(PRESET, stages=({"iterations": 8}, {**PRESET.stages[1], "eval_every": 4}))
    plan = begin(preset, watched, {}).place.plan
    assert [(s.settings.eval_every, s.settings.save_every) for s in plan] == [(2, 7), (2, 7)]
    assert capsys.readouterr().err == ""
    assert len(begin(preset, {**watched, "learning_rate": 1e-3}, {}).place.plan) == 1
    assert capsys.readouterr().err == "one stage, not the preset's 2, by --lr\n"


def test_best_belongs_to_the_stage(train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sequences have other figures: a stage that begins worse still leaves its own best weights."""
    validate = Trainer._validate

    def worse_from_the_second_stage_on(trainer: Trainer) -> dict[str, float]:
        row = validate(trainer)
        row["valid_bound"] += 1000 * trainer.place.index
        return row

    monkeypatch.setattr(Trainer, "_validate", worse_from_the_second_stage_on)
    best = load_checkpoint(train("run").best)
    assert best.iteration > 8
    assert best.config.time_steps == 3


def test_an_option_that_a_stage_sets_makes_a_run_of_one_stage() -> None:
    assert [s.settings.iterations for s in begin(PRESET, {}, {}).place.plan] == [8, 12]
    assert [s.config.time_steps for s in begin(PRESET, {"seed": 3}, {}).place.plan] == [2, 3]
    assert [s.settings.seed for s in begin(PRESET, {"seed": 3}, {}).place.plan] == [3, 3]
    plan = begin(PRESET, {}, {"latent_size": 3}).place.plan
    assert [vars(stage.config)["latent_size"] for stage in plan] == [3, 3]
    for changes, sizes in (({"iterations": 7}, {}), ({}, {"time_steps": 4}), ({"learning_rate": 1e-3}, {})):
        (stage,) = begin(PRESET, changes, sizes).place.plan
        assert stage.settings == dataclasses.replace(SETTINGS, **changes)
        assert stage.config == dataclasses.replace(MODEL, **sizes)


def test_a_stages_precision_gives_way_to_an_option_and_to_the_machine() -> None:
    preset = dataclasses.replace(
        PRESET, stages=(PRESET.stages[0], {**PRESET.stages[1], "precision": "bf16-mixed"})
    )

    def precisions(**of_begin: Any) -> list[str]:
        return [s.settings.precision for s in begin(preset, sizes={}, **of_begin).place.plan]

    assert precisions(changes={}) == ["32-true", "bf16-mixed"]
    assert precisions(changes={}, bfloat16=False) == ["32-true", "32-true"]
    assert precisions(changes={"precision": "32-true"}) == ["32-true", "32-true"]
    assert precisions(changes={"precision": "bf16-mixed"}, bfloat16=False) == ["bf16-mixed", "bf16-mixed"]


def test_beginning_at_a_later_stage() -> None:
    """What the stages before made stands in for them: the same place, iterations and settings."""
    initial = Checkpoint(MODEL, "bars", build_model(MODEL).state_dict(), iteration=8)
    start = begin(PRESET, {}, {}, initial, from_stage=2)
    assert (start.place.index, start.place.first, start.place.end) == (1, 8, 20)
    assert start.initial is initial
    assert start.settings.init_from
    for arguments, message in (
        (({}, {}, None, 2), "needs --init-from"),
        (({}, {}, initial, 3), "can begin at its stages 2 to 2"),
        (({"write_window": 4.0}, {}, initial, 2), "--write-window is for random weights"),
        (({}, {}, initial, 1), "without the option at its first"),
        (({"iterations": 5}, {}, initial, 2), "leave out --iterations"),
        (({}, {"latent_size": 9}, initial, 2), "other sizes"),
    ):
        with pytest.raises(DrawError, match=message):
            begin(PRESET, *arguments)


def test_stages_keep_their_lengths_on_resume(train: Callable[..., RunFolder]) -> None:
    with pytest.raises(Stopped):
        train("run", kill_at=5)
    folder = RunFolder(train("other").path.parent / "run")
    with pytest.raises(DrawError, match="this run has stages"):
        go_on(load_checkpoint(folder.last), {"iterations": 50}, {}, folder)


def test_a_run_without_stages_goes_on(train: Callable[..., RunFolder]) -> None:
    """Checkpoints made before there were stages: one of the settings that they hold."""
    with pytest.raises(Stopped):
        train("run", kill_at=5)
    checkpoint = load_checkpoint(RunFolder(train("other").path.parent / "run").last)
    assert checkpoint.training is not None
    del checkpoint.training["stages"]
    place = place_of(checkpoint)
    assert (place.total, place.index, place.first, len(place.plan)) == (8, 0, 0, 1)
    assert place.stage == Stage(TrainSettings.from_dict(checkpoint.training["settings"]), checkpoint.config)


def test_a_run_from_nothing_takes_its_data_s_classes(bars, make_trainer) -> None:
    """EMNIST's letters are 26 classes where the preset has ten; trained weights keep theirs."""
    own = find_preset("cluttered-mnist-4")
    start = begin(own, {}, {})
    data = dataclasses.replace(bars, labels=("a", "b", "c"))
    changed = launch._with_classes(start, data)
    assert [vars(stage.config)["labels"] for stage in changed.place.plan] == [("a", "b", "c")] * 2
    assert changed.settings == start.settings
    trained = dataclasses.replace(changed, initial=make_trainer("classifier").weights_only())
    assert launch._with_classes(trained, data) is trained
    with pytest.raises(DrawError, match="other classes than the model"):
        launch._with_classes(trained, bars)


def test_damaged_stages_are_one_line(train: Callable[..., RunFolder]) -> None:
    checkpoint = load_checkpoint(train("run").last)
    assert checkpoint.training is not None
    for wrong in ({}, {"plan": [], "index": 0, "first": 0}, {"plan": 3, "index": 0, "first": 0}):
        checkpoint.training["stages"] = wrong
        with pytest.raises(DrawError, match="stages are damaged"):
            place_of(checkpoint)


def test_the_time_left_is_that_of_the_whole_run() -> None:
    """Updates of 3 steps on 6 pictures follow those of 2 steps on 10, with larger windows and so with more weights."""
    place = begin(PRESET, {}, {}).place
    first, second = (sum(p.numel() for p in build_model(stage.config).parameters()) for stage in place.plan)
    assert second > 1.1 * first
    assert place.seconds_left(2, 1.0) == pytest.approx(6 + 12 * 18 / 20 * second / first)
    assert place.next().seconds_left(12, 1.0) == pytest.approx(8)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_whole(name: str, tmp_path: Path) -> None:
    """Every stage's settings are valid, and its model is one that the weights of the stage before can grow to."""
    for picture in ("a/1.png", "b/1.png"):
        (tmp_path / picture).parent.mkdir()
        (tmp_path / picture).touch()
    start = begin(PRESETS[name], {"image_dir": str(tmp_path)} if "images" in name else {}, {})
    assert isinstance(start.place, Place)
    for before, after in itertools.pairwise(stage.config for stage in start.place.plan):
        assert misfits(before, after) == []


def test_every_stage_has_the_compilers_whole_limit(
    train: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What earlier stages compiled counts towards one limit of torch's, past which a chunk runs uncompiled."""
    compile_chunk = Draw.compile_chunk
    monkeypatch.setattr(Draw, "compile_chunk", lambda model: compile_chunk(model, "aot_eager"))
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        train("compiled", compile=True)
