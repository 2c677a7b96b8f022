"""``draw-train``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import VersionOption, make_app, run_app

if TYPE_CHECKING:
    from .ranks import Rank
    from .run_lock import RunLock
    from .settings import Hardware, RunFolder
    from .stages import Start

app = make_app()

_RUN, _MODEL, _OPTIMISER, _MACHINE, _IMAGES = "Run", "Model", "Optimisation", "Machine", "Own pictures"


@app.command()
def command(
    preset: Annotated[
        str,
        typer.Option(
            help="digits, mnist, mnist-dynamic, mnist-no-attention, mnist-two-digit, svhn, cifar10, images,"
            " labelled-images, mnist-paper, cluttered-mnist or cluttered-mnist-4.",
            rich_help_panel=_RUN,
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="DRAW_DATA",
            help="Folder that holds mnist/, binarized_mnist/, ...; missing files are downloaded into it."
            " Default: a cache folder of the user's.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: runs/PRESET.", rich_help_panel=_RUN)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from OUT/last.ckpt, with its settings; only --iterations, the folders and the machine's options"
            " may be given.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Start from a checkpoint's weights (a file or a packaged name) and not from random ones, with a"
            " fresh optimiser and schedule. The model's sizes are then the checkpoint's; only --time-steps may differ.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    from_stage: Annotated[
        int | None,
        typer.Option(
            help="Of a preset in several stages begin at this one, with --init-from's weights as what the stages before"
            " it made.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Weight updates in all. Default: the preset's.", rich_help_panel=_RUN)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, data order and noise. Default: 0.", rich_help_panel=_RUN)
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            help="Iterations between validations and sample sheets. Default: the preset's.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option(help="Iterations between checkpoints. Default: the preset's.", rich_help_panel=_RUN),
    ] = None,
    time_steps: Annotated[
        int | None, typer.Option(help="T: steps of the canvas, or glimpses.", rich_help_panel=_MODEL)
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="LSTM units.", rich_help_panel=_MODEL)] = None,
    latent: Annotated[int | None, typer.Option(help="Z: latents a step.", rich_help_panel=_MODEL)] = None,
    read_size: Annotated[
        int | None, typer.Option(help="N of the N×N read window, in filters.", rich_help_panel=_MODEL)
    ] = None,
    write_size: Annotated[
        int | None, typer.Option(help="N of the N×N write window, in filters.", rich_help_panel=_MODEL)
    ] = None,
    attention: Annotated[
        bool | None,
        typer.Option("--attention/--no-attention", help="Windows, or whole images.", rich_help_panel=_MODEL),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Pictures an update, over all devices. Default: the preset's.", rich_help_panel=_OPTIMISER
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Adam's peak learning rate; a cosine takes it to 0. Default: the preset's.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(help="Iterations of linear warm-up. Default: the preset's.", rich_help_panel=_OPTIMISER),
    ] = None,
    attention_lr_scale: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the layers that place the windows, relative to --lr. Default: the preset's.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    write_window: Annotated[
        float | None,
        typer.Option(
            metavar="PIXELS",
            help="Hold the write windows at this width: for pictures of several things, one is then painted after"
            " the other. 0 leaves them free. Default: the preset's.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Largest norm of the gradient, 0 for any. Default: the preset's.", rich_help_panel=_OPTIMISER
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            help="Decay of the weights' moving average, 0 for none. Default: 0.999.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="Of matrices, as AdamW takes it. Default: the preset's.", rich_help_panel=_OPTIMISER
        ),
    ] = None,
    deform: Annotated[
        float | None,
        typer.Option(
            help="cluttered-mnist: training digits are rotated, stretched, slanted and shifted, 1 by up to 12° and 12 %."
            " Default: the preset's.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    all_digits: Annotated[
        bool | None,
        typer.Option(
            "--all-digits/--no-all-digits",
            help="cluttered-mnist: train on the 10,000 validation digits as well; the last weights are then the best."
            " Default: the preset's.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    glimpse_loss: Annotated[
        str | None,
        typer.Option(
            help="Classifier: weighted (every glimpse t by (t/T)², the default) or last (the paper's).",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_MACHINE)] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Number of them (data-parallel).", rich_help_panel=_MACHINE)
    ] = 1,
    precision: Annotated[
        str | None,
        typer.Option(help="32-true or bf16-mixed. Default: 32-true.", rich_help_panel=_MACHINE),
    ] = None,
    compile_: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile a few time steps together with torch.compile. Default: where that works and the run is long"
            " enough to repay it.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    cuda_graph: Annotated[
        bool,
        typer.Option(
            "--cuda-graph/--no-cuda-graph",
            help="Record a whole update as one CUDA graph (one GPU; not tried on one yet).",
            rich_help_panel=_MACHINE,
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads. Default: PyTorch's choice.", rich_help_panel=_MACHINE),
    ] = None,
    image_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of picture files (preset images), or of a folder for each class (labelled-images).",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    validation_dir: Annotated[
        Path | None,
        typer.Option(
            help="labelled-images: a folder like --image-dir; of each class one half validates, one tests. Default: a"
            " tenth of --image-dir each.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="H W", help="Height and width to resize and crop to, in pixels.", rich_help_panel=_IMAGES
        ),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 (grey) or 3 (colour).", rich_help_panel=_IMAGES)
    ] = None,
    shift: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="labelled-images: move each training picture by up to this much, 0 for not at all. Default: the"
            " preset's.",
            rich_help_panel=_IMAGES,
        ),
    ] = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Train DRAW or the glimpse classifier.

    Leaves last.ckpt (to resume), best.ckpt (to export), best.safetensors (to share), metrics.csv, TensorBoard events
    and sample sheets in the run folder, and prints the test figure at the end. Ctrl-C saves and says how to go on.
    """
    from ..errors import DrawError
    from ..models.checkpoint import load_checkpoint
    from ..pretrained import find_packaged
    from .data.places import expand_home
    from .options import begin, go_on
    from .presets import find_preset
    from .ranks import this_rank
    from .run_lock import RunLock
    from .settings import Hardware, RunFolder

    changes: dict[str, Any] = {
        "iterations": iterations,
        "seed": seed,
        "eval_every": eval_every,
        "save_every": save_every,
        "batch_size": batch_size,
        "learning_rate": lr,
        "warmup": warmup,
        "attention_lr_scale": attention_lr_scale,
        "write_window": write_window,
        "clip_norm": clip,
        "ema_decay": ema,
        "weight_decay": weight_decay,
        "deform": deform,
        "all_digits": all_digits,
        "glimpse_loss": glimpse_loss,
        "precision": precision,
        # Whole: the run may go on from another folder.
        "image_dir": str(expand_home(image_dir).absolute()) if image_dir else None,
        "image_height": image_size[0] if image_size else None,
        "image_width": image_size[1] if image_size else None,
        "image_channels": channels,
        "validation_dir": str(expand_home(validation_dir).absolute()) if validation_dir else None,
        "shift": shift,
    }
    sizes: dict[str, Any] = {
        "time_steps": time_steps,
        "hidden_size": hidden,
        "latent_size": latent,
        "read_size": read_size,
        "write_size": write_size,
        "attention": attention,
    }
    hardware = Hardware(device, devices, compile_, cuda_graph, threads)
    changes = {k: v for k, v in changes.items() if v is not None}
    sizes = {k: v for k, v in sizes.items() if v is not None}
    start: Start | None = None  # of a run to resume: known once its folder is ours
    if resume:
        if init_from is not None or from_stage is not None:
            given = "--init-from" if init_from is not None else "--from-stage"
            raise DrawError(f"--resume goes on with a run's own weights: leave out {given}")
        folder = RunFolder(out or Path("runs") / find_preset(preset).settings.preset)
        folder.require_run()
    else:
        chosen = find_preset(preset)
        initial = load_checkpoint(find_packaged(init_from, ".ckpt", "checkpoint")) if init_from else None
        start = begin(chosen, changes, sizes, initial, from_stage)
        folder = RunFolder(out or Path("runs") / chosen.settings.preset)
    rank = this_rank(devices)
    with RunLock(folder.path) as lock:
        if start is None:
            # Read under the lock: another process may just be writing what comes next.
            if rank.main:
                lock.take()
            start = go_on(load_checkpoint(folder.last), changes, sizes, folder)
        elif rank.main:
            folder.require_fresh()
        code = _train(start, folder, hardware, data_dir, lock, rank)
    if code:
        raise typer.Exit(code)


def _train(
    start: Start, folder: RunFolder, hardware: Hardware, data_dir: Path | None, lock: RunLock, rank: Rank
) -> int:
    """Everything that needs the trainer, with PyTorch's own words for a full memory turned into ours."""
    import torch

    from ..errors import DrawError
    from .launch import train

    try:
        return train(start, folder, hardware, data_dir, lock, rank)
    except torch.OutOfMemoryError as error:
        raise DrawError(f"out of GPU memory ({error}); try a smaller --batch-size") from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise DrawError("out of memory; try a smaller --batch-size") from error
        raise


def main() -> None:
    run_app(app, "draw-train")
