"""``draw-train``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..console import VersionOption, make_app, option, run_app
from ..models.config import Prior
from .command_options import DATA, MACHINE, DataDir, Device, Threads
from .presets import PRESETS, find_preset
from .settings import GlimpseLoss, OptimizerName, Precision

if TYPE_CHECKING:
    from .stages import Start

app = make_app()

_RUN, _MODEL, _OPTIMISER = "Run", "Model", "Optimisation"


def _preset_option(text: str, panel: str, *names: str, **more: Any) -> Any:
    """An option whose default is the preset's."""
    return option(f"{text} Default: the preset's.", panel, *names, **more)


# Click's \b keeps the lines apart.
_PRESETS = "\b\nPresets:\n" + "\n".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())


@app.command(epilog=_PRESETS)
def command(
    preset: Annotated[
        str | None,
        option("What to train: one of those named below. Default: digits.", _RUN),
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, option("Run folder. Default: runs/PRESET.", _RUN)] = None,
    resume: Annotated[
        bool,
        option(
            "Go on from OUT/last.ckpt, with its settings; only --iterations, folders, --device, --devices, --threads,"
            " --compile and --cuda-graph may be given.",
            _RUN,
            "--resume",
        ),
    ] = False,
    init_from: Annotated[
        str | None,
        option(
            "Start from a checkpoint's weights (a file or a packaged name) and not from random ones, with a"
            " fresh optimiser and schedule. The model's sizes are then the checkpoint's, but for --time-steps and"
            " what weights can grow to: windows of 2N-1, 3N-2, … filters in place of N, a larger --hidden,"
            " --prior learned.",
            _RUN,
            metavar="FILE|FOLDER|NAME",
        ),
    ] = None,
    from_stage: Annotated[
        int | None,
        option(
            "Of a preset in several stages begin at this one, with --init-from's weights as what the stages before"
            " it made.",
            _RUN,
        ),
    ] = None,
    iterations: Annotated[int | None, _preset_option("Weight updates in all.", _RUN)] = None,
    seed: Annotated[int | None, option("Of weights, data order and noise. Default: 0.", _RUN)] = None,
    eval_every: Annotated[
        int | None, _preset_option("Iterations between validations and sample sheets.", _RUN)
    ] = None,
    save_every: Annotated[int | None, _preset_option("Iterations between checkpoints.", _RUN)] = None,
    time_steps: Annotated[int | None, _preset_option("T: steps of the canvas, or glimpses.", _MODEL)] = None,
    hidden_size: Annotated[int | None, _preset_option("LSTM units.", _MODEL, "--hidden")] = None,
    latent_size: Annotated[int | None, _preset_option("Z: latents a step.", _MODEL, "--latent")] = None,
    read_size: Annotated[int | None, _preset_option("N of the N×N read window, in filters.", _MODEL)] = None,
    write_size: Annotated[
        int | None, _preset_option("N of the N×N write window, in filters.", _MODEL)
    ] = None,
    attention: Annotated[bool | None, _preset_option("Windows, or whole images.", _MODEL)] = None,
    prior: Annotated[
        Prior | None,
        _preset_option(
            "standard, or learned: each step's latents from a normal distribution that the decoder's state gives; not"
            " the paper's model.",
            _MODEL,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, _preset_option("Pictures an update, over all devices.", _OPTIMISER)
    ] = None,
    optimizer: Annotated[
        OptimizerName | None,
        _preset_option("adam, or soap for the matrices and Adam for the rest.", _OPTIMISER),
    ] = None,
    learning_rate: Annotated[
        float | None, _preset_option("Peak learning rate; a cosine takes it to 0.", _OPTIMISER, "--lr")
    ] = None,
    warmup: Annotated[int | None, _preset_option("Iterations of linear warm-up.", _OPTIMISER)] = None,
    attention_lr_scale: Annotated[
        float | None,
        _preset_option("Learning rate of the layers that place the windows, relative to --lr.", _OPTIMISER),
    ] = None,
    write_window: Annotated[
        float | None,
        _preset_option(
            "Hold the write windows at this width: for pictures of several things, one is then painted after"
            " the other. 0 leaves them free.",
            _OPTIMISER,
            metavar="PIXELS",
        ),
    ] = None,
    clip_norm: Annotated[
        float | None, _preset_option("Largest norm of the gradient, 0 for any.", _OPTIMISER, "--clip")
    ] = None,
    ema_decay: Annotated[
        float | None,
        option("Decay of the weights' moving average, 0 for none. Default: 0.999.", _OPTIMISER, "--ema"),
    ] = None,
    weight_decay: Annotated[
        float | None, _preset_option("Of matrices, as AdamW takes it.", _OPTIMISER)
    ] = None,
    deform: Annotated[
        float | None,
        _preset_option(
            "mnist-dynamic, mnist-two-digit, cluttered-mnist: training digits are rotated, stretched, slanted and"
            " shifted, 1 by up to 12° and 12 %.",
            _OPTIMISER,
        ),
    ] = None,
    all_digits: Annotated[
        bool | None,
        _preset_option(
            "mnist, mnist-dynamic, mnist-two-digit, cluttered-mnist: train on the 10,000 validation digits as well; the"
            " last weights are then the best.",
            _OPTIMISER,
        ),
    ] = None,
    glimpse_loss: Annotated[
        GlimpseLoss | None,
        option(
            "Classifier: weighted (every glimpse t by (t/T)², the default) or last (the paper's).", _OPTIMISER
        ),
    ] = None,
    device: Annotated[
        Device, option("Where to train. auto takes the GPU where there is one.", MACHINE)
    ] = "auto",
    devices: Annotated[int, option("Number of them (data-parallel).", MACHINE, min=1)] = 1,
    precision: Annotated[
        Precision | None,
        option(
            "bf16-mixed: the LSTMs' products, and the classifier's with its picture, in bfloat16. Default:"
            " the preset's; 32-true where bfloat16 is not known to be faster.",
            MACHINE,
        ),
    ] = None,
    compile_: Annotated[
        bool | None,
        option(
            "Compile a few time steps together with torch.compile. Default: where that works and the run is long"
            " enough to repay it.",
            MACHINE,
            "--compile/--no-compile",
        ),
    ] = None,
    cuda_graph: Annotated[
        bool,
        option("Record a whole update as one CUDA graph (one GPU; not tried on one yet).", MACHINE),
    ] = False,
    threads: Threads = None,
    image_dir: Annotated[
        Path | None,
        option(
            "Folder of picture files (preset images), or of a folder for each class (labelled-images).", DATA
        ),
    ] = None,
    validation_dir: Annotated[
        Path | None,
        option(
            "labelled-images: a folder like --image-dir; of each class one half validates, one tests. Default: a tenth"
            " of --image-dir each.",
            DATA,
        ),
    ] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        option("Height and width to resize and crop to, in pixels.", DATA, metavar="H W"),
    ] = None,
    image_channels: Annotated[int | None, option("1 (grey) or 3 (colour).", DATA, "--channels")] = None,
    shift: Annotated[
        int | None,
        _preset_option(
            "mnist and labelled-images: move each training picture by up to this much, 0 for not at all.",
            DATA,
            metavar="PIXELS",
        ),
    ] = None,
    version: Annotated[bool, VersionOption] = False,
) -> None:
    """Train DRAW or the glimpse classifier.

    Leaves last.ckpt (to resume), best.ckpt (to export), best.safetensors (to share), metrics.csv, TensorBoard events
    and sample sheets in the run folder, and prints the test figure at the end. Ctrl-C saves and says how to go on.
    """
    given = locals()  # by name: options that set a field are called as it is

    from .machine import flushed_subnormals

    with flushed_subnormals():  # before weights are read: looking at them starts PyTorch's threads
        code = _train(given)
    if code:
        sys.exit(code)


def _train(given: dict[str, Any]) -> int:
    """What the options, by name, ask for; the exit code."""
    from ..console import be_quiet
    from ..errors import DrawError
    from ..models.checkpoint import load_checkpoint
    from ..pretrained import find_packaged
    from .launch import train
    from .machine import bfloat16_pays, choose_device
    from .options import begin, fields_of, go_on
    from .ranks import this_rank
    from .run_lock import RunLock
    from .settings import Hardware, RunFolder
    from .stages import place_of

    preset, init_from, from_stage, out = (
        given[name] for name in ("preset", "init_from", "from_stage", "out")
    )
    rank = this_rank(given["devices"])
    if not rank.main:
        be_quiet()
    changes, sizes = fields_of(given)
    chosen = find_preset("digits" if preset is None else preset)
    hardware = Hardware(*(given[name] for name in ("device", "devices", "compile_", "cuda_graph", "threads")))
    start: Start | None = None  # of a run to resume: known once its folder is ours
    if given["resume"]:
        if init_from is not None or from_stage is not None:
            other = "--init-from" if init_from is not None else "--from-stage"
            raise DrawError(f"--resume goes on with a run's own weights: leave out {other}")
        folder = RunFolder(out or Path("runs") / chosen.settings.preset)
        folder.require_run()
    else:
        initial = load_checkpoint(find_packaged(init_from, ".ckpt", "checkpoint")) if init_from else None
        start = begin(
            chosen, changes, sizes, initial, from_stage, bfloat16_pays(choose_device(hardware.device))
        )
        folder = RunFolder(out or Path("runs") / chosen.settings.preset)
    with RunLock(folder.path) as lock:
        if start is None:
            # Read under the lock: another process may just be writing what comes next.
            if rank.main:
                lock.take()
            last = load_checkpoint(folder.last)
            of = place_of(last).stage.settings.preset
            if preset is not None and of != chosen.settings.preset:
                raise DrawError(f"--preset {preset}: {folder.path} is a run of {of}")
            start = go_on(last, changes, sizes, folder)
        elif rank.main:
            folder.require_fresh()
        return train(start, folder, hardware, given["data_dir"], lock, rank, init_from)


def main() -> None:
    run_app(app, "draw-train")
