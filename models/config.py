"""Sizes of the models. Frozen, plain and checked: what a checkpoint and an ONNX file are built from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_origin, get_type_hints


class ImageSize(NamedTuple):
    """Channels, height (B in the paper) and width (A) of the pictures, in pixels."""

    channels: int
    height: int
    width: int


Prior = Literal["standard", "learned"]
STANDARD, LEARNED = "standard", "learned"

_SIZES = ("image_channels", "image_height", "image_width", "time_steps", "hidden_size")  # of both


@dataclass(frozen=True)
class DrawConfig:
    """Sizes of a DRAW network (the paper's table 3).

    ``attention=False`` reads and writes whole images; ``read_size`` and ``write_size`` are then 0.
    """

    image_channels: int = 1
    image_height: int = 28
    image_width: int = 28
    time_steps: int = 64
    hidden_size: int = 256
    latent_size: int = 100
    read_size: int = 2  # N of the read window: N x N Gaussian filters
    write_size: int = 5  # N of the write window
    attention: bool = True
    # "learned": z_t = m(h_dec_{t-1}) + s(h_dec_{t-1}) u_t for a standard normal u_t, which is not the paper's model.
    prior: str = STANDARD

    def __post_init__(self) -> None:
        _require_positive(self, (*_SIZES, "latent_size"))
        if self.prior not in (STANDARD, LEARNED):
            raise ValueError(f"prior must be {STANDARD} or {LEARNED}, not {self.prior!r}")
        if self.attention:
            _require_positive(self, ("read_size", "write_size"))
        elif self.read_size or self.write_size:
            name = "read_size" if self.read_size else "write_size"
            raise ValueError(f"{name} must be 0 without attention")

    @property
    def image(self) -> ImageSize:
        return ImageSize(self.image_channels, self.image_height, self.image_width)

    @property
    def read_length(self) -> int:
        """Numbers in r_t: two images (x and the error image) through the window, or both whole."""
        if self.attention:
            return 2 * self.image_channels * self.read_size**2
        return 2 * self.image_channels * self.image_height * self.image_width


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of the attention glimpse classifier (section 4.1 of the paper)."""

    image_channels: int = 1
    image_height: int = 100
    image_width: int = 100
    time_steps: int = 8  # glimpses
    hidden_size: int = 256
    read_size: int = 12
    labels: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    # 0 takes the attention vector as it is (the paper); b > 0 passes it through b * tanh(p / b), which keeps one
    # bad step from throwing the window off the picture, where no gradient reaches it. `attention_bound` is for
    # the three logarithms; a `position_bound` of 1 keeps the centre inside the picture.
    attention_bound: float = 0.0
    position_bound: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, (*_SIZES, "read_size"))
        if len(self.labels) < 2 or any("," in label or not label for label in self.labels):
            raise ValueError("labels must be at least two non-empty names without commas")
        for name in ("attention_bound", "position_bound"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or a positive number")
        if bool(self.attention_bound) != bool(self.position_bound):
            raise ValueError("attention_bound and position_bound are both 0 or both positive")

    @property
    def image(self) -> ImageSize:
        return ImageSize(self.image_channels, self.image_height, self.image_width)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Bounds of (g_X, g_Y, log sigma^2, log delta, log gamma); all 0 for none."""
        return (self.position_bound,) * 2 + (self.attention_bound,) * 3


ModelConfig = DrawConfig | ClassifierConfig

_KINDS: dict[str, type[DrawConfig] | type[ClassifierConfig]] = {
    "draw": DrawConfig,
    "classifier": ClassifierConfig,
}

# Fields that came later: configs from before them lack them, and so keep their hash.
_LATER: dict[str, Any] = {"prior": STANDARD}

# What a field of a type may be given as, exactly (true is no whole number), and what messages call that.
_FIELD_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    str: ((str,), "a word"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    tuple[str, ...]: ((list, tuple), "a list of names"),
}


def model_kind(config: ModelConfig) -> str:
    """``"draw"`` or ``"classifier"``: how checkpoints name the model."""
    return "draw" if isinstance(config, DrawConfig) else "classifier"


def prior_of(config: ModelConfig) -> str:
    """Of its latents; a classifier, which has none, has the standard one."""
    return config.prior if isinstance(config, DrawConfig) else STANDARD


def prior_remark(prior: str) -> str:
    """What stands behind a figure of a model with such a prior."""
    return " [learned prior: not the paper's model]" if prior == LEARNED else ""


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Plain values only, as a checkpoint stores them: without those of :data:`_LATER` that are the default."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}
    return {k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]}


def config_from_dict(kind: str, values: dict[str, Any]) -> ModelConfig:
    """The inverse of :func:`config_to_dict`.

    Raises:
        ValueError: unknown kind, missing or unknown fields, wrong types, sizes out of range.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown model kind {kind!r}")
    cls = _KINDS[kind]
    types = get_type_hints(cls)
    values = {k: v for k, v in _LATER.items() if k in types} | values
    if set(values) != set(types):
        wrong = sorted(set(values) ^ set(types))
        raise ValueError(f"missing or unknown config fields: {', '.join(map(str, wrong))}")
    return cls(**{name: _checked(name, wanted, values[name]) for name, wanted in types.items()})


def _checked(name: str, kind: Any, value: Any) -> Any:
    accepted, described = _FIELD_TYPES[kind]
    names = value if type(value) in (list, tuple) else ()
    if type(value) not in accepted or not all(isinstance(v, str) for v in names):
        raise ValueError(f"config field {name} must be {described}")
    return (get_origin(kind) or kind)(value)


def _require_positive(config: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        # 2**16 on any axis is far beyond use and keeps a forged file from asking for terabytes.
        if not 1 <= value <= 65536:
            raise ValueError(f"{name} must be between 1 and 65536, not {value}")
