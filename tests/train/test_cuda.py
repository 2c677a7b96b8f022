"""On an NVIDIA GPU: `make test-gpu`. Everywhere else these skip with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


def digits_trainer(folder: Path, device: str, cuda_graph: bool = False) -> Trainer:
    """A trainer on the digits whose noise comes from the CPU's generator on either device."""
    preset = find_preset("digits")
    hardware = Hardware(device=device, cuda_graph=cuda_graph)
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

    trainer._objective.noise = noise  # type: ignore[method-assign]
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


def test_a_recorded_update_equals_an_eager_one(tmp_path: Path) -> None:
    trainers = [digits_trainer(tmp_path / str(graph), "cuda", graph) for graph in (False, True)]
    for trainer in trainers:
        for _ in range(20):
            trainer.step()
    eager, recorded = (t.model.state_dict() for t in trainers)
    for name, value in eager.items():
        torch.testing.assert_close(recorded[name], value, rtol=1e-4, atol=1e-5, msg=name)


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
