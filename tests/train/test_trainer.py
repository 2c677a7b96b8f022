"""The loop: exact resumption, data order, schedule, guards. Signals: test_signals.py."""

from __future__ import annotations

import csv

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import Checkpoint, load_checkpoint
from draw_onnx.train.optimizer import learning_rate
from draw_onnx.train.trainer import Trainer

from .conftest import Make, run_stage


def run(trainer: Trainer) -> Trainer:
    run_stage(trainer)
    return trainer


def after_one_step(trainer: Trainer) -> Checkpoint:
    trainer.step()
    trainer.save()
    return load_checkpoint(trainer.folder.last)


def rows(trainer: Trainer) -> list[dict[str, str]]:
    with trainer.folder.metrics.open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_resuming_is_bit_exact(make_trainer: Make, model: str, optimizer: str) -> None:
    slow_heads = {"attention_lr_scale": 0.1, "attention_lr_settle": 10, "optimizer": optimizer}
    whole = run(make_trainer(model, "whole", **slow_heads))
    first = make_trainer(model, "parts", **slow_heads)
    while first.iteration < 8:  # as many steps as the last checkpoint before a kill would hold
        first.step()
    first.save()
    for _ in range(3):  # lost work
        first.step()
    second = run(make_trainer(model, "parts", resume=load_checkpoint(first.folder.last), **slow_heads))
    assert second.iteration == whole.iteration == 20
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.update.average.weights.items():
        assert torch.equal(value, second.update.average.weights[name]), name
    a, b = (load_checkpoint(t.folder.last) for t in (whole, second))
    assert a.training is not None
    assert b.training is not None
    for k, entry in a.training["optimizer"]["state"].items():
        for state, value in entry.items():
            assert torch.equal(value, b.training["optimizer"]["state"][k][state]), state


def test_another_machine_is_said_not_to_be_bit_exact(
    make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = after_one_step(make_trainer())
    make_trainer(resume=checkpoint)
    assert "bit-exact" not in capsys.readouterr().err
    assert checkpoint.training is not None
    checkpoint.training["machine"] = "2 x cuda"
    make_trainer(resume=checkpoint)
    error = capsys.readouterr().err
    assert "trained on 2 x cuda so far, now on 1 x cpu (" in error
    assert "this run is not bit-exact" in error


def test_other_threads_are_said_not_to_be_bit_exact(
    make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = after_one_step(make_trainer())
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        make_trainer(resume=checkpoint)
    finally:
        torch.set_num_threads(threads)
    assert f"{threads + 1} threads: this run is not bit-exact" in capsys.readouterr().err


def test_no_clipping_lets_any_gradient_through(make_trainer: Make) -> None:
    """0 and a norm that is never reached are the same; a small one is not."""
    runs = [make_trainer(folder=str(c), clip_norm=c) for c in (0.0, 1e9, 1e-3)]
    for trainer in runs:  # far above the norm that cuts without the option
        trainer.update.objective.register_forward_hook(lambda *a: {**a[2], "loss": 1e4 * a[2]["loss"]})
    norms = [float(trainer.step()["gradient_norm"]) for trainer in runs]
    assert norms[0] == norms[1] == norms[2] > 1e4
    for trainer in runs:
        trainer.step()
    first, same, cut = (trainer.update.optimizer.state_dict()["state"][0]["exp_avg_sq"] for trainer in runs)
    assert torch.equal(first, same)
    assert cut.max() < 1e-6 * first.max()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(make_trainer: Make) -> None:
    bests = [
        load_checkpoint(run(make_trainer(folder=f, seed=s)).folder.best)
        for f, s in (("a", 1), ("b", 1), ("c", 2))
    ]
    same = [
        all(torch.equal(bests[0].weights[k], other.weights[k]) for k in other.weights) for other in bests[1:]
    ]
    assert same == [True, False]


def test_initial_weights_are_where_the_run_starts(make_trainer: Make) -> None:
    best = load_checkpoint(run(make_trainer(folder="first")).folder.best)
    second = make_trainer(folder="second", initial=best, seed=5)
    for name, value in best.weights.items():
        assert torch.equal(second.model.state_dict()[name], value)
        assert torch.equal(second.update.average.weights[name], value)
    assert second.iteration == 0
    assert second.update.optimizer.state_dict()["state"] == {}


def test_every_epoch_sees_every_picture_once(make_trainer: Make) -> None:
    trainer = make_trainer()
    order = torch.cat(
        [trainer.update.indices(i) for i in range(24)]
    )  # 240 = 5 epochs of 48, in batches of 10
    epochs = order.view(5, 48)
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(48))
    assert not torch.equal(epochs[0], epochs[1])


def test_learning_rate_warms_up_and_falls_to_zero(make_trainer: Make) -> None:
    settings = make_trainer(iterations=100, warmup=10, learning_rate=0.1).settings
    rates = [learning_rate(settings, i) for i in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-4


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_attention_heads_slow_down_and_the_others_do_not(make_trainer: Make, model: str) -> None:
    plain, slow = (
        make_trainer(model, name, iterations=100, warmup=0, **scale)
        for name, scale in (("plain", {}), ("slow", {"attention_lr_scale": 0.1, "attention_lr_settle": 10}))
    )
    assert len(plain.update.optimizer.param_groups) == 1
    heads = {n: p for n, p in slow.model.named_parameters() if "attention" in n}
    assert {id(p) for p in slow.update.optimizer.param_groups[1]["params"]} == {id(p) for p in heads.values()}
    before: dict[str, torch.Tensor] = {}
    for iteration, scale in enumerate([1 - 0.09 * t for t in range(10)] + [0.1, 0.1]):
        before = {n: p.detach().clone() for n, p in slow.model.named_parameters()}
        slow.step()
        rate, head_rate = (group["lr"] for group in slow.update.optimizer.param_groups)
        assert rate == pytest.approx(learning_rate(slow.settings, iteration))
        assert head_rate == pytest.approx(rate * scale)
        if iteration == 0:  # Adam's first step is the rate itself wherever there is a gradient
            plain.step()
            for name, value in plain.model.named_parameters():
                torch.testing.assert_close(value, dict(slow.model.named_parameters())[name])
    moved = {n: (p.detach() - before[n]).abs().max() for n, p in slow.model.named_parameters()}
    assert max(float(moved[n]) for n in heads) < 0.3 * max(
        float(v) for n, v in moved.items() if n not in heads
    )


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_training_lowers_the_validation_figure(make_trainer: Make, model: str) -> None:
    trainer = run(make_trainer(model, iterations=600, learning_rate=2e-2, eval_every=200, ema_decay=0.9))
    metric = "valid_bound" if model == "draw" else "valid_error"
    values = [float(r[metric]) for r in rows(trainer) if r[metric]]
    assert len(values) == 3
    # Independent pixels at their mean rates cost 14.1 nats, and guessing errs by 50 %.
    assert values[-1] < (11 if model == "draw" else 20)
    assert load_checkpoint(trainer.folder.best).metrics[metric] == pytest.approx(min(values), rel=1e-5)


def test_metrics_after_a_crash_are_not_repeated(make_trainer: Make) -> None:
    whole = run(make_trainer(folder="whole"))
    parts = run(make_trainer(folder="parts"))
    text = parts.folder.metrics.read_text()
    parts.folder.metrics.write_text(text + "25,3.0,0.1,1")  # rows past the checkpoint, the last cut short
    checkpoint = load_checkpoint(parts.folder.last)
    checkpoint.iteration = 20
    run(make_trainer(folder="parts", resume=checkpoint))
    assert rows(parts) == rows(whole)


def test_a_nan_loss_is_named_and_the_checkpoint_survives(make_trainer: Make) -> None:
    trainer = make_trainer(iterations=100, eval_every=10, save_every=5)
    step = trainer.step

    def step_then_break() -> dict[str, torch.Tensor]:
        if trainer.iteration == 7:
            with torch.no_grad():
                dict(trainer.model.named_parameters())["mu.bias"].fill_(float("nan"))
        return step()

    trainer.step = step_then_break  # type: ignore[method-assign]
    with pytest.raises(DrawError, match="no longer a finite number"):
        run(trainer)
    assert load_checkpoint(trainer.folder.last).iteration == 5


def test_a_run_that_falls_apart_is_stopped(make_trainer: Make) -> None:
    trainer = make_trainer(iterations=100, eval_every=5, ema_decay=0.0)
    step = trainer.step

    def step_then_ruin() -> dict[str, torch.Tensor]:
        terms = step()
        if trainer.iteration > 10:
            with torch.no_grad():
                dict(trainer.model.named_parameters())["initial_canvas"].fill_(60.0)
            trainer.update.average.update(trainer.model, trainer.iteration)
        return terms

    trainer.step = step_then_ruin  # type: ignore[method-assign]
    with pytest.raises(DrawError, match="diverged"):
        run(trainer)
    assert load_checkpoint(trainer.folder.best).iteration == 10


def test_mistakes_after_a_validation_without_any_are_no_collapse(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times nothing is nothing: of a few pictures one answer may be wrong twice in a row."""
    trainer = make_trainer("classifier")
    wrong = iter([0.0, 5.0, 5.0, 29.0, 31.0, 31.0])
    monkeypatch.setattr(
        "draw_onnx.train.selection.figures_to_terms", lambda _: {"error": next(wrong), "cross_entropy": 1.0}
    )
    trainer.selection.keep(trainer.selection.validate(1), 1)
    for iteration in range(2, 6):
        trainer.selection.validate(iteration)
    with pytest.raises(DrawError, match=r"diverged: validation error 31\.00 at iteration 6"):
        trainer.selection.validate(6)


@pytest.mark.parametrize("all_digits", [False, True])
@pytest.mark.parametrize("bad", [500.0, float("nan")])
def test_a_collapse_ends_a_run_and_spares_the_best(make_trainer: Make, all_digits: bool, bad: float) -> None:
    """Also where validation's pictures are trained on, and the last weights otherwise count as the best."""
    trainer = make_trainer(all_digits=all_digits)
    bounds = iter([9.0, 9.5, bad, bad, bad])
    trainer.update.objective.diverged = 2.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "draw_onnx.train.selection.figures_to_terms",
            lambda _: {"bound": next(bounds), "reconstruction": 0.0, "kl": 0.0},
        )
        with pytest.raises(DrawError, match=r"diverged: .* keeps the best weights, of 9\.00"):
            run(trainer)
    assert load_checkpoint(trainer.folder.best).iteration == (10 if all_digits else 5)


def test_a_first_validation_that_is_no_number_is_not_the_best(make_trainer: Make) -> None:
    trainer = make_trainer()
    bounds = iter([float("nan"), 8.0, 7.0, 6.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "draw_onnx.train.selection.figures_to_terms",
            lambda _: {"bound": next(bounds), "reconstruction": 0.0, "kl": 0.0},
        )
        run(trainer)
    assert (trainer.selection.best, load_checkpoint(trainer.folder.best).iteration) == (6.0, 20)


def test_a_collapsed_posterior_is_stopped(make_trainer: Make) -> None:
    """Far from a NaN, far from three times the best bound: the network paints the mean and has forgotten its latents."""
    trainer = make_trainer(iterations=2000, eval_every=100, learning_rate=2e-2, ema_decay=0.0)
    step = trainer.step

    def step_then_forget() -> dict[str, torch.Tensor]:
        terms = step()
        if trainer.iteration > 600:
            weights = dict(trainer.model.named_parameters())
            with torch.no_grad():
                for name in ("mu.weight", "mu.bias", "log_sigma.weight", "log_sigma.bias"):
                    weights[name].zero_()
            trainer.update.average.update(trainer.model, trainer.iteration)
        return terms

    trainer.step = step_then_forget  # type: ignore[method-assign]
    with pytest.raises(DrawError, match="diverged"):
        run(trainer)
    assert trainer.iteration <= 1000
    assert load_checkpoint(trainer.folder.best).metrics["valid_bound"] < 11


def test_ema_of_decay_zero_is_the_weights(make_trainer: Make) -> None:
    trainer = make_trainer(ema_decay=0.0)
    for _ in range(3):
        trainer.step()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, trainer.update.average.weights[name])


def test_best_is_weights_only(make_trainer: Make) -> None:
    trainer = run(make_trainer())
    best = load_checkpoint(trainer.folder.best)
    assert best.training is None
    assert trainer.folder.best.stat().st_size < trainer.folder.last.stat().st_size / 2
    with pytest.raises(DrawError, match="weights-only"):
        make_trainer(folder="other", resume=best)


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_weight_decay_is_the_matrices_alone(make_trainer: Make, model: str, optimizer: str) -> None:
    """AdamW: before the step every matrix shrinks by rate times decay, biases and learned states do not."""
    steps = 2 if optimizer == "soap" else 1  # SOAP's first only makes its basis
    plain, decayed = (
        make_trainer(model, str(d), warmup=0, weight_decay=d, optimizer=optimizer) for d in (0.0, 0.1)
    )
    before = {n: p.detach().clone() for n, p in plain.model.named_parameters()}
    for trainer in (plain, decayed):
        for _ in range(steps):
            trainer.step()
    rate = learning_rate(plain.settings, steps - 1)
    own = dict(decayed.model.named_parameters())
    for name, value in plain.model.named_parameters():
        shrunk = rate * 0.1 * before[name] if value.dim() == 2 else torch.zeros(())
        torch.testing.assert_close(own[name], value - shrunk, msg=name)


def test_the_last_weights_are_the_best_where_validation_digits_are_trained_on(make_trainer: Make) -> None:
    trainer = make_trainer("classifier", all_digits=True)
    worse = iter([1.0, 1.1, 1.2, 1.1])
    trainer.update.objective.diverged = 1e9  # the guard has a test of its own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "draw_onnx.train.selection.figures_to_terms",
            lambda _: {"error": next(worse), "cross_entropy": 1.0},
        )
        run(trainer)
    assert load_checkpoint(trainer.folder.best).iteration == 20
