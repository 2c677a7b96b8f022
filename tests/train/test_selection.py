"""Which validation's weights become best.ckpt, and what last.ckpt keeps of it."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train.trainer import Trainer

from .conftest import Make, run_stage


def run_on(trainer: Trainer, figures: list[dict[str, float]]) -> int:
    """Train with validations that say this; gives the iteration of best.ckpt."""
    said = iter(figures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("draw_onnx.train.selection.figures_to_terms", lambda _: next(said))
        run_stage(trainer)
    iteration = load_checkpoint(trainer.folder.best).iteration
    assert load_checkpoint(trainer.folder.weights).iteration == iteration
    return iteration


def errors(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"error": error, "cross_entropy": entropy} for error, entropy in pairs]


def test_of_equal_error_rates_the_lower_cross_entropy_is_kept(make_trainer: Make) -> None:
    """Twenty pictures know 21 error rates: the first one without a mistake is hardly the best."""
    trainer = make_trainer("classifier")
    assert run_on(trainer, errors((5.0, 0.01), (0.0, 0.4), (0.0, 0.1), (0.0, 0.2))) == 15
    assert trainer.selection.best == 0.0
    last = load_checkpoint(trainer.folder.last).training or {}
    assert (last["best"], last["best_cross_entropy"]) == (0.0, 0.1)


def test_of_equal_bounds_the_first_is_kept(make_trainer: Make) -> None:
    bounds = [{"bound": 8.0, "reconstruction": 7.0 - k, "kl": 1.0 + k} for k in range(4)]
    assert run_on(make_trainer(), bounds) == 5


def test_a_run_that_goes_on_chooses_as_before(make_trainer: Make) -> None:
    """last.ckpt holds what decides between equal errors."""
    trainer = make_trainer("classifier", iterations=10)
    assert run_on(trainer, errors((0.0, 0.2), (0.0, 0.3))) == 5
    last = load_checkpoint(trainer.folder.last)
    assert last.training is not None
    stages = copy.deepcopy(last.training["stages"])
    stages["plan"][0]["settings"]["iterations"] = last.training["settings"]["iterations"] = 20
    last.training["stages"] = stages
    resumed = make_trainer(resume=last)
    assert run_on(resumed, errors((0.0, 0.25), (0.0, 0.3))) == 5


def bounds(*values: float) -> list[dict[str, float]]:
    return [{"bound": value, "reconstruction": 7.0, "kl": 1.0} for value in values]


def test_bad_validations_end_a_run_only_in_a_row(make_trainer: Make) -> None:
    """Also where one of them was before it was stopped."""
    trainer = make_trainer()
    assert run_on(trainer, bounds(8.0, 50.0, 8.1, 50.0)) == 5
    last = load_checkpoint(trainer.folder.last)
    assert (last.training or {})["bad_evaluations"] == 1
    resumed = make_trainer(resume=last)
    with pytest.raises(DrawError, match="diverged"):
        run_on_one(resumed, 50.0)


def test_a_quarter_above_the_best_is_a_collapse(make_trainer: Make) -> None:
    assert run_on(make_trainer(), bounds(8.0, 9.9, 9.9, 9.9)) == 5
    with pytest.raises(DrawError, match=r"diverged: validation bound 10\.10 at iteration 20"):
        run_on(make_trainer(folder="other"), bounds(8.0, 9.9, 10.1, 10.1))


def run_on_one(trainer: Trainer, bound: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("draw_onnx.train.selection.figures_to_terms", lambda _: bounds(bound)[0])
        trainer.selection.validate(trainer.iteration)


def test_what_a_checkpoint_says_of_its_pictures(make_trainer: Make) -> None:
    facts = {"picture_fit": "cover", "binary": False, "figure_size": 4}
    selection = make_trainer().selection
    selection.dataset = SimpleNamespace(**facts)  # type: ignore[assignment]
    said = vars(selection.weights_only(3))
    assert {name: said[name] for name in facts} == facts


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_what_a_training_state_holds(make_trainer: Make, model: str) -> None:
    """Names in last.ckpt, which every later version has to read: each part writes and reads its own."""
    trainer = make_trainer(model)
    trainer.step()
    trainer.save()
    names = ["settings", "stages", "model", "optimizer", "machine", "train_size", "train_checksum"]
    names += [
        "valid_size",
        "valid_checksum",
        "test_size",
        "test_checksum",
        "seconds",
        "best",
        "bad_evaluations",
        "sums",
        "counted",
    ]
    state = load_checkpoint(trainer.folder.last).training
    assert list(state or ()) == names
