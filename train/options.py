"""How a command line's options change a preset, and what a resumed run may change."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..console import note
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, weights_sha256
from ..models.config import DrawConfig, ModelConfig
from .presets import Preset
from .settings import TrainSettings

# Fields of a model's config and the options that set them.
SIZE_OPTIONS = {
    "time_steps": "--time-steps",
    "hidden_size": "--hidden",
    "latent_size": "--latent",
    "read_size": "--read-size",
    "write_size": "--write-size",
    "attention": "--attention/--no-attention",
    "image_channels": "--channels",
}


def apply_options(
    preset: Preset, changes: dict[str, Any], sizes: dict[str, Any]
) -> tuple[TrainSettings, ModelConfig]:
    """Settings and model of a fresh run: the preset's, with the options given.

    Raises:
        DrawError: an option that does not fit the model, or a value out of range.
    """
    settings = preset.settings.replace(**changes)
    if settings.dataset == "images":
        if not settings.image_dir:
            raise DrawError("preset images needs --image-dir DIR, a folder of picture files")
        image = preset.model.image
        settings = settings.replace(
            image_height=settings.image_height or image.height,
            image_width=settings.image_width or image.width,
            image_channels=settings.image_channels or image.channels,
        )
        sizes = {
            **sizes,
            "image_height": settings.image_height,
            "image_width": settings.image_width,
            "image_channels": settings.image_channels,
        }
    elif settings.image_dir or settings.image_height or settings.image_channels:
        raise DrawError(
            f"--image-dir, --image-size and --channels belong to preset images, not {settings.preset}"
        )
    return settings, resize(preset.model, sizes)


def apply_initial(
    preset: Preset, initial: Checkpoint, changes: dict[str, Any], sizes: dict[str, Any]
) -> tuple[TrainSettings, ModelConfig]:
    """Settings and model of a run that starts from ``initial``: its sizes, except the number of steps.

    Raises:
        DrawError: the other kind of model, an option that would change a weight's shape, or a value out of range.
    """
    if type(preset.model) is not type(initial.config):
        kinds = ("DRAW", "the glimpse classifier")
        ours, theirs = kinds if isinstance(preset.model, DrawConfig) else kinds[::-1]
        raise DrawError(
            f"--init-from: preset {preset.settings.preset} trains {ours}, the checkpoint is {theirs}"
        )
    # The windows of trained weights have nothing to find any more.
    changes = {
        "attention_lr_settle": 0,
        **changes,
        "init_from": weights_sha256(initial.weights, initial.config),
    }
    settings, config = apply_options(dataclasses.replace(preset, model=initial.config), changes, sizes)
    ours, theirs = vars(config), vars(initial.config)
    fixed = [SIZE_OPTIONS.get(k, "--image-size") for k in ours if k != "time_steps" and ours[k] != theirs[k]]
    if fixed:
        options = ", ".join(dict.fromkeys(fixed))
        raise DrawError(f"--init-from takes the model's sizes from the checkpoint: leave out {options}")
    return settings, config


def resize(model: ModelConfig, sizes: dict[str, Any]) -> ModelConfig:
    """The model's config with other sizes. Turning attention off clears the windows.

    Raises:
        DrawError: a size the model does not have, or out of range.
    """
    names = {f.name for f in dataclasses.fields(model)}
    for name in sizes:
        if name not in names:
            raise DrawError(f"{SIZE_OPTIONS.get(name, name)} does not fit the glimpse classifier")
    if isinstance(model, DrawConfig) and "attention" in sizes and sizes["attention"] != model.attention:
        windows = {} if sizes["attention"] is False else {"read_size": 2, "write_size": 5}
        if sizes["attention"] is False:
            windows = {"read_size": 0, "write_size": 0}
        sizes = {**windows, **sizes}
    try:
        return dataclasses.replace(model, **sizes)
    except ValueError as error:
        raise DrawError(str(error)) from error


def resumed_settings(checkpoint: Checkpoint, changes: dict[str, Any], sizes: dict[str, Any]) -> TrainSettings:
    """The checkpoint's settings; only ``iterations`` may differ.

    Raises:
        DrawError: a weights-only checkpoint, an option that would change the run, or nothing left to do.
    """
    if checkpoint.training is None:
        raise DrawError("this is a weights-only checkpoint: it cannot be resumed (last.ckpt of a run can)")
    settings = TrainSettings.from_dict(checkpoint.training.get("settings"))  # type: ignore[arg-type]
    fixed = sorted(set(changes) - {"iterations"} | set(sizes))
    if fixed:
        names = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise DrawError(f"--resume takes its settings from the checkpoint: leave out {names}")
    iterations = changes.get("iterations", settings.iterations)
    if iterations != settings.iterations:
        note("another --iterations changes the learning-rate schedule: this run is not bit-exact")
        settings = settings.replace(iterations=iterations)
    if checkpoint.iteration >= settings.iterations:
        raise DrawError(
            f"this run has already reached iteration {checkpoint.iteration} of {settings.iterations};"
            " give a larger --iterations to go on"
        )
    return settings
