"""Which stages a run has: of its preset, the options, and where it begins."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, build_model, load_checkpoint, weights_sha256
from draw_onnx.models.config import DrawConfig
from draw_onnx.models.growth import misfits
from draw_onnx.train import launch
from draw_onnx.train.options import begin, go_on
from draw_onnx.train.presets import PRESETS, find_preset
from draw_onnx.train.stages import Place

from .conftest import STAGED

MODEL, SETTINGS = STAGED.model, STAGED.settings


def test_how_a_run_is_watched_holds_for_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """More frequent validations are no other experiment; a rate is, and is said to be."""
    watched = {"eval_every": 2, "save_every": 7}
    own = {**STAGED.stages[1], "eval_every": 4, "save_every": 4}
    preset = dataclasses.replace(STAGED, stages=({"iterations": 8}, own))
    plan = begin(preset, watched, {}).place.plan
    assert [(s.settings.eval_every, s.settings.save_every) for s in plan] == [(2, 7), (2, 7)]
    assert capsys.readouterr().err == ""
    assert len(begin(preset, {**watched, "learning_rate": 1e-3}, {}).place.plan) == 1
    assert capsys.readouterr().err == "one stage, not the preset's 2, by --lr\n"


def test_an_option_that_a_stage_sets_makes_a_run_of_one_stage() -> None:
    assert [s.settings.iterations for s in begin(STAGED, {}, {}).place.plan] == [8, 12]
    assert [s.config.time_steps for s in begin(STAGED, {"seed": 3}, {}).place.plan] == [2, 3]
    assert [s.settings.seed for s in begin(STAGED, {"seed": 3}, {}).place.plan] == [3, 3]
    plan = begin(STAGED, {}, {"latent_size": 3}).place.plan
    assert [vars(stage.config)["latent_size"] for stage in plan] == [3, 3]
    for changes, sizes in (({"iterations": 7}, {}), ({}, {"time_steps": 4}), ({"learning_rate": 1e-3}, {})):
        (stage,) = begin(STAGED, changes, sizes).place.plan
        assert stage.settings == dataclasses.replace(SETTINGS, **changes)
        assert stage.config == dataclasses.replace(MODEL, **sizes)


def test_weights_of_another_run_make_a_run_of_one_stage(capsys: pytest.CaptureFixture[str]) -> None:
    initial = Checkpoint(MODEL, "digits", build_model(MODEL).state_dict())
    for changes in ({}, {"learning_rate": 1e-3}):
        (stage,) = begin(STAGED, changes, {}, initial).place.plan
        assert stage.settings.learning_rate == changes.get("learning_rate", SETTINGS.learning_rate)
        assert "one stage, not the preset's 2, by --init-from\n" in capsys.readouterr().err


def test_windows_that_a_preset_without_attention_is_given() -> None:
    """The paper's for MNIST, each of them where no option says another."""
    preset = find_preset("mnist-no-attention")
    for sizes, windows in (({}, (2, 5)), ({"read_size": 3}, (3, 5)), ({"write_size": 4}, (2, 4))):
        for stage in begin(preset, {}, {"attention": True, **sizes}).place.plan:
            assert isinstance(stage.config, DrawConfig)
            assert (stage.config.read_size, stage.config.write_size) == windows


def test_a_stages_precision_gives_way_to_an_option_and_to_the_machine() -> None:
    preset = dataclasses.replace(
        STAGED, stages=(STAGED.stages[0], {**STAGED.stages[1], "precision": "bf16-mixed"})
    )

    def precisions(**of_begin: Any) -> list[str]:
        return [s.settings.precision for s in begin(preset, sizes={}, **of_begin).place.plan]

    assert precisions(changes={}) == ["32-true", "bf16-mixed"]
    assert precisions(changes={}, bfloat16=False) == ["32-true", "32-true"]
    assert precisions(changes={"precision": "32-true"}) == ["32-true", "32-true"]
    assert precisions(changes={"precision": "bf16-mixed"}, bfloat16=False) == ["bf16-mixed", "bf16-mixed"]


def test_beginning_at_a_later_stage() -> None:
    """What the stages before made stands in for them: the same place, iterations and settings."""
    initial = Checkpoint(MODEL, "bars", build_model(MODEL).state_dict(), iteration=5)  # the best of them
    start = begin(STAGED, {}, {}, initial, from_stage=2)
    assert (start.place.index, start.place.first, start.place.end) == (1, 8, 20)
    assert start.initial is initial
    assert {stage.settings.init_from for stage in start.place.plan} == {
        weights_sha256(initial.weights, MODEL)
    }
    for arguments, message in (
        (({}, {}, None, 2), "needs --init-from"),
        (({}, {}, initial, 3), "can begin at its stages 2 to 2"),
        (({"write_window": 4.0}, {}, initial, 2), "--write-window is for random weights"),
        (({}, {}, initial, 1), "without the option at its first"),
        (({"iterations": 5}, {}, initial, 2), "leave out --iterations"),
        (({}, {"latent_size": 9}, initial, 2), "other sizes"),
    ):
        with pytest.raises(DrawError, match=message):
            begin(STAGED, *arguments)


def test_what_a_run_that_goes_on_may_change(make_trainer, capsys: pytest.CaptureFixture[str]) -> None:
    """Its length, which is said to move the schedule, and where its pictures lie; nothing else."""
    trainer = make_trainer(image_dir="/a", validation_dir="/b")
    trainer.step()
    trainer.save()
    checkpoint, settings = load_checkpoint(trainer.folder.last), trainer.settings
    new = {"iterations": 30, "image_dir": "/c", "validation_dir": "/d"}
    for name in vars(settings).keys() - new.keys():
        with pytest.raises(DrawError, match="leave out --"):
            go_on(checkpoint, {name: getattr(settings, name)}, {}, trainer.folder)
    for name, value in vars(trainer.config).items():
        with pytest.raises(DrawError, match="leave out --"):
            go_on(checkpoint, {}, {name: value}, trainer.folder)
    folders = {**new, "iterations": 20}
    start = go_on(checkpoint, folders, {}, trainer.folder)
    assert start.settings == dataclasses.replace(settings, **folders)
    assert capsys.readouterr().err == ""
    start = go_on(checkpoint, new, {}, trainer.folder)
    assert (start.place.total, start.settings) == (30, dataclasses.replace(settings, **new))
    assert "another --iterations changes the learning-rate schedule" in capsys.readouterr().err


def test_a_later_stage_keeps_the_classes_of_its_weights() -> None:
    preset = find_preset("cluttered-mnist-4")
    first = begin(preset, {}, {}).place.stage.config
    config = dataclasses.replace(first, labels=("a", "b", "c"))  # type: ignore[call-arg]
    initial = Checkpoint(config, "cluttered-mnist", build_model(config).state_dict())
    plan = begin(preset, {}, {}, initial, from_stage=2).place.plan
    assert {vars(stage.config)["labels"] for stage in plan} == {("a", "b", "c")}


def test_a_run_from_nothing_takes_its_data_s_classes(bars, make_trainer) -> None:
    """EMNIST's letters are 26 classes where the preset has ten; trained weights keep theirs."""
    own = find_preset("cluttered-mnist-4")
    start = begin(own, {}, {})
    data = dataclasses.replace(bars, labels=("a", "b", "c"))
    changed = launch._with_classes(start, data)
    assert len(changed.place.plan) == len(own.stages)
    assert {vars(stage.config)["labels"] for stage in changed.place.plan} == {("a", "b", "c")}
    assert changed.settings == start.settings
    trained = dataclasses.replace(changed, initial=make_trainer("classifier").weights_only())
    assert launch._with_classes(trained, data) is trained
    with pytest.raises(DrawError, match="other classes than the model"):
        launch._with_classes(trained, bars)


def test_the_time_left_is_that_of_the_whole_run() -> None:
    """Updates of 3 steps on 6 pictures follow those of 2 steps on 10, with larger windows and so with more weights."""
    place = begin(STAGED, {}, {}).place
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
