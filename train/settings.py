"""What decides a run's result, kept in its checkpoint for ``--resume``; what the machine adds; and a run's files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import DrawError

GlimpseLoss = Literal["weighted", "last"]
Precision = Literal["32-true", "bf16-mixed"]
OptimizerName = Literal["adam", "soap"]
_MOST = 10**12  # of anything that is counted


@dataclass(frozen=True)
class TrainSettings:
    """One run's settings. Lengths are in iterations (weight updates)."""

    preset: str
    dataset: str
    iterations: int
    batch_size: int = 100
    learning_rate: float = 1e-3
    optimizer: OptimizerName = "adam"  # "soap": for matrices, Adam for the rest (soap.py)
    warmup: int = 200  # linear from 0; Adam's second moments are unreliable at first
    # The attention heads' rate relative to the others', reached after `attention_lr_settle` iterations from 1.
    attention_lr_scale: float = 1.0
    attention_lr_settle: int = 0
    # Pixels: write windows of this width all along (write_window.py); 0 leaves them free.
    write_window: float = 0.0
    adam_beta2: float = 0.999
    weight_decay: float = 0.0  # of matrices, decoupled from the gradient (AdamW); biases and states have none
    # Of the whole gradient. For DRAW a guard against spikes only: the norm of a healthy batch is 100 to 500
    # nats, and the 10 that others use cuts every step (183 nats after 400 iterations against 166). 0 never cuts.
    clip_norm: float = 1000.0
    ema_decay: float = 0.999  # 0 keeps no average
    seed: int = 0
    eval_every: int = 500
    eval_images: int = 2000  # of the validation set, during training
    save_every: int = 500
    # "weighted" sums the cross-entropy after every glimpse t with weight (t/T)^2, which departs from the
    # paper; "last" is the paper's loss. Classifier only.
    glimpse_loss: GlimpseLoss = "weighted"
    precision: Precision = "32-true"  # "bf16-mixed": the large products in bfloat16, all else in float32
    compile: bool = False  # a few time steps together with torch.compile; other bits, the same figures
    init_from: str = ""  # SHA-256 of the weights that the run started from; empty for random ones
    # `cluttered-mnist` only. Deformed digits are rotated, stretched, slanted, shifted; 1 is 12 degrees and the like.
    deform: float = 0.0
    # `cluttered-mnist`, `mnist-two-digit` and `mnist-dynamic`: train on the validation digits too; best.ckpt is the last.
    all_digits: bool = False
    # `images` and `labelled-images` only
    image_dir: str = ""
    image_height: int = 0
    image_width: int = 0
    image_channels: int = 0
    # `labelled-images` only
    validation_dir: str = ""  # pictures to validate and test with; else some of image_dir
    shift: int = 0  # training pictures are moved by up to this many pixels

    def __post_init__(self) -> None:
        positive = ("iterations", "batch_size", "eval_every", "eval_images", "save_every")
        for name in positive:
            if getattr(self, name) < 1:
                raise DrawError(f"{name.replace('_', ' ')} must be at least 1, not {getattr(self, name)}")
            if getattr(self, name) > _MOST:
                raise DrawError(f"{name.replace('_', ' ')} must be at most {_MOST:,}")
        for name, is_valid, must in (
            ("learning_rate", 0 < self.learning_rate < 1, "the learning rate must be between 0 and 1"),
            (
                "attention_lr_scale",
                0 < self.attention_lr_scale <= 1,
                "the attention heads' learning rate scale must be above 0 and at most 1",
            ),
            ("attention_lr_settle", self.attention_lr_settle >= 0, "attention_lr_settle must be at least 0"),
            ("warmup", self.warmup >= 0, "the warm-up must be at least 0 iterations"),
            ("clip_norm", self.clip_norm >= 0, "the largest gradient norm must be at least 0"),
            ("weight_decay", 0 <= self.weight_decay < 1, "the weight decay must be at least 0 and below 1"),
            ("deform", 0 <= self.deform <= 3, "the deformation must be between 0 and 3"),
            ("shift", 0 <= self.shift <= 1000, "the shift must be between 0 and 1,000 pixels"),
            (
                "write_window",
                0 <= self.write_window < math.inf,
                "the write window must be at least 0 pixels wide",
            ),
            ("ema_decay", 0 <= self.ema_decay < 1, "the EMA decay must be at least 0 and below 1"),
            ("seed", 0 <= self.seed < 2**63, "the seed must be between 0 and 2^63 - 1"),
        ):
            if not is_valid:
                raise DrawError(f"{must}, not {getattr(self, name)}")
        for what, value, known in (
            ("glimpse loss", self.glimpse_loss, get_args(GlimpseLoss)),
            ("precision", self.precision, get_args(Precision)),
            ("optimizer", self.optimizer, get_args(OptimizerName)),
        ):
            if value not in known:
                raise DrawError(f"unknown {what} {value!r}: {', '.join(known)}")

    def replace(self, **changes: Any) -> TrainSettings:
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainSettings:
        """A field that a run's version did not have keeps its default, which does what that version did.

        Raises DrawError when fields are unknown or the necessary ones are missing.
        """
        fields = dataclasses.fields(cls)
        needed = {f.name for f in fields if f.default is dataclasses.MISSING}
        if not isinstance(values, dict) or not needed <= set(values) <= {f.name for f in fields}:
            raise DrawError(
                "the checkpoint's training settings are from another version: it cannot be resumed"
            )
        return cls(**values)


@dataclass(frozen=True)
class Hardware:
    """Where a run computes. Free to change on resume; a different device or count is not bit-exact."""

    device: str = "auto"  # auto, cpu, cuda
    devices: int = 1
    compile: bool | None = None  # None: as the run began, or in a new one as its length and the machine say
    cuda_graph: bool = False  # record the whole update; one GPU only
    threads: int | None = None  # of the CPU; None is PyTorch's choice


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.ckpt"
        self.best = path / "best.ckpt"
        # The weights of `best` to share, written after it: where they differ, best.ckpt is right.
        self.weights = path / "best.safetensors"
        self.metrics = path / "metrics.csv"
        self.command = path / "command.txt"  # the command line that started the run: what a model card quotes
        self.samples = path / "samples"
        self.test = path / "test.txt"  # the test figure: the last file that a run writes

    @property
    def finished(self) -> bool:
        """Whether the test figure is that of the last checkpoint."""
        try:
            return self.test.stat().st_mtime_ns >= self.last.stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def require_fresh(self) -> None:
        """Raises DrawError where a run already lives: what has no checkpoint yet may be begun again."""
        if self.last.exists():
            raise DrawError(
                f"{self.path} already holds a run: continue it with --resume, or choose another --out"
            )
        if self.best.exists():
            raise DrawError(
                f"{self.best} is the best of a run without a last.ckpt: choose another --out (and begin from these weights"
                f" with --init-from {self.best})"
            )

    def require_run(self) -> None:
        """Raises DrawError where there is nothing to resume."""
        if not self.last.exists():
            self.require_fresh()  # best.ckpt alone has a word of its own
            raise DrawError(f"nothing to resume: {self.last} does not exist; without --resume a run begins")
