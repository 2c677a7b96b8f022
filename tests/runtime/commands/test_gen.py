"""draw-gen as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageSequence

from draw_onnx import Sampler
from draw_onnx.runtime import batches
from draw_onnx.runtime.check_line import CheckLine
from draw_onnx.runtime.commands import gen
from draw_onnx.runtime.noise import noise
from draw_onnx.runtime.pictures.drawing import grid
from draw_onnx.streams import printable


def test_all_outputs_at_once(run, fake: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"x.{name}" for name in ("gif", "png", "npz")}
    grid = tmp_path / "grid.png"
    options = [text for name, path in paths.items() for text in (f"--{name}", path)]
    got = run(
        "gen", "--onnx", fake / "decoder.onnx", "-n", 5, "--seed", 7, "--start", 3, "--grid", grid, *options
    )
    assert got.code == 0, got.err
    assert sorted(got.out.split()) == sorted(map(str, [*paths.values(), grid]))
    assert "5 pictures in" in got.err
    assert "pictures/s" in got.err
    expected = Sampler(fake / "decoder.onnx", "cpu").sample(5, seed=7, start=3)
    with np.load(paths["npz"], allow_pickle=False) as arrays:
        assert sorted(arrays.files) == [
            *("canvases", "images", "noise", "seed", "start", "temperature", "write_attention")
        ]
        for name in ("canvases", "images", "noise", "write_attention"):
            assert np.array_equal(arrays[name], getattr(expected, name)), name
        assert (int(arrays["seed"]), int(arrays["start"])) == (7, 3)
        assert arrays["seed"].dtype == arrays["start"].dtype == np.uint64
        assert float(arrays["temperature"]) == 1
    with Image.open(paths["gif"]) as picture:
        assert getattr(picture, "n_frames", 1) == 3 + 1


@pytest.mark.parametrize(
    "name", ["decoder-colour", "decoder-no-attention", "decoder-no-attention-colour", "decoder-batch4"]
)
def test_every_kind_of_decoder(run, fake: Path, tmp_path: Path, name: str) -> None:
    got = run(
        "gen",
        "--onnx",
        fake / f"{name}.onnx",
        "-n",
        6,
        "--gif",
        tmp_path / "x.gif",
        "--png",
        tmp_path / "x.png",
    )
    assert got.code == 0, got.err
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == ("L" if name == "decoder-no-attention" else "RGB")


def test_no_boxes_no_colour(run, fake: Path, tmp_path: Path) -> None:
    command = ("gen", "--onnx", fake / "decoder.onnx", "-n", 2, "--png", tmp_path / "x.png")
    run(*command)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "RGB"
    run(*command, "--no-boxes")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "L"


def test_the_same_command_the_same_bytes(run, fake: Path, tmp_path: Path) -> None:
    contents = []
    for options in ([], ["--batch", 3, "--threads", 3], ["--batch", 1, "--threads", 1]):
        outputs = ["--gif", tmp_path / "x.gif", "--png", tmp_path / "x.png", "--npz", tmp_path / "x.npz"]
        assert run("gen", "--onnx", fake / "decoder.onnx", "-n", 10, *outputs, *options).code == 0
        contents.append([path.read_bytes() for path in outputs[1::2]])
    assert contents[0] == contents[1] == contents[2]


def durations(path: Path) -> list[int]:
    """Milliseconds of every frame."""
    with Image.open(path) as picture:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]


def test_a_lean_file_gives_what_it_can(run, fake: Path, tmp_path: Path) -> None:
    lean = fake / "decoder-lean.onnx"
    got = run("gen", "--onnx", lean, "-n", 3, "--gif", tmp_path / "x.gif", "--npz", tmp_path / "x.npz")
    assert got.code == 0
    assert "one picture per frame" in got.err
    assert "--outputs steps" in got.err
    assert durations(tmp_path / "x.gif") == [500, 500, 2000]  # whole pictures: slower than steps
    assert run("gen", "--onnx", lean, "-n", 3, "--gif", tmp_path / "y.gif", "--fps", 10).code == 0
    assert durations(tmp_path / "y.gif") == [100, 100, 2000]
    with np.load(tmp_path / "x.npz") as arrays:
        assert sorted(arrays.files) == ["images", "noise", "seed", "start", "temperature"]
    got = run("gen", "--onnx", lean, "--png", tmp_path / "sheet.png")
    assert got.code == 1
    assert "--grid" in got.err
    assert not (tmp_path / "sheet.png").exists()


def test_interpolation_starts_at_a_and_turns_at_b(run, fake: Path, tmp_path: Path) -> None:
    decoder = fake / "decoder.onnx"
    arguments = ("--interpolate", 1, 2, "-n", 4, "--frames", 5, "--fps", 10, "--scale", 2)
    got = run("gen", "--onnx", decoder, "--gif", tmp_path / "x.gif", *arguments)
    assert (got.code, "20 pictures in" in got.err) == (0, True), got.err
    with Image.open(tmp_path / "x.gif") as picture:
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            rgb = np.asarray(picture.convert("RGB")).astype(int)
            seed = {0: 1, 4: 2}.get(index)
            if seed is not None:
                expected = grid(Sampler(decoder, "cpu").sample_noise(noise(seed, 0, 4, 3, 2)).images, 2)
                assert np.abs(rgb - expected).max() <= 1
    assert durations(tmp_path / "x.gif") == [500, 100, 100, 100, 500, 100, 100, 100]  # both ends rest


def test_what_is_not_given(run, fake: Path, tmp_path: Path) -> None:
    decoder, path = fake / "decoder.onnx", tmp_path / "x.gif"
    got = run("gen", "--onnx", decoder, "--gif", path)
    assert (got.code, "64 pictures in" in got.err) == (0, True), got.err
    assert durations(path) == [100, 100, 100, 2000]
    assert run("gen", "--onnx", decoder, "--gif", path, "-n", 4, "--interpolate", 1, 2).code == 0
    assert durations(path) == [500, *[100] * 22] * 2  # 24 frames there, and back


def test_temperature(run, fake: Path, tmp_path: Path) -> None:
    decoder, npz = fake / "decoder.onnx", tmp_path / "x.npz"
    got = run("gen", "--onnx", decoder, "-n", 4, "--seed", 5, "--temperature", 0.7, "--npz", npz, "--check")
    assert got.code == 0, got.err
    expected = Sampler(decoder, "cpu").sample(4, seed=5, temperature=0.7)
    with np.load(npz, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], expected.images)
        assert np.array_equal(arrays["noise"], expected.noise)
        assert float(arrays["temperature"]) == 0.7
    line = CheckLine()
    line.add(expected)
    assert got.out.splitlines()[0] == str(line)


def test_interpolation_keeps_the_temperature(run, fake: Path, tmp_path: Path) -> None:
    decoder = fake / "decoder.onnx"
    arguments = ("--interpolate", 1, 2, "-n", 4, "--frames", 2, "--scale", 2, "--temperature", 0.5)
    got = run("gen", "--onnx", decoder, "--gif", tmp_path / "x.gif", *arguments)
    assert got.code == 0, got.err
    with Image.open(tmp_path / "x.gif") as picture:
        rgb = np.asarray(picture.convert("RGB")).astype(int)
    expected = grid(Sampler(decoder, "cpu").sample(4, seed=1, temperature=0.5).images, 2)
    assert np.abs(rgb - expected).max() <= 1


def usage_and_errors() -> list[tuple[list[str], int, str]]:
    return [
        ([], 2, "nothing to write"),
        (["--gif", "x.gif", "-n", "0"], 2, "-n"),
        (["--gif", "x.gif", "-n", "-4"], 2, "-n"),
        (["--gif", "x.gif", "-n", "many"], 2, "-n"),
        (["--gif", "x.gif", "--seed", "-1"], 2, "--seed"),
        (["--gif", "x.gif", "--seed", "18446744073709551616"], 2, "--seed"),
        (["--gif", "x.gif", "--start", "-1"], 2, "--start"),
        (["--gif", "x.gif", "--start", "18446744073709551615"], 1, "would go past it"),
        (["--gif", "x.gif", "--scale", "0"], 2, "--scale"),
        (["--gif", "x.gif", "--fps", "0"], 1, "frames per second"),
        (["--gif", "x.gif", "--provider", "tpu"], 2, "--provider"),
        (["--gif", "nowhere/x.gif"], 1, "the folder nowhere does not exist"),
        (["--gif", "."], 1, "it is a folder"),
        (["--png", "x.png", "--steps", "1,9"], 1, "this model has steps 1 to 3"),
        (["--png", "x.png", "--steps", "one"], 2, "step numbers"),
        (["--png", "x.png", "--grid", "x.png"], 2, "same name"),
        (["--gif", "x.mp4"], 2, "x.mp4 should end in .gif"),
        (["--npz", "x"], 2, "x should end in .npz"),
        (["--gif", "x.gif", "--frames", "9"], 2, "--frames is for --interpolate"),
        (["--gif", "x.gif", "--interpolate", "1", "2", "--seed", "0"], 2, "leave out --seed"),
        (["--png", "x.png", "--interpolate", "1", "2"], 2, "--gif FILE alone"),
        (["--gif", "x.gif", "--interpolate", "1", "-2"], 2, "--interpolate: seeds are whole numbers from 0"),
        (["--grid", "x.png", "-n", "100000000"], 1, "more than 16384 a side"),
        (["--gif", "x.gif", "-n", "1" + 400 * "0"], 1, "would go past it"),
        (["--gif", "x.gif", "--batch", "0"], 2, "--batch"),
        (["--gif", "x.gif", "--temperature", "-0.1"], 2, "--temperature"),
        (["--gif", "x.gif", "--temperature", "10.5"], 2, "--temperature"),
        (["--gif", "x.gif", "--temperature", "nan"], 2, "--temperature"),
        (["--gif", "x.gif", "--steps", "1,2"], 2, "--steps is for --png"),
        (["--npz", "x.npz", "--fps", "10"], 2, "--fps is for --gif"),
        (["--npz", "x.npz", "--scale", "4"], 2, "--scale is for --gif and --png and --grid"),
        (["--grid", "x.png", "--no-boxes"], 2, "--boxes is for --gif and --png"),
        (["--grid", "x.png", "-n", "1304", "--scale", "63"], 1, "a side"),
        (["--gif", "x.gif", "--bogus"], 2, "--bogus"),
    ]


@pytest.mark.parametrize(("arguments", "code", "message"), usage_and_errors())
def test_bad_input_is_one_line_and_leaves_nothing(
    run,
    fake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    got = run("gen", "--onnx", fake / "decoder.onnx", *arguments)
    assert got.code == code, got.err
    lines = got.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("draw-gen: error: ")
    assert message in lines[0]
    assert got.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outputs", [["--grid"], ["--grid", "--npz"], ["--gif", "--png"]])
def test_no_noise_is_kept(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: list[str]
) -> None:
    """The npz and the line have had it; for a grid it would be most of what is kept."""
    kept, join = [], batches.join

    def joined(parts):
        kept.extend(parts)
        return join(parts)

    monkeypatch.setattr(batches, "join", joined)
    suffixes = {"--gif": "x.gif", "--npz": "x.npz", "--png": "x.png", "--grid": "grid.png"}
    files = [text for option in outputs for text in (option, tmp_path / suffixes[option])]
    got = run("gen", "--onnx", fake / "decoder.onnx", "-n", 5, "--batch", 2, "--check", *files)
    assert got.code == 0, got.err
    assert [part.noise.nbytes for part in kept] == [0, 0, 0]
    assert all(part.noise.base is None for part in kept)
    line = CheckLine()
    line.add(Sampler(fake / "decoder.onnx", "cpu").sample(5))
    assert got.out.splitlines()[0] == str(line)


@pytest.mark.parametrize("name", ["decoder", "decoder-no-attention", "decoder-lean"])
def test_bars_end_where_the_work_ends(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bars: dict[str, list[float]] = {}

    @contextmanager
    def progress(text: str, total: float) -> Iterator[SimpleNamespace]:
        bars[text] = [total, 0]

        def advance(amount: float = 1) -> None:
            bars[text][1] += amount

        yield SimpleNamespace(advance=advance)

    monkeypatch.setattr(gen, "progress", progress)
    got = run("gen", "--onnx", fake / f"{name}.onnx", "-n", 5, "--gif", tmp_path / "x.gif")
    assert got.code == 0, got.err
    assert bars.keys() == {"drawing", "writing the GIF"}
    assert all(total == done for total, done in bars.values()), bars


@pytest.mark.parametrize("model", ["missing.onnx", "minst", "text.onnx", "short.onnx"])
def test_bad_models_are_one_line(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model\n" * 10)
    (tmp_path / "short.onnx").write_bytes((fake / "decoder.onnx").read_bytes()[:2000])
    got = run("gen", "--onnx", model, "--gif", "x.gif")
    assert got.code == 1
    assert len(got.err.strip().splitlines()) == 1
    assert model in got.err
    assert not (tmp_path / "x.gif").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_noticed_before_the_work(run, fake: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    got = run("gen", "--onnx", fake / "decoder.onnx", "--gif", tmp_path / "x.gif")
    assert got.code == 1
    assert "is not writable" in got.err
    tmp_path.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
@pytest.mark.parametrize("option", ["--gif", "--png", "--npz", "--grid"])
def test_a_full_disk_leaves_nothing_behind(fake: Path, tmp_path: Path, option: str) -> None:
    """A limit on the size of files fails like a full disk: in the middle of writing."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500));"
        "from draw_onnx.runtime.commands.gen import main; main()"
    )
    out = tmp_path / "out"
    out.mkdir()
    file = out / {"--gif": "x.gif", "--npz": "x.npz"}.get(option, "x.png")
    file.write_bytes(b"the old one")
    got = subprocess.run(
        [sys.executable, "-c", code, "--onnx", str(fake / "decoder.onnx"), option, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert got.returncode == 1
    assert "cannot write" in got.stderr
    assert "Traceback" not in got.stderr
    assert list(out.iterdir()) == [file]
    assert file.read_bytes() == b"the old one"


def test_devices_are_not_replaced_by_files(run, fake: Path) -> None:
    if not os.path.exists("/dev/null"):
        pytest.skip("no /dev/null here")
    got = run("gen", "--onnx", fake / "decoder.onnx", "--png", "/dev/null")
    assert got.code == 1
    assert "not an ordinary file" in got.err


@pytest.mark.parametrize("more", [[], ["--interpolate", 1, 2, "--frames", 2]])
def test_a_name_goes_into_a_pipe_as_it_is(
    run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[object]
) -> None:
    """`open "$(draw-gen …)"`; a terminal is sent nothing that it might take for a command."""
    path = tmp_path / "a\u3000\x1b[31m.gif"
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda answer=terminal: answer, raising=False)
        got = run("gen", "--onnx", fake / "decoder.onnx", "-n", 2, "--gif", path, *more)
        assert got.code == 0, got.err
        assert got.out == f"{printable(str(path)) if terminal else path}\n"
