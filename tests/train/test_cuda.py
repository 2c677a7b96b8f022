"""On an NVIDIA GPU: `make test-gpu`. Everywhere else these skip with the reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint
from draw_onnx.train import cli
from draw_onnx.train.data.registry import load_dataset
from draw_onnx.train.machine import make_fabric
from draw_onnx.train.presets import find_preset
from draw_onnx.train.ranks import Rank
from draw_onnx.train.settings import Hardware, RunFolder
from draw_onnx.train.stages import Place, Stage, Start
from draw_onnx.train.trainer import Trainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device"),
]


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def digits_trainer(folder: Path, device: str) -> Trainer:
    """A trainer on the digits whose noise comes from the CPU's generator on either device."""
    preset = find_preset("digits")
    hardware = Hardware(device=device)
    fabric = make_fabric(hardware, Rank())
    fabric.launch()
    run = RunFolder(folder)
    folder.mkdir()
    dataset = load_dataset("digits", None, fabric.device)
    start = Start(Place((Stage(preset.settings, preset.model),)))
    trainer = Trainer(start, dataset, run, fabric, hardware)

    def noise(count: int, generator: torch.Generator) -> torch.Tensor:
        config = preset.model
        own = torch.Generator().manual_seed(trainer.iteration)
        return torch.randn(count, config.time_steps, config.latent_size, generator=own).to(generator.device)  # type: ignore[union-attr]

    trainer.update.objective.noise = noise  # type: ignore[method-assign]
    return trainer


def test_twenty_iterations_equal_the_cpus(tmp_path: Path) -> None:
    trainers = [digits_trainer(tmp_path / device, device) for device in ("cpu", "cuda")]
    for trainer in trainers:
        terms = {}
        for _ in range(20):
            terms = trainer.step()
        assert torch.isfinite(terms["loss"])
    cpu, cuda = (t.model.state_dict() for t in trainers)
    for name, value in cpu.items():
        torch.testing.assert_close(cuda[name].cpu(), value, rtol=1e-3, atol=1e-4, msg=name)


GPU = Hardware(device="cuda")
RECORDED = Hardware(device="cuda", cuda_graph=True)

# What an update can have in it: labels, two groups of rates, an active clip, held windows, bfloat16, compiled chunks.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "DRAW": ("draw", {}),
    "without attention": ("draw-no-attention", {}),
    "learned prior": ("draw-learned-prior", {}),
    "labels": ("classifier", {}),
    "two rates": ("classifier", {"attention_lr_scale": 0.1, "attention_lr_settle": 5}),
    "weight decay": ("classifier", {"attention_lr_scale": 0.1, "weight_decay": 0.1}),
    "an active clip": ("draw", {"clip_norm": 0.5}),
    "held write windows": ("draw", {"write_window": 2.0}),
    "bfloat16": ("draw", {"precision": "bf16-mixed"}),
    "compiled": ("draw", {"compile": True}),
    "compiled learned prior": ("draw-learned-prior", {"compile": True}),
    "compiled labels": ("classifier", {"compile": True}),
    "compiled bfloat16": ("draw", {"compile": True, "precision": "bf16-mixed"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_update_equals_an_eager_one(make_trainer: Callable[..., Trainer], kind: str) -> None:
    model, changes = KINDS[kind]
    eager, recorded = (
        make_trainer(model, folder=str(hardware.cuda_graph), hardware=hardware, **changes)
        for hardware in (GPU, RECORDED)
    )
    first, second = eager.step(), recorded.step()
    for _ in range(19):
        first, second = eager.step(), recorded.step()
    rtol, atol = (1e-2, 1e-2) if "bfloat16" in kind else (1e-4, 1e-5)
    for name, value in eager.model.state_dict().items():
        torch.testing.assert_close(recorded.model.state_dict()[name], value, rtol=rtol, atol=atol, msg=name)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=rtol, atol=atol, msg=name)


def test_recording_leaves_no_warning(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(hardware=RECORDED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.step()


@pytest.mark.parametrize("kind", ["DRAW", "labels", "two rates", "compiled"])
@pytest.mark.parametrize("hardware", [GPU, RECORDED], ids=["eager", "recorded"])
def test_resuming_is_bit_exact(make_trainer: Callable[..., Trainer], hardware: Hardware, kind: str) -> None:
    model, changes = KINDS[kind]
    whole = make_trainer(model, folder="whole", hardware=hardware, **changes)
    for _ in range(20):
        whole.step()
    parted = make_trainer(model, folder="parted", hardware=hardware, **changes)
    for _ in range(8):
        parted.step()
    parted.save()
    checkpoint = load_checkpoint(parted.folder.last)
    resumed = make_trainer(model, folder="parted", hardware=hardware, resume=checkpoint)
    for _ in range(12):
        resumed.step()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_a_run_on_the_gpu_resumes_on_the_cpu(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, error = command(cli.main, "--device", "cuda", "--out", tmp_path / "run", "--iterations", 50)
    assert code == 0, error
    assert load_checkpoint(tmp_path / "run" / "last.ckpt").iteration == 50
    arguments = ("--resume", "--device", "cpu", "--iterations", 60, "--out", tmp_path / "run")
    code, _, error = command(cli.main, *arguments)
    assert code == 0, error
    assert "not bit-exact" in error


def test_the_same_generator_state_gives_the_same_batch(data_dir: Path) -> None:
    data = load_dataset("cluttered-mnist", data_dir, "cuda")
    indices = torch.arange(64, device="cuda")
    batches = [data.batch(indices, torch.Generator("cuda").manual_seed(3)).images for _ in range(2)]
    assert torch.equal(*batches)


def test_more_gpus_than_there_are() -> None:
    count = torch.cuda.device_count() + 1
    with pytest.raises(DrawError, match="this machine has"):
        make_fabric(Hardware(device="cuda", devices=count), Rank(count=count, local=count))
