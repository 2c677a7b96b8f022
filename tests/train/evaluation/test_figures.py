"""Figures: identities of the bounds, intervals, nearest neighbours."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.config import DrawConfig
from draw_onnx.models.draw import Draw
from draw_onnx.train.data.dataset import Dataset, Split
from draw_onnx.train.evaluation.figures import (
    BoundFigures,
    error_figures,
    evaluate,
    evaluate_importance,
    log_weight,
)
from draw_onnx.train.evaluation.nearest import (
    Uniqueness,
    check_nearest,
    find_nearest,
    nearest,
    nearest_sheet,
)


@pytest.fixture(scope="module")
def model() -> Draw:
    torch.manual_seed(0)
    draw = Draw(
        DrawConfig(1, 6, 5, time_steps=3, hidden_size=8, latent_size=2, read_size=2, write_size=3)
    ).eval()
    with torch.no_grad():  # a posterior well away from the prior, so that the bounds differ
        draw.mu.weight.mul_(6)
        draw.log_sigma.bias.sub_(0.7)
        draw.write_patch.weight.mul_(8)
    return draw


def bound_figures(model: Draw, evaluation: Split, *arguments: int, **options: int) -> BoundFigures:
    figures = evaluate(model, evaluation, *arguments, **options)  # type: ignore[arg-type]
    assert isinstance(figures, BoundFigures)
    return figures


def test_the_bound_does_not_depend_on_the_batch(model: Draw, bars: Dataset) -> None:
    valid = bars.evaluation("valid")
    figures = [bound_figures(model, valid, batch) for batch in (1, 7, 20)]
    for other in figures[1:]:
        np.testing.assert_allclose(other.per_image, figures[0].per_image, rtol=1e-6)
    first = figures[0]
    assert first.bound == pytest.approx(first.reconstruction + first.kl)
    assert first.standard_error == pytest.approx(np.std(first.per_image, ddof=1) / math.sqrt(20))
    assert len(first.kl_per_step) == 3


def test_a_limit_takes_pictures_from_all_over_the_set(model: Draw, bars: Dataset) -> None:
    """Binarised MNIST's test file is sorted by class: its first rows are all zeros."""
    valid = bars.evaluation("valid")
    part = valid.spread(5)
    assert torch.equal(part.images, valid.images[[0, 4, 8, 12, 16]])
    assert valid.labels is not None
    assert part.labels is not None
    assert torch.equal(part.labels, valid.labels[[0, 4, 8, 12, 16]])
    assert torch.equal(valid.spread(7).images, valid.images[[0, 2, 5, 8, 11, 14, 17]])
    assert valid.spread(20) is valid.spread(21) is valid
    limited, alone = bound_figures(model, valid, 2, limit=5), bound_figures(model, part, 5)
    assert limited.per_image == pytest.approx(alone.per_image, rel=1e-6)


def test_log_weight_has_the_bounds_expectation(model: Draw, bars: Dataset) -> None:
    x = bars.evaluation("valid").slice(0, 1).images.expand(20_000, -1, -1, -1)
    noise = torch.randn(20_000, 3, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        sampled, analytic = -log_weight(model, x, noise), model(x, noise).bound
    difference = (sampled - analytic).double()
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(20_000)
    assert difference.std() > 0.01


def test_importance_weighting_tightens_with_k(model: Draw, bars: Dataset) -> None:
    """-log mean w is below the plain bound in expectation, and falls as K grows (Burda et al. 2016)."""
    valid = bars.evaluation("valid")
    plain = np.mean([bound_figures(model, valid, 20, seed=s).bound for s in range(8)])
    means = [
        np.mean([evaluate_importance(model, valid, k, 20, seed=s)[0] for s in range(8)]) for k in (1, 4, 32)
    ]
    assert means[0] == pytest.approx(plain, rel=0.02)
    assert means[0] > means[1] > means[2]
    assert means[2] < plain


def test_importance_sampling_is_exact_where_nothing_is_latent(model: Draw, bars: Dataset) -> None:
    """When the picture ignores z and the posterior is the prior every weight is p(x): all bounds agree."""
    blind = Draw(model.config)
    for layer in (blind.mu, blind.log_sigma, blind.write_patch):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    valid = bars.evaluation("valid")
    plain = bound_figures(blind, valid).bound
    for k in (1, 3):
        assert evaluate_importance(blind, valid, k)[0] == pytest.approx(plain, rel=1e-6)


def test_nearest_finds_what_brute_force_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    train = Split(torch.randint(256, (12_000, 1, 3, 3), generator=generator, dtype=torch.uint8))
    queries = torch.rand(5, 1, 3, 3, generator=generator)
    distances, index = nearest(queries, train)
    everything = (
        (train.slice(0, 12_000).images.flatten(1)[None] - queries.flatten(1)[:, None]).square().sum(-1).sqrt()
    )
    assert torch.equal(index, everything.argmin(1))
    torch.testing.assert_close(distances, everything.min(1).values)


def test_copies_are_found_out(model: Draw, bars: Dataset) -> None:
    train = bars.evaluation("train")
    distances, _ = nearest(train.slice(0, 10).images, train)
    assert (distances == 0).all()
    found = find_nearest(model, bars, 6)
    assert found.samples.shape == found.neighbours.shape == (6, 1, 6, 5)
    assert set(found.samples.unique().tolist()) <= {0.0, 1.0}
    recomputed = (found.samples - found.neighbours).flatten(1).norm(dim=1).numpy()
    np.testing.assert_allclose(found.distances, recomputed, rtol=1e-6)


def test_grey_data_compare_means_with_means(model: Draw, bars: Dataset) -> None:
    """Samples of grey data are means; test pictures would make every one of them look like a copy."""
    grey = Dataset(
        name="grey",
        image=bars.image,
        train=bars.evaluation("train"),
        evaluations={name: lambda name=name: bars.evaluation(name) for name in bars.evaluations},
        binary=False,
    )
    means, drawn = find_nearest(model, grey, 130), find_nearest(model, bars, 130)  # more than one batch
    assert means.reconstructed
    assert "reconstructed test picture" in str(means)
    assert not drawn.reconstructed
    assert ((means.samples > 0) & (means.samples < 1)).all()
    assert len(means.test_distances) == len(drawn.test_distances) == 20
    assert (means.test_distances > 0).all()
    assert not np.array_equal(means.test_distances, drawn.test_distances)


@pytest.mark.parametrize(("count", "compared"), [(6, 200), (210, 210), (400, 350)])
def test_samples_are_compared_with_as_many_test_pictures(
    model: Draw, bars: Dataset, count: int, compared: int
) -> None:
    """From the whole set, which may be sorted by class: here its first half lies in the training set."""
    train = bars.evaluation("train")
    far = 255 - train.images[:1].repeat(175, 1, 1, 1)
    test = Split(torch.cat([train.images[:1].repeat(175, 1, 1, 1), far]))
    data = dataclasses.replace(bars, evaluations={**bars.evaluations, "test": lambda: test})
    found = find_nearest(model, data, count)
    assert (len(found.distances), len(found.test_distances)) == (count, compared)
    assert (found.test_distances == 0).sum() == compared / 2


def test_no_neighbours_where_training_pictures_are_made_anew(bars: Dataset) -> None:
    fleeting = Dataset(
        name="fleeting",
        image=bars.image,
        train=bars.evaluation("train"),
        evaluations={"valid": lambda: bars.evaluation("valid"), "test": lambda: bars.evaluation("test")},
        binary=True,
    )
    with pytest.raises(DrawError, match="fleeting makes its training pictures anew"):
        check_nearest(fleeting, 3)


def test_answers_that_are_no_numbers() -> None:
    """Finite weights may overflow."""
    logits = torch.tensor([[0.0, torch.inf], [0.0, 1.0]])
    with pytest.raises(DrawError, match="no finite numbers"):
        error_figures([(logits, torch.tensor([0, 1]))])


def test_error_figures_are_of_all_batches() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]])
    labels = torch.tensor([0, 2, 2, 1])
    expected = float(torch.nn.functional.cross_entropy(logits, labels))
    for size in (1, 3, 4):
        figures = error_figures(zip(logits.split(size), labels.split(size), strict=True))
        assert (figures.images, figures.wrong, figures.error) == (4, 2, 50)
        assert figures.cross_entropy == pytest.approx(expected, rel=1e-6)
        assert figures.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_the_sheet_begins_with_the_nearest_pair() -> None:
    samples, neighbours = (
        torch.tensor(levels).reshape(3, 1, 1, 1).expand(3, 1, 4, 4) / 255
        for levels in ([40, 80, 120], [50, 90, 130])
    )
    sheet = nearest_sheet(Uniqueness(samples, neighbours, np.array([3.0, 1.0, 2.0]), np.ones(1)))
    line = sheet[len(sheet) // 2, :, 0].astype(int)
    shown = line[np.flatnonzero(np.diff(line, prepend=-1))]
    assert shown[shown != line[0]].tolist() == [80, 90, 120, 130, 40, 50]  # line[0] is a gap
