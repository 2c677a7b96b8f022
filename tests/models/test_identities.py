"""What must hold whatever the weights are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_onnx.models.attention import filterbank, read, window_from, write
from draw_onnx.models.classifier import GlimpseClassifier
from draw_onnx.models.config import ClassifierConfig, DrawConfig
from draw_onnx.models.draw import Draw

TINY = DrawConfig(1, 7, 9, time_steps=4, hidden_size=6, latent_size=3, read_size=2, write_size=3)
numbers = st.floats(-6, 6, width=32)
fast = settings(max_examples=60)


@fast
@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.lists(numbers, min_size=5, max_size=5))
def test_rows_of_a_filterbank_sum_to_one(n: int, width: int, height: int, params: list[float]) -> None:
    window = window_from(torch.tensor([params], dtype=torch.float64), n, width, height)
    bank = filterbank(window.g_x, window.delta, window.sigma2, n, width)
    assert bank.shape == (1, n, width)
    assert (bank >= 0).all()
    torch.testing.assert_close(bank.sum(-1), torch.ones(1, n, dtype=torch.float64))


def test_centres_of_the_paper_grid() -> None:
    """g = 0, delta = 1, N = 5, A = 28: centres 1, 7.75, 14.5, 21.25, 28, seen as the means of narrow Gaussians."""
    window = window_from(torch.tensor([[0.0, 0.0, 2.0, 0.0, 0.0]], dtype=torch.float64), 5, 28, 28)
    wide = 10_000
    # On a much longer axis nothing is cut off, and the mean of each row is its centre.
    shifted = filterbank(window.g_x + wide / 2, window.delta, window.sigma2, 5, wide)
    centres = (shifted * torch.arange(1, wide + 1)).sum(-1) - wide / 2
    expected = torch.tensor([[1, 7.75, 14.5, 21.25, 28]], dtype=torch.float64)
    torch.testing.assert_close(centres, expected, rtol=0, atol=1e-9)


@fast
@given(st.integers(1, 5), st.lists(numbers, min_size=5, max_size=5), st.integers(0, 1000))
def test_write_is_the_transpose_of_read(n: int, params: list[float], seed: int) -> None:
    """<read(x), w> / gamma = gamma <x, write(w)>: both are the same two filterbanks."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 2, 7, 9, dtype=torch.float64, generator=generator)
    w = torch.rand(1, 2, n, n, dtype=torch.float64, generator=generator)
    window = window_from(torch.tensor([params], dtype=torch.float64), n, 9, 7)
    left = (read([x], window, n) * w).sum() / window.gamma
    right = (x * write(w, window, 9, 7)).sum() * window.gamma
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def test_a_constant_picture_reads_as_gamma() -> None:
    window = window_from(torch.tensor([[3.0, -2.0, -4.0, 1.0, 0.7]]), 4, 9, 7)
    glimpse = read([torch.ones(1, 3, 7, 9)], window, 4)
    torch.testing.assert_close(glimpse, torch.full((1, 3, 4, 4), math.exp(0.7)))


@pytest.mark.parametrize("attention", [True, False])
def test_kl_is_never_negative_and_zero_at_the_prior(attention: bool) -> None:
    torch.manual_seed(0)
    sizes = {} if attention else {"read_size": 0, "write_size": 0, "attention": False}
    model = Draw(DrawConfig(1, 7, 9, 4, 6, 3, **{"read_size": 2, "write_size": 3, **sizes}))
    x, noise = torch.rand(5, 1, 7, 9), torch.randn(5, 4, 3)
    assert (model(x, noise).kl >= 0).all()
    assert (model(x, noise).kl > 0).any()
    for layer in (model.mu, model.log_sigma):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    output = model(x, noise, keep_steps=True)
    assert (output.kl == 0).all()
    # The posterior is the prior: z is the noise, and the loss pass paints what generation paints.
    torch.testing.assert_close(output.steps.z, noise)
    torch.testing.assert_close(output.steps.canvases, model.generate(noise).canvases)


def test_permuting_channels_permutes_the_picture() -> None:
    """Filters are shared by the channels: relabelling channels relabels the output and nothing else."""
    torch.manual_seed(1)
    config = DrawConfig(3, 6, 5, 4, 6, 3, 2, 3)
    model, other = Draw(config).double(), Draw(config).double()
    order = [2, 0, 1]
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    weights["initial_canvas"] = weights["initial_canvas"][order]
    for name in ("weight", "bias"):
        patch = weights[f"write_patch.{name}"]
        weights[f"write_patch.{name}"] = patch.unflatten(0, (3, 9))[order].flatten(0, 1)
    columns = weights["encoder.weight_ih"]
    read_columns = columns[:, :24].unflatten(1, (2, 3, 4))[:, :, order].flatten(1)
    weights["encoder.weight_ih"] = torch.cat([read_columns, columns[:, 24:]], 1)
    other.load_state_dict(weights)
    x = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    noise = torch.randn(2, 4, 3, dtype=torch.float64)
    first, second = model(x, noise), other(x[:, order], noise)
    torch.testing.assert_close(first.canvas[:, order], second.canvas)
    torch.testing.assert_close(first.bound, second.bound)


def test_attention_and_no_attention_agree_where_they_should() -> None:
    """With zero write weights neither paints: both losses are the initial canvas's, and no latent is used."""
    torch.manual_seed(2)
    x, noise = torch.rand(3, 1, 7, 9), torch.randn(3, 4, 3)
    with_attention = Draw(TINY)
    without = Draw(DrawConfig(1, 7, 9, 4, 6, 3, 0, 0, attention=False))
    bounds = []
    for model, layer in ((with_attention, with_attention.write_patch), (without, without.write_canvas)):
        for part in (layer, model.mu, model.log_sigma):
            torch.nn.init.zeros_(part.weight)
            torch.nn.init.zeros_(part.bias)
        bounds.append(model(x, noise).bound)
    torch.testing.assert_close(bounds[0], bounds[1])


def test_a_batch_is_its_images() -> None:
    torch.manual_seed(3)
    model = Draw(TINY).double()
    x, noise = torch.rand(4, 1, 7, 9, dtype=torch.float64), torch.randn(4, 4, 3, dtype=torch.float64)
    together = model(x, noise).bound
    apart = torch.cat([model(x[k : k + 1], noise[k : k + 1]).bound for k in range(4)])
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


def test_a_far_window_stays_finite() -> None:
    window = window_from(torch.tensor([[1e4, -1e4, -8.0, 8.0, 0.0]]), 5, 28, 28)
    bank = filterbank(window.g_x, window.delta, window.sigma2, 5, 28)
    assert torch.isfinite(bank).all()
    torch.testing.assert_close(bank.sum(-1), torch.ones(1, 5))


def test_the_first_glimpse_covers_the_picture() -> None:
    torch.manual_seed(4)
    config = ClassifierConfig()
    window = window_from(GlimpseClassifier(config)(torch.rand(1, 1, 100, 100)).attention[0, :1], 12, 100, 100)
    reach = 11 / 2 * window.delta
    torch.testing.assert_close(window.g_x - reach, torch.ones(1))
    torch.testing.assert_close(window.g_x + reach, torch.full((1,), 100.0))


def test_the_first_glimpse_sees_lines_as_bright_as_they_are() -> None:
    """A bright line one pixel wide, read whole: filters 9 pixels apart dim it by as much, gamma brings it back."""
    picture = torch.zeros(1, 1, 100, 100)
    picture[..., 46] = 1.0
    seen = GlimpseClassifier(ClassifierConfig())(picture).glimpses[0, 0, 0]
    torch.testing.assert_close(seen.sum(-1), torch.ones(12), rtol=0.02, atol=0)


def test_a_picture_of_one_pixel_has_a_first_window() -> None:
    model = GlimpseClassifier(ClassifierConfig(1, 1, 1, 2, 4, 1, ("cat", "dog")))
    assert torch.isfinite(model(torch.ones(1, 1, 1, 1)).logits).all()


def test_bounded_attention() -> None:
    torch.manual_seed(5)
    config = ClassifierConfig(1, 10, 10, 2, 4, 3, attention_bound=3.0, position_bound=1.0)
    model = GlimpseClassifier(config)
    torch.nn.init.constant_(model.read_attention.bias, 50.0)
    output = model(torch.rand(2, 1, 10, 10))
    assert (output.attention.abs() <= torch.tensor([1, 1, 3, 3, 3])).all()
    window = window_from(output.attention.flatten(0, 1), 3, 10, 10)
    assert (window.g_x <= 11).all()  # at the very edge of the picture, never far outside


def test_compiled_names_do_not_change_the_weights() -> None:
    """compile_chunk replaces a method, not the parameters: checkpoints stay the same."""
    model = Draw(TINY)
    before = list(model.state_dict())
    model.compile_chunk()
    assert list(model.state_dict()) == before


@pytest.mark.parametrize("kind", ["draw", "classifier"])
def test_mixed_precision_keeps_windows_and_latents_in_float32(kind: str) -> None:
    """In bfloat16 a position of 50 pixels would be rounded to a quarter of a pixel."""
    torch.manual_seed(0)
    x = torch.rand(3, 1, 7, 9)
    if kind == "draw":
        model = Draw(TINY)
        model.product_dtype = torch.bfloat16
        steps = model(x, torch.randn(3, 4, 3), keep_steps=True).steps
        assert steps is not None
        h, heads = steps.h_dec, {"write_attention": steps.write_params}
        h_enc = steps.h_enc
        heads_of_encoder = {"mu": steps.mu, "log_sigma": steps.log_sigma}
    else:
        model = GlimpseClassifier(ClassifierConfig(1, 7, 9, time_steps=3, hidden_size=6, read_size=4))
        model.product_dtype = torch.bfloat16
        output = model(x)
        # The window of glimpse t comes from the state before it.
        h, heads = output.h[:, :-1], {"read_attention": output.attention[:, 1:]}
        h_enc, heads_of_encoder = h, {}
    for name, value in {**heads, **heads_of_encoder}.items():
        assert value is not None
        linear = getattr(model, name)
        source = h_enc if name in heads_of_encoder else h
        exact = torch.nn.functional.linear(source.double(), linear.weight.double(), linear.bias.double())
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attention", [True, False])
def test_mixed_precision_takes_targets_and_noise_as_they_are(attention: bool) -> None:
    """77/255 is 0.3020 and not bfloat16's 0.3027; states and the loss stay float32, and gradients come near float32's."""
    torch.manual_seed(0)
    sizes = (2, 3) if attention else (0, 0)
    model = Draw(DrawConfig(1, 7, 9, 4, 16, 3, *sizes, attention=attention))
    x, noise = torch.full((3, 1, 7, 9), 77 / 255), torch.randn(3, 4, 3)
    model(x, noise).bound.mean().backward()
    exact = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    model.product_dtype = torch.bfloat16
    output = model(x, noise, keep_steps=True)
    steps = output.steps
    assert steps is not None
    assert {value.dtype for value in (output.canvas, output.kl, steps.h_enc, steps.z, steps.r)} == {
        torch.float32
    }
    torch.testing.assert_close(steps.z, steps.mu + steps.log_sigma.exp() * noise)
    if not attention:
        assert torch.equal(steps.r[:, :, 0], x[:, None].expand(-1, 4, -1, -1, -1))
    output.bound.mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None
        wanted = exact[name]
        assert wanted is not None
        error = (p.grad - wanted).norm() / wanted.norm().clamp_min(1e-3)
        assert error < 0.05, f"{name}: {error:.3f}"


def test_mixed_precision_reads_pictures_of_eight_bits_as_they_are() -> None:
    """Filters of one pixel each: 77/255 is 0.3020 and not bfloat16's 0.3027."""
    picture = torch.arange(256).view(1, 1, 16, 16) / 255
    narrow = torch.zeros(1, 5)
    narrow[:, 2] = -20.0
    window = window_from(narrow, 16, 16, 16)  # stride 1, from edge to edge
    torch.testing.assert_close(read([picture], window, 16, torch.bfloat16), picture, rtol=1e-6, atol=1e-9)


def test_a_glimpse_in_mixed_precision_is_nearly_float32s() -> None:
    """The filters are float32's, and only then rounded for the product with the picture; and so are the gradients."""
    torch.manual_seed(0)
    model = GlimpseClassifier(ClassifierConfig(1, 40, 50, time_steps=3, hidden_size=16, read_size=5))
    x = torch.rand(4, 1, 40, 50)
    results = []
    for dtype in (None, torch.bfloat16):
        model.product_dtype = dtype
        model.zero_grad()
        output = model(x)
        assert output.glimpses.dtype == output.attention.dtype == torch.float32
        output.logits.square().sum().backward()
        results.append(
            [output.glimpses.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
        )
    assert len(results[0]) == 1 + len(list(model.parameters()))
    for i, (wanted, got) in enumerate(zip(*results, strict=True)):
        error = (got - wanted).norm() / wanted.norm()
        assert error < (0.05 if i else 0.01), f"{i}: {error:.4f}"


@fast
@given(st.integers(1, 8), st.integers(1, 40), st.lists(st.floats(-12, 12, width=32), min_size=3, max_size=3))
def test_a_filterbank_is_the_plain_softmax_down_to_its_floor(n: int, size: int, values: list[float]) -> None:
    """Relative to softmax(-(a - mu)^2 / 2 sigma^2) in float64, where no filter is cut off far outside the picture."""
    centre, log_delta, log_sigma2 = (torch.tensor([v], dtype=torch.float64) for v in values)
    delta, sigma2 = (log_delta / 4).exp(), log_sigma2.exp()
    bank = filterbank(10 * centre, delta, sigma2, n, size)
    mu = 10 * centre + (torch.arange(1, n + 1) - (n / 2 + 0.5)) * delta
    distance = torch.arange(1, size + 1, dtype=torch.float64) - mu[:, None]
    plain = torch.softmax(-distance.square() / (2 * sigma2), -1)
    torch.testing.assert_close(bank[0], plain, rtol=1e-9, atol=2e-14 * size)


@fast
@given(st.lists(st.floats(-20, 20, width=32), min_size=5, max_size=5), st.integers(2, 100))
def test_no_filter_is_subnormal(params: list[float], size: int) -> None:
    """Not in float32, nor is any product of two filters: the floor is e^-32, its square 1e-28, and 1e-38 is too small."""
    bank = window_from(torch.tensor([params]), 5, size, size)
    for centre in (bank.g_x, bank.g_y):
        filters = filterbank(centre, bank.delta, bank.sigma2, 5, size)
        assert torch.isfinite(filters).all()
        assert filters.min() > 1e-16
