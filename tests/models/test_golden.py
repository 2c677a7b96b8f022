"""The models against the independent float64 reference (tests/golden/README.md gives the tolerances)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from draw_onnx.models.attention import filterbanks, read, window_from, write

DTYPES = [torch.float32, torch.float64]


def check(
    got: torch.Tensor, expected: np.ndarray, what: str, atol32: float = 1e-5, rtol32: float = 1e-4
) -> None:
    rtol, atol = (1e-9, 1e-11) if got.dtype == torch.float64 else (rtol32, atol32)
    assert got.shape == expected.shape, what
    np.testing.assert_allclose(got.detach().double().numpy(), expected, rtol=rtol, atol=atol, err_msg=what)


@pytest.mark.parametrize("dtype", DTYPES)
def test_filterbank(golden: Path, dtype: torch.dtype) -> None:
    data = np.load(golden / "filterbank.npz")
    count = int(data["n_cases"])
    assert count == 56
    for i in range(count):
        case = {k.removeprefix(f"case_{i:03}_"): data[k] for k in data.files if k.startswith(f"case_{i:03}_")}
        n, a, b = (int(case[k]) for k in ("N", "A", "B"))
        window = window_from(torch.from_numpy(case["params"]).to(dtype), n, a, b)
        for got, name in zip(window, ("g_X", "g_Y", "sigma2", "delta", "gamma"), strict=True):
            check(got, case[name], f"case {i} {name}")
        f_x, f_y = filterbanks(window, n, a, b)
        check(f_x, case["F_X"], f"case {i} F_X", float(case["atol32"]))
        check(f_y, case["F_Y"], f"case {i} F_Y", float(case["atol32"]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_write(golden: Path, dtype: torch.dtype) -> None:
    data = np.load(golden / "read_write.npz")
    for i in range(int(data["n_cases"])):
        case = {k.removeprefix(f"case_{i:03}_"): data[k] for k in data.files if k.startswith(f"case_{i:03}_")}
        x, x_hat, w = (torch.from_numpy(case[k]).to(dtype) for k in ("x", "x_hat", "w"))
        height, width = x.shape[-2:]
        n = int(case["N_read"])
        window = window_from(torch.from_numpy(case["read_att"]).to(dtype), n, width, height)
        got = read([x, x_hat], window, n).unflatten(1, (2, -1))
        check(got, case["read"], f"case {i} read")
        window = window_from(
            torch.from_numpy(case["write_att"]).to(dtype), int(case["N_write"]), width, height
        )
        check(write(w, window, width, height), case["write"], f"case {i} write")


@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_loss_pass(golden_draw_models: list, dtype: torch.dtype) -> None:
    assert len(golden_draw_models) == 6
    for number, model in enumerate(golden_draw_models):
        expect = model.arrays
        draw = model.build(dtype)
        x, eps = torch.from_numpy(expect["x"]).to(dtype), torch.from_numpy(expect["eps"]).to(dtype)
        output = draw(x, eps, keep_steps=True)
        steps = output.steps
        named = {
            "Lx": output.reconstruction_loss,
            "kl": output.kl,
            "Lz": output.latent_loss,
            "total": output.bound,
            "r": steps.r,
            "h_enc": steps.h_enc,
            "h_dec": steps.h_dec,
            "mu": steps.mu,
            "log_sigma": steps.log_sigma,
            "z": steps.z,
            "canvas": steps.canvases,
        }
        if model.config.attention:
            named |= {"read_att": steps.read_params, "write_att": steps.write_params}
            for kind, params, n in (
                ("read", steps.read_params, model.config.read_size),
                ("write", steps.write_params, model.config.write_size),
            ):
                window = window_from(params, n, model.config.image_width, model.config.image_height)
                rows = torch.stack([window.g_x, window.g_y, window.sigma2, window.delta, window.gamma], -1)
                named[f"{kind}_window"] = rows
        for name, got in named.items():
            check(got, expect[f"expect_{name}"], f"model {number} {name}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_generation(golden_draw_models: list, dtype: torch.dtype) -> None:
    for number, model in enumerate(golden_draw_models):
        drawn = model.build(dtype).generate(torch.from_numpy(model.arrays["gen_z"]).to(dtype))
        check(drawn.canvases, model.arrays["expect_gen_canvas"], f"model {number} canvas")
        check(drawn.h_dec, model.arrays["expect_gen_h_dec"], f"model {number} h_dec")
        check(drawn.image, model.arrays["expect_gen_probability"], f"model {number} probability")
        if model.config.attention:
            check(drawn.write_params, model.arrays["expect_gen_write_att"], f"model {number} write_att")
        else:
            assert drawn.write_params is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_gradients(golden_draw_models: list, dtype: torch.dtype) -> None:
    with_gradients = [m for m in golden_draw_models if any(k.startswith("grad_") for k in m.arrays)]
    assert len(with_gradients) == 3
    for model in with_gradients:
        draw = model.build(dtype)
        x, eps = (torch.from_numpy(model.arrays[k]).to(dtype) for k in ("x", "eps"))
        draw(x, eps).bound.mean().backward()
        for name, parameter in draw.named_parameters():
            check(parameter.grad, model.arrays[f"grad_{model.names[name]}"], name, rtol32=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classifier(golden_classifiers: list, dtype: torch.dtype) -> None:
    assert len(golden_classifiers) == 4
    for number, model in enumerate(golden_classifiers):
        expect, config = model.arrays, model.config
        classifier = model.build(dtype)
        output = classifier(torch.from_numpy(expect["x"]).to(dtype))
        window = window_from(output.attention, config.read_size, config.image_width, config.image_height)
        named = {
            "att": output.attention,
            "window": torch.stack([window.g_x, window.g_y, window.sigma2, window.delta, window.gamma], -1),
            "glimpse": output.glimpses,
            "h": output.h,
            "logits": output.answer,
            "log_prob": output.answer.log_softmax(-1),
        }
        labels = torch.from_numpy(expect["label"])
        named["cross_entropy"] = torch.nn.functional.cross_entropy(output.answer, labels, reduction="none")
        for name, got in named.items():
            check(got, expect[f"expect_{name}"], f"model {number} {name}")
        if any(k.startswith("grad_") for k in expect):
            named["cross_entropy"].mean().backward()
            for name, parameter in classifier.named_parameters():
                check(parameter.grad, expect[f"grad_{model.names[name]}"], name, rtol32=1e-3)
