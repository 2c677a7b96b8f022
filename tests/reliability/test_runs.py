"""A run folder belongs to one process, schedulers' variables do not matter, and several devices stop together."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from draw_onnx.errors import DrawError
from draw_onnx.models.checkpoint import load_checkpoint, save_checkpoint
from draw_onnx.train import cli, launch
from draw_onnx.train.interrupt import Interrupt
from draw_onnx.train.run_lock import RunLock

from ..conftest import TINY, Command

SHORT = ("--iterations", "6", "--save-every", "2", *TINY)
ENDLESS = ("--iterations", "1000000", "--save-every", "5", *TINY)
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture
def train(command: Command) -> Command:
    """(*arguments) -> what draw-train answers, in this process."""
    return partial(command, cli.main)


def test_left_over_variables_change_nothing(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Slurm, torchrun with one process, and Open MPI: one device trains, and a finished run stays."""
    left = {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "RANK": "2"}
    left |= {"SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_NAME": "train", "OMPI_COMM_WORLD_RANK": "1"}
    for name, value in (left | {"LOCAL_RANK": "0", "WORLD_SIZE": "4", "NODE_RANK": "1"}).items():
        monkeypatch.setenv(name, value)
    code, _, error = train("--out", tmp_path / "run", *SHORT)
    assert code == 0, error
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setenv("WORLD_SIZE", "1")
        code, _, error = train("--out", tmp_path / "run", *SHORT)
        assert (code, error.count("\n")) == (1, 1)
        assert "already holds a run" in error
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


def test_a_run_whose_best_weights_are_gone(train, tmp_path: Path) -> None:
    """They are the ones it ends with, validated anew; a run is not taken for another preset's."""
    folder = tmp_path / "run"
    assert train("--out", folder, *SHORT)[0] == 0
    figure = (folder / "test.txt").read_text()
    for name in ("best.ckpt", "best.safetensors", "test.txt"):
        (folder / name).unlink()
    code, _, error = train("--resume", "--preset", "mnist", "--out", folder)
    assert (code, error.splitlines()[-1].endswith("is a run of digits")) == (1, True)
    code, _, error = train("--resume", "--out", folder)
    assert code == 0, error
    assert (folder / "test.txt").read_text() == figure
    (folder / "best.ckpt").unlink()
    code, _, error = train("--resume", "--out", folder, "--iterations", 8)
    assert code == 0, error
    assert load_checkpoint(folder / "best.ckpt").iteration == 8
    figure = (folder / "test.txt").read_text()
    (folder / "best.ckpt").unlink()  # and of a finished run, whose test figure is there
    code, _, error = train("--resume", "--out", folder)
    assert code == 0, error
    assert load_checkpoint(folder / "best.ckpt").iteration == 8
    assert (folder / "test.txt").read_text() == figure


def test_damaged_training_states_are_one_line(train, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train("--out", folder, *SHORT)[0] == 0
    whole = load_checkpoint(folder / "last.ckpt")
    state: dict[str, Any] = dict(whole.training or {})
    nan = {name: torch.full_like(value, torch.nan) for name, value in state["model"].items()}
    for change in (
        {"model": nan},
        {"model": {}},
        {"optimizer": {}},
        {"sums": {"loss": 3}},
        {"seconds": None},
    ):
        whole.training = {**state, **change}
        save_checkpoint(folder / "last.ckpt", whole)
        code, _, error = train("--resume", "--out", folder, "--iterations", 9)
        last = error.splitlines()[-1]
        assert (code, f"{folder / 'last.ckpt'}: its training state is damaged: " in last) == (1, True), error


def test_a_folder_in_use(train, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train("--out", folder, *SHORT)[0] == 0
    (folder / ".last.ckpt.0123abcd.part").write_bytes(b"of a killed predecessor")
    (folder / ".draw.onnx.0123abcd.part").write_bytes(b"of draw-export, which is just writing")
    (folder / "samples" / ".0000004.png.0123abcd.part").write_bytes(b"as well")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with RunLock(folder) as lock:
        lock.take()
        lock.take()
        assert [part.name for part in folder.rglob(".*.part")] == [".draw.onnx.0123abcd.part"]
        code, _, error = train("--resume", "--out", folder, "--iterations", 9)
        assert (code, error.count("\n")) == (1, 1)
        assert f"in use by another draw-train (process {os.getpid()} on " in error
    kept = [path for path in before if path.suffix != ".part" and path.name != ".lock"]
    assert all(path.read_bytes() == before[path] for path in kept)
    code, _, error = train("--resume", "--out", folder, "--iterations", 9)
    assert code == 0, error


def test_a_file_system_without_flock(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    """No lock there, and a word: one that is a file would outlive a killed run."""
    fcntl = pytest.importorskip("fcntl")

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with RunLock(tmp_path / "run") as lock:
        lock.take()
    assert "no locks here" in capsys.readouterr().err


def test_a_new_folder_in_use(train, tmp_path: Path) -> None:
    """Of two that start at once the second finds the first one's lock, before there is a checkpoint."""
    with RunLock(tmp_path / "run") as lock:
        lock.take()
        code, _, error = train("--out", tmp_path / "run", *SHORT)
    assert code == 1
    assert "in use by another" in error
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_disk_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with RunLock(tmp_path) as lock:
        lock.take()
        lock.take()  # as --resume does
    assert capsys.readouterr().err.count("no locks here (No locks available): see to it") == 1


@posix
def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from draw_onnx.train.run_lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1])); lock.take(); print('taken', flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "taken\n"
    with pytest.raises(DrawError, match=f"process {holder.pid} on "):
        RunLock(tmp_path).take()
    holder.kill()
    holder.wait()
    with RunLock(tmp_path) as lock:
        lock.take()


def test_shares_that_differ_are_refused(train, tmp_path: Path) -> None:
    code, _, error = train("--out", tmp_path / "run", "--devices", 3, *SHORT)
    assert (code, error.count("\n")) == (1, 1)
    assert "a batch of 20 does not divide among 3 devices" in error
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_batch_size_names_the_way(train, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train("--out", folder, *SHORT)[0] == 0
    code, _, error = train("--resume", "--out", folder, "--batch-size", 10)
    assert (code, error.count("\n")) == (1, 1)
    assert "--batch-size" in error
    assert f"--init-from {folder / 'last.ckpt'}" in error
    code, _, error = train(
        "--init-from", folder / "last.ckpt", "--out", tmp_path / "new", "--batch-size", 10, "--iterations", 2
    )
    assert code == 0, error


def test_killed_before_the_test_figure(train, tmp_path: Path) -> None:
    """All updates are made and saved, and the figure at the end is not: --resume gives it."""
    folder = tmp_path / "run"
    assert train("--out", folder, *SHORT)[0] == 0
    figure, last = (folder / "test.txt").read_text(), (folder / "last.ckpt").read_bytes()
    code, _, error = train("--resume", "--out", folder)
    assert (code, "already reached iteration 6 of 6" in error) == (1, True)
    (folder / "test.txt").unlink()
    code, _, error = train("--resume", "--out", folder)
    assert code == 0, error
    assert (folder / "test.txt").read_text() == figure
    assert (folder / "last.ckpt").read_bytes() == last


def test_a_test_figure_says_that_everything_is_written(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended while the figure goes into the weights: there is no test.txt, so --resume writes them again."""
    folder = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(launch, "save_weights", full)
        assert train("--out", folder, *SHORT)[0] == 1
    assert not (folder / "test.txt").exists()
    code, _, error = train("--resume", "--out", folder)
    assert code == 0, error
    figures = [
        load_checkpoint(folder / name).metrics["test_bound"] for name in ("best.ckpt", "best.safetensors")
    ]
    assert figures[0] == figures[1]
    assert f"{figures[0]:.2f}" in (folder / "test.txt").read_text()


def test_other_data_than_the_run_began_with(train, tmp_path: Path) -> None:
    """A picture that has changed is said, one that is gone makes every batch another one and is refused."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k in range(38):
        Image.fromarray(np.full((4, 5), 6 * k, np.uint8)).save(pictures / f"{k:02}.png")
    sizes = ("--image-size", 4, 5, "--channels", 1, "--read-size", 2, "--write-size", 2)
    images = ("--preset", "images", "--image-dir", pictures, *sizes)
    code, _, error = train("--out", tmp_path / "run", *images, *SHORT)
    assert code == 0, error
    resume = ("--resume", "--out", tmp_path / "run", "--iterations")
    error = train(*resume, 8).err
    assert "not quite those" not in error
    for k in range(38):
        Image.fromarray(np.full((4, 5), 6 * k + 1, np.uint8)).save(pictures / f"{k:02}.png")
    code, _, error = train(*resume, 10)
    assert code == 0
    assert "the validation pictures are not quite those that this run began with" in error
    assert "the training pictures are not quite those that this run began with" in error
    (pictures / "00.png").rename(tmp_path / "00.png")
    code, _, error = train(*resume, 12)
    assert (code, "began with 36 training, 1 validation and 1 test pictures, and now" in error) == (1, True)
    for k in (0, 38, 39):  # as many to train on as before, and others: some were for validation
        Image.fromarray(np.full((4, 5), 6 * k + 1, np.uint8)).save(pictures / f"{k:02}.png")
    code, _, error = train(*resume, 12)
    assert (code, "and now there are 36, 2 and 2: bring back" in error.splitlines()[-1]) == (1, True)


@posix
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGUSR1", 138)])
def test_what_batch_systems_send(start_training, tmp_path: Path, name: str, code: int) -> None:
    process = start_training("--out", tmp_path / "run", *ENDLESS, until=tmp_path / "run" / "last.ckpt")
    process.send_signal(getattr(signal, name))
    process.send_signal(signal.SIGTERM)  # schedulers do not stop at one
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert "draw-train --resume" in error


@posix
def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.stop()
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.stop()
            assert interrupt.exit_code == 138
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("whom", ["main", "child"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_two_devices_end_together(start_training, tmp_path: Path, whom: str, name: str) -> None:
    """A signal to either stops both and rank 0 saves; one that is killed ends the other, in one line."""
    number = getattr(signal, name)
    folder = tmp_path / "run"
    devices = ("--device", "cpu", "--devices", 2)
    process = start_training("--out", folder, *ENDLESS, *devices, until=folder / "last.ckpt")
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    child = int(listed.stdout.split()[0])
    began = time.monotonic()
    os.kill(process.pid if whom == "main" else child, number)
    _, error = process.communicate(timeout=60)  # ends when the child has closed the pipe too
    assert time.monotonic() - began < 60
    assert "Traceback" not in error
    last = [line for line in error.splitlines() if line.startswith("draw-train: error")]
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert not last
        assert "draw-train --resume" in error.splitlines()[-1]
    elif whom == "child":
        assert process.returncode == 1
        assert len(last) == 1
        assert "process 2 of 2 was killed by SIGKILL" in last[0]
    else:
        assert process.returncode == -signal.SIGKILL
        assert len(error.splitlines()) == 3 + error.count(
            "digits "
        )  # two of the beginning, one of the other's end
    steps = load_checkpoint(folder / "last.ckpt").iteration
    # And one process goes on with it.
    resumed = start_training("--resume", "--out", folder, "--iterations", steps + 5, "--threads", 1)
    assert resumed.wait(timeout=120) == 0
    last_checkpoint = load_checkpoint(folder / "last.ckpt")
    assert last_checkpoint.iteration == steps + 5
    assert all(bool(torch.isfinite(w).all()) for w in last_checkpoint.weights.values())
