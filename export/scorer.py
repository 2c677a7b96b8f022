"""The whole auto-encoder as a graph: picture and noise in, the bound in nats out (paper, equations 3-12)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..models.config import DrawConfig
from ..runtime.metadata import (
    BOUND,
    CANVASES,
    IMAGE,
    NOISE,
    READ_ATTENTION,
    RECONSTRUCTION,
    STEPS,
    WRITE_ATTENTION,
)
from .builder import GraphBuilder
from .lstm import Array, UnrolledLstm, Weights, lstm_weights, step_name
from .prior import fold_prior
from .window import Reader, decode_window, window_head, write


def build_scorer(
    b: GraphBuilder, config: DrawConfig, weights: Weights, *, time_steps: int, outputs: str
) -> None:
    """Add encoder and decoder, unrolled together, to an empty builder.

    Args:
        time_steps: T, which may differ from the config's.
        outputs: ``"steps"`` or ``"image"``, which leaves out canvases and attention.
    """
    image = b.input(IMAGE, config.image)
    noise = b.input(NOISE, [time_steps, config.latent_size])
    names = [step_name(t, time_steps) for t in range(time_steps)]
    with b.scope("scorer"):
        with b.scope("noise"):
            rows = b.reshape(b.op("Transpose", noise, perm=[1, 0, 2]), [-1, config.latent_size])
            pieces = b.split_equal(rows, 0, names)
        encoder = (_AttentiveEncoder if config.attention else _WholeEncoder)(b, config, weights, image)
        posterior = _Posterior(b, weights)
        decoder = _Decoder(b, config, weights)
        means: list[ir.Value] = []  # sigmoid of the canvas after each step
        for name, epsilon in zip(names, pieces, strict=True):
            with b.scope(name):
                h_enc = encoder.step(means[-1] if means else None, decoder.lstm.h)  # (3, 4, 5)
                z = posterior.sample(h_enc, epsilon)  # (6)
                means.append(b.op("Sigmoid", decoder.step(z), name="mean"))  # (7, 8)
        with b.scope("loss"):
            bound = b.op("Add", _reconstruction_loss(b, image, decoder.canvas), posterior.kl())  # (12)
        b.output(BOUND, bound, [])
        b.output(RECONSTRUCTION, means[-1], config.image)
        if outputs == STEPS:
            with b.scope("steps"):
                b.output_steps(CANVASES, means, config.image)
                if isinstance(encoder, _AttentiveEncoder):
                    written = [window.row(b) for window in decoder.windows]
                    b.output(READ_ATTENTION, encoder.reader.rows(image), [time_steps, 5])
                    b.output(WRITE_ATTENTION, decoder.head.rows(b, written, time_steps), [time_steps, 5])


class _Encoder:
    """Equation (5). The input is [r, h_dec]; the first step's share of the learned states is a constant."""

    def __init__(self, b: GraphBuilder, config: DrawConfig, weights: Weights) -> None:
        self.b, self.config = b, config
        lstm = lstm_weights(weights, "encoder")
        self.w_read, w_decoder = lstm.w[: config.read_length], lstm.w[config.read_length :]
        h_dec, h_enc = weights["initial_decoder_hidden"], weights["initial_encoder_hidden"]
        self.first_bias = lstm.bias + h_dec @ w_decoder + h_enc @ lstm.r
        self.bias = lstm.bias
        with b.scope("encoder"):
            self.w_decoder, r = b.weight("weight_decoder", w_decoder), b.matrix("weight_hh", lstm.r)
            self.lstm = UnrolledLstm(b, [r], weights["initial_encoder_cell"])

    def _lstm(self, gates: ir.Value, h_dec: ir.Value | None) -> ir.Value:
        """h_enc from the gates' sums so far, which lack the share of both states."""
        return self.lstm.step(gates if h_dec is None else self.b.op("Gemm", h_dec, self.w_decoder, gates))


class _AttentiveEncoder(_Encoder):
    """Reads the picture and the error image through a window of the previous decoder state."""

    def __init__(self, b: GraphBuilder, config: DrawConfig, weights: Weights, image: ir.Value) -> None:
        super().__init__(b, config, weights)
        self.image = image
        with b.scope("read"):
            self.reader = Reader(b, config, weights, weights["initial_decoder_hidden"])
        with b.scope("encoder"):
            self.w = b.weight("weight_read", self.w_read)
            self.biases = b.weight("initial_bias", self.first_bias), b.weight("bias", self.bias)
            self.initial_mean = b.constant("initial_mean", _sigmoid(weights["initial_canvas"])[None])

    def step(self, mean: ir.Value | None, h_dec: ir.Value | None) -> ir.Value:
        b, config = self.b, self.config
        with b.scope("read"):
            error = b.op("Sub", self.image, self.initial_mean if mean is None else mean, name="error")  # (3)
            both = b.concat([self.image, error], 1)
            r = self.reader.read(both, 2 * config.image_channels, h_dec)
        with b.scope("encoder"):
            gates = b.op("Gemm", b.to_half(r), self.w, self.biases[h_dec is not None])
            return self._lstm(gates, h_dec)


class _WholeEncoder(_Encoder):
    """Reads both pictures whole. W [x, x - m] = (W_x + W_e) x - W_e m, and only m changes from step to step."""

    def __init__(self, b: GraphBuilder, config: DrawConfig, weights: Weights, image: ir.Value) -> None:
        super().__init__(b, config, weights)
        w_image, w_error = np.split(self.w_read, 2)
        self.pixels = len(w_error)
        initial = self.first_bias - _sigmoid(weights["initial_canvas"]).ravel() @ w_error - self.bias
        with b.scope("encoder"):
            flat = b.to_half(b.reshape(image, [-1, self.pixels]))
            w, bias = b.weight("weight_image", w_image + w_error), b.weight("bias", self.bias)
            self.projected = b.op("Gemm", flat, w, bias, name="projected_image")
            self.w_error = b.weight("weight_error", w_error)
            self.initial = b.weight("initial_projection", initial)

    def step(self, mean: ir.Value | None, h_dec: ir.Value | None) -> ir.Value:
        b = self.b
        with b.scope("encoder"):
            if mean is None:
                gates = b.op("Add", self.projected, self.initial)
            else:
                flat = b.to_half(b.reshape(mean, [-1, self.pixels]))
                gates = b.op("Gemm", flat, self.w_error, self.projected, alpha=-1.0)
            return self._lstm(gates, h_dec)


class _Posterior:
    """Equations (1, 2, 6), and the KL divergence of all steps (10, 11)."""

    def __init__(self, b: GraphBuilder, weights: Weights) -> None:
        self.b = b
        self.latents = len(weights["mu.bias"])
        with b.scope("posterior"):
            both = np.vstack([weights["mu.weight"], weights["log_sigma.weight"]]).T
            self.weight = b.constant("weight", both)
            self.bias = b.constant("bias", np.concatenate([weights["mu.bias"], weights["log_sigma.bias"]]))
        self.mus, self.log_sigmas, self.sigmas = [], [], []

    def sample(self, h_enc: ir.Value, epsilon: ir.Value) -> ir.Value:
        b = self.b
        with b.scope("posterior"):
            both = b.op("Gemm", b.to_single(h_enc), self.weight, self.bias)
            mu, log_sigma = b.split(both, [self.latents, self.latents], 1, ["mu", "log_sigma"])
            sigma = b.op("Exp", log_sigma, name="sigma")
            self.mus.append(mu)
            self.log_sigmas.append(log_sigma)
            self.sigmas.append(sigma)
            return b.op("Add", mu, b.op("Mul", sigma, epsilon), name="z")

    def kl(self) -> ir.Value:
        """1/2 sum over steps and latents of mu^2 + sigma^2 - 2 log sigma - 1. [batch]"""
        b = self.b
        mu, log_sigma = b.concat(self.mus, 1, "mu"), b.concat(self.log_sigmas, 1, "log_sigma")
        sigma = b.concat(self.sigmas, 1, "sigma")
        squares = b.op("Add", b.op("Mul", mu, mu), b.op("Mul", sigma, sigma))
        twice = b.op("Add", b.op("Add", log_sigma, log_sigma), b.constant("one", 1.0))
        total = b.op("ReduceSum", b.op("Sub", squares, twice), b.integers("axes", [1]), keepdims=0)
        return b.op("Mul", total, b.constant("half", 0.5), name="kl")


class _Decoder:
    """Equations (7, 8, 28, 29), a step at a time, since the encoder looks at the canvas between them."""

    def __init__(self, b: GraphBuilder, config: DrawConfig, weights: Weights) -> None:
        self.b, self.config = b, config
        with b.scope("decoder"):
            lstm, first, self.prior = fold_prior(b, config, weights, lstm_weights(weights, "decoder"))
            self.w, r = b.weight("weight_ih", lstm.w), b.matrix("weight_hh", lstm.r)
            self.biases = b.weight("initial_bias", lstm.bias + first), b.weight("bias", lstm.bias)
            self.lstm = UnrolledLstm(b, [r], weights["initial_decoder_cell"])
            self.canvas = b.constant("initial_canvas", weights["initial_canvas"][None])
        with b.scope("write"):
            if config.attention:
                self.head = window_head(weights, "write_attention", config.write_size, config.image)
                both = np.hstack([self.head.weight, weights["write_patch.weight"].T])
                self.weight = b.constant("weight", both)
                self.bias = b.constant("bias", np.concatenate([self.head.bias, weights["write_patch.bias"]]))
            else:
                self.weight = b.weight("weight", weights["write_canvas.weight"].T)
                self.bias = b.weight("bias", weights["write_canvas.bias"])
        self.windows = []

    def step(self, z: ir.Value) -> ir.Value:
        """The canvas after this step, before the logistic function. [batch, C, H, W]"""
        b = self.b
        with b.scope("decoder"):
            if self.prior is not None:
                z = self.prior.scaled(z, self.lstm.h)
            bias = self.biases[self.lstm.h is not None]
            h = self.lstm.step(b.op("Gemm", b.to_half(z), self.w, bias))
        with b.scope("write"):
            addition = self._write(h)
        self.canvas = b.op("Add", self.canvas, addition, name="canvas")
        return self.canvas

    def _write(self, h: ir.Value) -> ir.Value:
        b, n, size = self.b, self.config.write_size, self.config.image
        if not self.config.attention:
            addition = b.to_single(b.op("Gemm", h, self.weight, self.bias))
            return b.reshape(addition, [-1, *size], name="addition")
        both = b.op("Gemm", b.to_single(h), self.weight, self.bias)
        params, patch = b.split(both, [5, size.channels * n * n], 1, ["attention", "patch"])
        window = decode_window(b, params, self.head)
        self.windows.append(window)
        return write(b, patch, window, self.head, size)


def _reconstruction_loss(b: GraphBuilder, image: ir.Value, canvas: ir.Value) -> ir.Value:
    """Equation (9) from the logits c: sum of max(c, 0) - x c + log(1 + exp(-|c|)), which cannot overflow. [batch]"""
    tail = b.op("Exp", b.op("Neg", b.op("Abs", canvas)))
    log = b.op("Log", b.op("Add", tail, b.constant("one", 1.0)))
    linear = b.op("Sub", b.op("Relu", canvas), b.op("Mul", image, canvas))
    pixels = b.op("Add", linear, log, name="pixels")
    return b.op("ReduceSum", pixels, b.integers("axes", [1, 2, 3]), keepdims=0, name="reconstruction_loss")


def _sigmoid(values: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-values))
