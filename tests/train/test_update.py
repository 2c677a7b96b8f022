"""What one update is made of: its rates, the loss, its precision, and where a stage counts from."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train.data.dataset import Dataset
from draw_onnx.train.optimizer import learning_rate
from draw_onnx.train.settings import Hardware, RunFolder
from draw_onnx.train.stages import Place, Start
from draw_onnx.train.trainer import Trainer

from .conftest import Make, run_stage

NAMES = ("iteration", "stage", "seconds", "learning_rate", "images_per_second")  # of metrics.csv


def test_attention_heads_that_settle_at_once_are_slow_from_the_first_update_on(make_trainer: Make) -> None:
    trainer = make_trainer(attention_lr_scale=0.1, attention_lr_settle=0)
    for _ in range(2):
        trainer.step()
        rate, of_heads = (group["lr"] for group in trainer.update.optimizer.param_groups)
        assert of_heads == pytest.approx(0.1 * rate)


@pytest.mark.parametrize(("glimpse_loss", "weights"), [("weighted", (1, 4, 9)), ("last", (0, 0, 1))])
def test_which_glimpses_count(make_trainer: Make, glimpse_loss: str, weights: tuple[int, ...]) -> None:
    """The loss is by its definition; cross-entropy and error are the last glimpse's always."""
    objective = make_trainer("classifier", glimpse_loss=glimpse_loss).update.objective
    images, labels = torch.rand(10, 1, 6, 5), torch.arange(10) % 2
    with torch.no_grad():
        terms, logits = objective(images, labels, None), objective.model(images).logits
    entropies = [float(F.cross_entropy(logits[:, t], labels)) for t in range(3)]
    loss = sum(w * e for w, e in zip(weights, entropies, strict=True)) / sum(weights)
    assert float(terms["loss"]) == pytest.approx(loss)
    assert float(terms["cross_entropy"]) == pytest.approx(entropies[2])
    wrong = int((logits[:, 2].argmax(1) != labels).sum())
    assert float(terms["error"]) == pytest.approx(10 * wrong)
    assert len({round(e, 5) for e in entropies}) == 3
    assert wrong > 0


def test_terms_of_the_bound(make_trainer: Make) -> None:
    objective = make_trainer().update.objective
    images, noise = torch.rand(10, 1, 6, 5), torch.randn(10, 3, 2)
    with torch.no_grad():
        terms, output = objective(images, None, noise), objective.model(images, noise)
    means = (output.bound, output.bound, output.reconstruction_loss, output.latent_loss)
    got = [float(terms[name]) for name in ("loss", "bound", "reconstruction", "kl")]
    assert got == pytest.approx([float(mean.mean()) for mean in means])
    assert got[1] == pytest.approx(got[2] + got[3])


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_mixed_precision_reaches_the_products(make_trainer: Make, model: str) -> None:
    plain, mixed = (make_trainer(model, name, precision=name) for name in ("32-true", "bf16-mixed"))
    assert (plain.model.product_dtype, mixed.model.product_dtype) == (None, torch.bfloat16)
    losses = [float(trainer.step()["loss"]) for trainer in (plain, mixed)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
    assert all(p.dtype == torch.float32 for p in mixed.model.parameters())


def test_a_stage_counts_its_schedules_from_its_begin_and_its_pictures_from_the_runs(
    make_trainer: Make, bars: Dataset, tmp_path: Path
) -> None:
    """Pictures, order and noise go on; the warm-up, the cosine and the average's horizon begin again."""
    whole = make_trainer()
    stage = whole.place.stage
    start = Start(Place((stage, stage), 1, 20))
    later = Trainer(start, bars, RunFolder(tmp_path / "later"), whole.fabric, Hardware(device="cpu"))
    assert later.iteration == 20
    for own, other in zip(later.update.inputs(20), whole.update.inputs(20), strict=True):
        assert (own is None) == (other is None)
        assert own is None or other is None or torch.equal(own, other)
    before = {name: value.clone() for name, value in later.update.average.weights.items()}
    later.step()
    (group,) = later.update.optimizer.param_groups
    assert group["lr"] == learning_rate(stage.settings, 0)
    for name, value in later.model.state_dict().items():
        torch.testing.assert_close(later.update.average.weights[name], before[name].lerp(value, 0.9))


def test_a_row_is_that_of_its_updates(
    make_trainer: Make, bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second stage: the last one's rate, and pictures a second since the row before."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    first = make_trainer()
    stage = first.place.stage
    start = Start(Place((stage, stage), 1, 20), seconds=100.0)
    trainer = Trainer(start, bars, first.folder, first.fabric, Hardware(device="cpu"))
    step, rates = trainer.update.step, []

    def slow_step(iteration: int) -> dict[str, torch.Tensor]:
        now[0] += 2.0 if iteration < 30 else 1.0
        terms = step(iteration)
        rates.append(trainer.update.optimizer.param_groups[0]["lr"])
        return terms

    monkeypatch.setattr(trainer.update, "step", slow_step)
    run_stage(trainer)
    with trainer.folder.metrics.open() as file:
        rows = [{name: row[name] for name in NAMES} for row in csv.DictReader(file)]
    numbers = [[float(value) for value in row.values()] for row in rows]
    seconds, speeds = (110, 120, 125, 130), (5, 5, 10, 10)
    for row, done, passed, speed in zip(numbers, (5, 10, 15, 20), seconds, speeds, strict=True):
        assert row == pytest.approx([20 + done, 2, passed, rates[done - 1], speed], rel=1e-5)


def test_rows_between_validations(make_trainer: Make) -> None:
    """One every fifty updates, and one with every validation."""
    trainer = make_trainer(iterations=130, eval_every=120, save_every=130)
    run_stage(trainer)
    with trainer.folder.metrics.open() as file:
        rows = [(row["iteration"], row["valid_bound"] != "") for row in csv.DictReader(file)]
    assert rows == [("50", False), ("100", False), ("120", True), ("130", True)]


def test_a_gradient_that_is_no_number_ends_a_run(make_trainer: Make) -> None:
    """The loss is one still, and the weights are not any more."""
    trainer = make_trainer()
    step = trainer.step
    trainer.step = lambda: {**step(), "gradient_norm": torch.tensor(torch.inf)}  # type: ignore[method-assign]
    with pytest.raises(DrawError, match="the loss is no longer a finite number at iteration 5"):
        run_stage(trainer)


def test_the_first_validation_leaves_something_to_resume(make_trainer: Make) -> None:
    """best.ckpt alone cannot be resumed: last.ckpt comes with it, and then as often as told."""
    trainer = make_trainer(eval_every=5, save_every=12)
    saved = []
    trainer.save = lambda save=trainer.save: saved.append(trainer.iteration) or save()  # type: ignore
    run_stage(trainer)
    assert saved == [5, 12, 20]


def test_the_time_of_a_run_that_goes_on_goes_on(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.step()
    trainer.clock.seconds = 100.0
    trainer.save()
    assert make_trainer(resume=load_checkpoint(trainer.folder.last)).clock.seconds == 100.0


def test_weights_that_are_no_numbers_are_not_gone_on_from(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.step()
    trainer.save()
    checkpoint = load_checkpoint(trainer.folder.last)
    assert checkpoint.training is not None
    checkpoint.training["model"]["mu.bias"].fill_(float("nan"))
    with pytest.raises(DrawError, match="its training state is damaged: a weight is NaN or infinity"):
        make_trainer(resume=checkpoint)


@pytest.mark.parametrize("model", ["draw", "classifier"])
def test_devices_share_a_batch(make_trainer: Make, model: str) -> None:
    """Each has its pictures, their labels and their noise, and together they have the batch of one device."""
    update = make_trainer(model).update
    whole = update.inputs(3)
    shares = []
    for rank in range(3):
        fabric = SimpleNamespace(world_size=3, global_rank=rank, device=torch.device("cpu"))
        update.fabric = fabric  # type: ignore[assignment]
        shares.append(update.inputs(3))
    for parts, all_of_it in zip(zip(*shares, strict=True), whole, strict=True):
        if all_of_it is None:
            assert parts == (None, None, None)
            continue
        assert [len(part) for part in parts] == [4, 3, 3]
        for rank, part in enumerate(parts):
            assert torch.equal(part, all_of_it[rank::3])
