"""What decides a run's result, kept in its checkpoint for ``--resume``; what the machine adds; and a run's files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..errors import DrawError

GlimpseLoss = Literal["weighted", "last"]
Precision = Literal["32-true", "bf16-mixed"]
OptimizerName = Literal["adam", "soap"]


class _Bounds(NamedTuple):
    """Between ``low`` and ``high``, which themselves are among the values unless ``above`` and ``below`` say not."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        if not self.above and not self.below and self.high < math.inf:
            return f"between {self.low:,} and {self.high:,}"
        low = f"{'above' if self.above else 'at least'} {self.low:,}"
        if self.high == math.inf:
            return f"{low} and finite" if self.below else low
        return f"{low} and {'below' if self.below else 'at most'} {self.high:,}"


_COUNT = _Bounds(1, 10**12)
_SHARE = _Bounds(0, 1, below=True)
_BOUNDS: dict[str, _Bounds] = {
    "iterations": _COUNT,
    "batch_size": _Bounds(1, 10**6),  # a larger one is a slip, and takes all memory before it fails
    "eval_every": _COUNT,
    "eval_images": _COUNT,
    "save_every": _COUNT,
    "learning_rate": _Bounds(0, 1, above=True, below=True),
    "warmup": _Bounds(0),
    "attention_lr_scale": _Bounds(0, 1, above=True),
    "attention_lr_settle": _Bounds(0),
    "write_window": _Bounds(0, below=True),
    "adam_beta2": _SHARE,
    "weight_decay": _SHARE,
    "clip_norm": _Bounds(0),
    "ema_decay": _SHARE,
    "seed": _Bounds(0, 2**63 - 1),
    "deform": _Bounds(0, 3),
    "shift": _Bounds(0, 1000),
}
_CHOICES = {"glimpse_loss": GlimpseLoss, "precision": Precision, "optimizer": OptimizerName}


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
    # Data sets of MNIST's grey digits: they are rotated, stretched, slanted, shifted; 1 is 12 degrees and the like.
    deform: float = 0.0
    # Data sets of MNIST's digits: train on the validation digits too; best.ckpt is the last.
    all_digits: bool = False
    # `images` and `labelled-images` only
    image_dir: str = ""
    image_height: int = 0
    image_width: int = 0
    image_channels: int = 0
    # `labelled-images` only: pictures to validate and test with; else some of image_dir
    validation_dir: str = ""
    shift: int = 0  # `mnist` and `labelled-images`: training pictures are moved by up to this many pixels

    def __post_init__(self) -> None:
        for name, bounds in _BOUNDS.items():
            if getattr(self, name) not in bounds:
                raise DrawError(f"{name} must be {bounds}, not {getattr(self, name)}")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                known = " or ".join(get_args(kind))
                raise DrawError(f"{name} must be {known}, not {getattr(self, name)!r}")

    def replace(self, **changes: Any) -> TrainSettings:
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> TrainSettings:
        """A field that a run's version did not have keeps its default, which does what that version did.

        Raises DrawError when it is no dict, fields are unknown or the necessary ones are missing.
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

    FIRST_COLUMNS = ("iteration", "stage", "seconds")  # of metrics.csv, by which it is known

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
        # But for the sheets.
        self.files = (self.last, self.best, self.weights, self.metrics, self.command, self.test)

    @property
    def finished(self) -> bool:
        """Whether the test figure is that of the last checkpoint, and the weights that it is of are there."""
        try:
            return self.best.exists() and self.test.stat().st_mtime_ns >= self.last.stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def require_fresh(self) -> None:
        """Raises DrawError where a run already lives, or where its files would replace or mix with others.

        What a run leaves that ended before its first checkpoint is none: it may be begun again.
        """
        if self.last.exists():
            raise DrawError(
                f"{self.path} already holds a run: continue it with --resume, or choose another --out"
            )
        self._require_no_best()
        others = []
        if self.test.exists():
            others.append((self.test, "the figure of another run"))
        if self.metrics.exists() and not self._begins(self.metrics, ",".join(self.FIRST_COLUMNS)):
            others.append((self.metrics, "not a table that draw-train wrote"))
        if self.command.exists() and not self._begins(self.command, "draw-train"):
            others.append((self.command, "not a command line that draw-train wrote"))
        if sheets := sorted(self.samples.glob("[0-9]" * 7 + "*.png")):
            others.append((sheets[0], "a sample sheet of another run"))
        for path, what in others:
            raise DrawError(f"{path} is {what}: choose another --out, or move it away")

    def _require_no_best(self) -> None:
        for weights in (self.best, self.weights):
            if weights.exists():
                raise DrawError(
                    f"{weights} is the best of a run without a last.ckpt: choose another --out (and begin from these"
                    f" weights with --init-from {weights})"
                )

    @staticmethod
    def _begins(path: Path, text: str) -> bool:
        """Whether a file of ours begins so; nothing is lost with an empty one."""
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(1000)
        return not first or first.startswith(text)

    def require_run(self) -> None:
        """Raises DrawError where there is nothing to resume."""
        if not self.last.exists():
            self._require_no_best()  # they have a word of their own
            raise DrawError(f"nothing to resume: {self.last} does not exist; without --resume a run begins")
