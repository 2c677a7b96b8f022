"""How a command line's options change a preset, and what a resumed run may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from ..console import note
from ..errors import DrawError
from ..models.checkpoint import Checkpoint, weights_sha256
from ..models.config import ClassifierConfig, DrawConfig, ModelConfig
from ..models.growth import WINDOWS, misfits
from .data.labelled_folder import class_names
from .data.places import expand_home
from .data.registry import DataOptions, check_options, find_source
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

_Fields = TypeVar("_Fields", bound=TrainSettings | DrawConfig | ClassifierConfig)


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


def data_options(settings: TrainSettings) -> DataOptions:
    """What ``load_dataset`` is given of the settings; 0, False and None where they leave the data as they are."""
    return {
        "image_dir": Path(settings.image_dir) if settings.image_dir else None,
        "image_size": (settings.image_height, settings.image_width) if settings.image_height else None,
        "channels": settings.image_channels or None,
        "validation_dir": Path(settings.validation_dir) if settings.validation_dir else None,
        "shift": settings.shift,
        "deform": settings.deform,
        "all_digits": settings.all_digits,
    }


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
        DrawError: an option that does not fit the model or the data, or a value out of range.
    """
    if from_stage is not None:
        return begin_at_stage(preset, changes, sizes, initial, from_stage, bfloat16)
    own = _of_one_stage(preset, changes, sizes)
    if preset.stages and (own or initial is not None):
        by = own if initial is None else ["init_from"]
        note(f"one stage, not the preset's {len(preset.stages)}, by {option_names(by)}")
    if initial is not None:
        return Start(Place((Stage(*apply_initial(preset, initial, changes, sizes)),)), initial=initial)
    if preset.stages and not own:
        return Start(Place(planned(preset, changes, sizes, bfloat16)))
    return Start(Place((Stage(*apply_options(preset, changes, sizes)),)))


def begin_at_stage(
    preset: Preset,
    changes: dict[str, Any],
    sizes: dict[str, Any],
    initial: Checkpoint | None,
    number: int,
    bfloat16: bool = True,
) -> Start:
    """A fresh run of the preset's stages from the one of this number (from 1) on: ``initial`` is what those before made.

    Raises:
        DrawError: as :func:`begin`; no such stage, no weights, or those of another model.
    """
    own = _of_one_stage(preset, changes, sizes)
    if own:
        raise DrawError(f"--from-stage trains the preset's stages: leave out {option_names(own)}")
    last = len(preset.stages)
    if not 2 <= number <= last:
        has = f"can begin at its stages 2 to {last}, and without the option at its first"
        raise DrawError(
            f"--from-stage {number}: preset {preset.settings.preset} {has if last else 'has one stage'}"
        )
    if initial is None:
        raise DrawError("--from-stage needs --init-from: the weights that the stages before made")
    check_no_write_window(changes)
    place = Place(planned(preset, changes, sizes, bfloat16))
    check_kind(preset, initial)
    if isinstance(initial.config, ClassifierConfig):  # of a data set with other classes than digits
        place = place.with_labels(initial.config.labels)
    if misfits(initial.config, place.plan[number - 1].config):
        raise DrawError("--from-stage: the checkpoint's model has other sizes than the preset's")
    digest = weights_sha256(initial.weights, initial.config)
    plan = place.replace(lambda settings: settings.replace(init_from=digest)).plan
    first = sum(stage.settings.iterations for stage in plan[: number - 1])
    return Start(Place(plan, number - 1, first), initial=initial)


def planned(
    preset: Preset, changes: dict[str, Any], sizes: dict[str, Any], bfloat16: bool
) -> tuple[Stage, ...]:
    """The preset's stages, each with the options given; raises as :func:`begin`."""
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
    return tuple(plan)


def _of_one_stage(preset: Preset, changes: dict[str, Any], sizes: dict[str, Any]) -> list[str]:
    """Which of the fields given the preset's stages set themselves, so that they make a run of one stage."""
    of_stages = {name for stage in preset.stages for name in stage}
    return sorted((of_stages - _OF_ALL_STAGES) & {*changes, *sizes})


def apply_options(
    preset: Preset, changes: dict[str, Any], sizes: dict[str, Any]
) -> tuple[TrainSettings, ModelConfig]:
    """Settings and model of a fresh run or stage: the preset's, with the options given.

    Raises:
        DrawError: an option that does not fit the model or the data, or a value out of range.
    """
    settings = replaced(preset.settings, changes)
    if "image_size" in find_source(settings.dataset).options:  # else the model's
        image = preset.model.image
        chosen = {"image_height": image.height, "image_width": image.width, "image_channels": image.channels}
        chosen |= {name: changes[name] for name in chosen if name in changes}
        settings = settings.replace(**chosen)
        sizes = {**sizes, **chosen}
    config = resize(preset.model, sizes)
    check_options(settings.dataset, (key for key, value in data_options(settings).items() if value))
    if settings.dataset == "labelled-images":
        config = resize(preset.model, labelled_sizes(preset, settings, sizes))
    if "glimpse_loss" in changes and isinstance(preset.model, DrawConfig):
        raise DrawError(f"--glimpse-loss is for the glimpse classifier, preset {settings.preset} trains DRAW")
    windows = not isinstance(config, DrawConfig) or config.attention
    if "attention_lr_scale" in changes and not windows:
        raise DrawError("--attention-lr-scale is of the layers of the windows, and this model has none")
    if "write_window" not in changes and not windows:
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
        if ours[name] != value and name not in (*sizes, *changes, "labels")
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
    return replaced(model, sizes)


def replaced(fields: _Fields, changes: dict[str, Any]) -> _Fields:
    """Settings or a model's config with other values; of one that is out of range the message names the option.

    Raises:
        DrawError: a value out of range.
    """
    try:
        return dataclasses.replace(fields, **changes)
    except (DrawError, ValueError) as error:
        field, _, text = str(error).partition(" ")
        raise DrawError(f"{option_names([field])} {text}" if field in changes else str(error)) from error


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
    changed = place.replace(lambda settings: replaced(settings, new))
    if "iterations" in new and len(place.plan) > 1:
        raise DrawError("--iterations: this run has stages, whose lengths are the preset's")
    start = start_from(checkpoint, changed, folder.finished)
    if "iterations" in new:
        note("another --iterations changes the learning-rate schedule: this run is not bit-exact")
    return start
