"""How a command line's options change a preset, and what a resumed run may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..console import note
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, weights_sha256
from ..models.config import ClassifierConfig, DrawConfig, ModelConfig
from ..models.growth import WINDOWS, misfits
from .data.labelled_folder import class_names
from .data.places import expand_home
from .presets import Preset
from .settings import RunFolder, TrainSettings
from .stages import Place, Stage, Start, place_of, start_from
from .write_window import check_write_window

# Fields of settings and of models whose options are not called as they are.
_OPTIONS = {
    "hidden_size": "--hidden",
    "latent_size": "--latent",
    "attention": "--attention/--no-attention",
    "learning_rate": "--lr",
    "clip_norm": "--clip",
    "ema_decay": "--ema",
    "image_height": "--image-size",
    "image_width": "--image-size",
    "image_channels": "--channels",
}
# Options of a resumed run that may differ from the first part's: its length, and where its pictures lie now.
_RESUMABLE = {"iterations", "image_dir", "validation_dir"}
# How a stage is computed and watched, not what it trains: such an option holds for every stage.
_OF_ALL_STAGES = {"precision", "eval_every", "save_every"}
_OWN_PICTURES = ("images", "labelled-images")


def fields_of(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the options given, by their parameters' names, set: fields of :class:`TrainSettings`, sizes of the model."""
    not_fields = ("preset", "init_from")  # in the settings they are the preset's name and a digest
    given = {name: value for name, value in given.items() if value is not None and name not in not_fields}
    # Whole paths: the run may go on from another place.
    for folder in given.keys() & {"image_dir", "validation_dir"}:
        given[folder] = str(expand_home(given[folder]).absolute())
    if "image_size" in given:
        given["image_height"], given["image_width"] = given["image_size"]
    settings, *models = (
        [f.name for f in dataclasses.fields(kind) if f.name in given]
        for kind in (TrainSettings, DrawConfig, ClassifierConfig)
    )
    sizes = [name for names in models for name in names if name not in settings]
    return {name: given[name] for name in settings}, {name: given[name] for name in sizes}


def option_names(fields: Iterable[str]) -> str:
    """``--lr, --hidden``: the options that set these fields, each once, for messages."""
    return ", ".join(dict.fromkeys(_OPTIONS.get(name, "--" + name.replace("_", "-")) for name in fields))


def begin(
    preset: Preset,
    changes: dict[str, Any],
    sizes: dict[str, Any],
    initial: Checkpoint | None = None,
    from_stage: int | None = None,
    bfloat16: bool = True,
) -> Start:
    """A fresh run: the preset's stages with the options given, or one stage where an option says what a stage would.

    Args:
        initial: the weights to start from.
        from_stage: leave out the stages before this one (from 1): ``initial`` is what they made.
        bfloat16: whether such products are faster here. Where not, stages are in float32 unless an option says so.

    Raises:
        DrawError: an option that does not fit the model, or a value out of range.
    """
    of_stages = {name for stage in preset.stages for name in stage}
    own = (of_stages - _OF_ALL_STAGES) & {*changes, *sizes}
    if from_stage is not None:
        if own:
            raise DrawError(f"--from-stage trains the preset's stages: leave out {option_names(sorted(own))}")
        if not 2 <= from_stage <= len(preset.stages):
            last = len(preset.stages)
            has = (
                f"can begin at its stages 2 to {last}, and without the option at its first"
                if last
                else "has one stage"
            )
            raise DrawError(f"--from-stage {from_stage}: preset {preset.settings.preset} {has}")
        if initial is None:
            raise DrawError("--from-stage needs --init-from: the weights that the stages before made")
        check_no_write_window(changes)
    elif own or not preset.stages or initial is not None:
        if own and initial is None:
            note(f"one stage, not the preset's {len(preset.stages)}, by {option_names(sorted(own))}")
        make = apply_options if initial is None else partial(apply_initial, initial=initial)
        return Start(Place((Stage(*make(preset, changes=changes, sizes=sizes)),)), initial=initial)
    plan = []
    for stage in preset.stages:
        of_stage, steps = fields_of(stage)
        settings = preset.settings.replace(**of_stage)
        if not bfloat16:
            settings = settings.replace(precision="32-true")
        model = dataclasses.replace(preset.model, **steps)
        plan.append(
            Stage(*apply_options(dataclasses.replace(preset, model=model, settings=settings), changes, sizes))
        )
    index = from_stage - 1 if from_stage else 0
    if initial is not None:
        check_kind(preset, initial)
        if isinstance(initial.config, ClassifierConfig):  # of a data set with other classes than digits
            plan = list(Place(tuple(plan)).with_labels(initial.config.labels).plan)
        if misfits(initial.config, plan[index].config):
            raise DrawError("--from-stage: the checkpoint's model has other sizes than the preset's")
        digest = weights_sha256(initial.weights, initial.config)
        plan = [Stage(stage.settings.replace(init_from=digest), stage.config) for stage in plan]
    first = sum(stage.settings.iterations for stage in plan[:index])
    return Start(Place(tuple(plan), index, first), initial=initial)


def apply_options(
    preset: Preset, changes: dict[str, Any], sizes: dict[str, Any]
) -> tuple[TrainSettings, ModelConfig]:
    """Settings and model of a fresh run or stage: the preset's, with the options given.

    Raises:
        DrawError: an option that does not fit the model, or a value out of range.
    """
    settings = preset.settings.replace(**changes)
    if settings.dataset in _OWN_PICTURES:
        labelled = settings.dataset == "labelled-images"
        if not settings.image_dir:
            what = (
                "with a folder of picture files for each class" if labelled else "a folder of picture files"
            )
            raise DrawError(f"preset {settings.preset} needs --image-dir DIR, {what}")
        image = preset.model.image
        chosen = {"image_height": image.height, "image_width": image.width, "image_channels": image.channels}
        chosen |= {name: changes[name] for name in chosen if name in changes}
        settings = settings.replace(**chosen)
        sizes = {**sizes, **chosen}
        if labelled:
            sizes = labelled_sizes(preset, settings, sizes)
    elif any(name.startswith("image_") for name in changes):
        raise DrawError(
            "--image-dir, --image-size and --channels belong to presets images and labelled-images,"
            f" not {settings.preset}"
        )
    if settings.dataset != "labelled-images":
        only = [name for name in ("validation_dir", "shift") if name in changes]
        if only:
            raise DrawError(f"{option_names(only)} belongs to preset labelled-images, not {settings.preset}")
    if "glimpse_loss" in changes and isinstance(preset.model, DrawConfig):
        raise DrawError(f"--glimpse-loss is for the glimpse classifier, preset {settings.preset} trains DRAW")
    config = resize(preset.model, sizes)
    if "attention_lr_scale" in changes and not getattr(config, "attention", True):
        raise DrawError("--attention-lr-scale is of the layers of the windows, and this model has none")
    if "write_window" not in changes and not getattr(config, "attention", False):
        settings = settings.replace(write_window=0.0)  # the preset's, of a model that has no windows any more
    if settings.write_window:
        check_write_window(config, settings.write_window)
    return settings, config


def labelled_sizes(preset: Preset, settings: TrainSettings, sizes: dict[str, Any]) -> dict[str, Any]:
    """``sizes`` with what a folder of classes decides, the labels; and a read window of no more filters than pixels.

    Raises:
        DrawError: no classes, or others than those of the weights that the run starts from.
    """
    assert isinstance(preset.model, ClassifierConfig)
    labels = class_names(Path(settings.image_dir))
    if settings.init_from:
        if labels != preset.model.labels:
            raise DrawError(
                f"--init-from: the checkpoint's classes are {', '.join(preset.model.labels)}, the folder's"
                f" {', '.join(labels)}"
            )
        return sizes
    longer = max(settings.image_height, settings.image_width)
    return {"read_size": min(preset.model.read_size, longer), **sizes, "labels": labels}


def check_no_write_window(changes: dict[str, Any]) -> None:
    """Raises DrawError where a width is given for the windows of trained weights."""
    if changes.get("write_window"):
        raise DrawError(
            "--write-window is for random weights: trained ones bring their windows, leave it out"
        )


def check_kind(preset: Preset, initial: Checkpoint) -> None:
    """Raises DrawError where ``initial`` is another kind of model than the preset's."""
    if type(preset.model) is not type(initial.config):
        kinds = ("DRAW", "the glimpse classifier")
        ours, theirs = kinds if isinstance(preset.model, DrawConfig) else kinds[::-1]
        raise DrawError(
            f"--init-from: preset {preset.settings.preset} trains {ours}, the checkpoint is {theirs}"
        )
    wanted = preset.model
    if isinstance(wanted, DrawConfig) and wanted.attention != vars(initial.config)["attention"]:
        have, lack = ("with", "without") if wanted.attention else ("without", "with")
        raise DrawError(
            f"--init-from: preset {preset.settings.preset} is DRAW {have} attention, the checkpoint {lack}"
        )


def apply_initial(
    preset: Preset, initial: Checkpoint, changes: dict[str, Any], sizes: dict[str, Any]
) -> tuple[TrainSettings, ModelConfig]:
    """Settings and model of a run that starts from ``initial``: its sizes, except what weights can grow to: steps,
    more hidden units, larger windows, and a learned prior in place of the standard one (models/growth.py).

    Sizes that are then not the preset's are said: a run called ``cluttered-mnist-4`` may have 8 glimpses.

    Raises:
        DrawError: the other kind of model, an option that would change a weight's shape, or a value out of range.
    """
    check_kind(preset, initial)
    wanted = preset.model
    check_no_write_window(changes)
    # The windows of trained weights have nothing to find any more, and may be as wide as they like.
    changes = {
        "attention_lr_settle": 0,
        "write_window": 0.0,
        **changes,
        "init_from": weights_sha256(initial.weights, initial.config),
    }
    settings, config = apply_options(dataclasses.replace(preset, model=initial.config), changes, sizes)
    ours, theirs = vars(config), vars(initial.config)
    fixed = [name for name in misfits(initial.config, config) if name in sizes or name in changes]
    for name in fixed:
        if name in WINDOWS and theirs[name] > 1:
            n = theirs[name]
            larger = ", ".join(str(k * (n - 1) + 1) for k in (2, 3, 4))
            raise DrawError(
                f"{option_names([name])} {ours[name]}: the checkpoint's windows have {n} filters a side, which are among"
                f" {larger}, … but not among {ours[name]}"
            )
    if "hidden_size" in fixed:
        units = theirs["hidden_size"]
        raise DrawError(
            f"{option_names(['hidden_size'])} {ours['hidden_size']}: the checkpoint's model has {units} units, and may"
            " only get more"
        )
    if fixed:
        raise DrawError(
            f"--init-from takes the model's sizes from the checkpoint: leave out {option_names(fixed)}"
        )
    others = [
        f"{name} {ours[name]} (preset {value})"
        for name, value in vars(wanted).items()
        if ours[name] != value and name not in sizes
    ]
    if others:
        note(f"sizes from the checkpoint, other than the preset's: {', '.join(others)}")
    return settings, config


def resize(model: ModelConfig, sizes: dict[str, Any]) -> ModelConfig:
    """The model's config with other sizes. Turning attention off clears the windows.

    Raises:
        DrawError: a size the model does not have, or out of range.
    """
    names = {f.name for f in dataclasses.fields(model)}
    for name in sizes:
        if name not in names:
            raise DrawError(f"{option_names([name])} does not fit the glimpse classifier")
    if isinstance(model, DrawConfig) and "attention" in sizes and sizes["attention"] != model.attention:
        windows = (
            {"read_size": 2, "write_size": 5} if sizes["attention"] else {"read_size": 0, "write_size": 0}
        )
        sizes = {**windows, **sizes}
    try:
        return dataclasses.replace(model, **sizes)
    except ValueError as error:
        field, _, text = str(error).partition(" ")
        raise DrawError(f"{option_names([field])} {text}" if field in sizes else str(error)) from error


def go_on(checkpoint: Checkpoint, changes: dict[str, Any], sizes: dict[str, Any], folder: RunFolder) -> Start:
    """A run that goes on from its checkpoint; only ``iterations`` and the folders of pictures may differ.

    Raises:
        DrawError: a weights-only checkpoint, an option that would change the run, or nothing left to do.
    """
    place = place_of(checkpoint)
    settings = place.stage.settings
    fixed = [name for name in (*sizes, *changes) if name not in _RESUMABLE]
    if fixed:
        raise DrawError(
            f"--resume takes its settings from the checkpoint: leave out {option_names(fixed)}, or begin a new run from"
            f" these weights: --init-from {folder.last} and another --out"
        )
    new = {name: value for name, value in changes.items() if value != getattr(settings, name)}
    for name in new:
        if not getattr(settings, name):
            raise DrawError(f"{option_names([name])} does not belong to this run: it began without")
    if "iterations" in new:
        if len(place.plan) > 1:
            raise DrawError("--iterations: this run has stages, whose lengths are the preset's")
        note("another --iterations changes the learning-rate schedule: this run is not bit-exact")
    return start_from(checkpoint, place.replace(lambda stage: stage.replace(**new)), folder.finished)
