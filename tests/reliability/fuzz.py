"""Damaged files for every reader: a result or one line, within a time and a memory, and never a crash.

``make fuzz`` gives 50,000 to each of the readers (``--inputs``, ``--only``). Input k of a reader is always the same:
``--only idx --first 417 --inputs 1`` repeats one. Each reader runs in a process of its own, so that a crash in a C library
is counted too, with the input that made it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from draw_onnx.console import be_quiet
from draw_onnx.errors import DrawError

SECONDS, MEGABYTES = 10.0, 1024  # what one input may take; the memory beyond what the reader's libraries take
FAKE = Path(__file__).resolve().parent.parent / "fake"


@dataclass(frozen=True)
class Reader:
    """What is read, and files of it that are whole."""

    read: Callable[[Path], Any]
    seeds: list[bytes]
    suffix: str


def readers() -> dict[str, Callable[[], Reader]]:
    """Made when asked for: each has libraries of its own."""
    return {
        "checkpoint": _checkpoint,
        "safetensors": _safetensors,
        "onnx": _onnx,
        "metadata": _metadata,
        "idx": _idx,
        "amat": _amat,
        "cifar": _cifar,
        "digitStruct": _digit_struct,
        "npz": _npz,
        "pictures": _pictures,
    }


def _small_checkpoint() -> Any:
    import torch

    from draw_onnx.models.checkpoint import Checkpoint, build_model
    from draw_onnx.models.config import DrawConfig

    torch.manual_seed(0)
    config = DrawConfig(1, 4, 4, time_steps=2, hidden_size=3, latent_size=2, read_size=2, write_size=2)
    return Checkpoint(config, "digits", dict(build_model(config).state_dict()), 7, {"valid_bound": 1.5})


def _checkpoint() -> Reader:
    from draw_onnx.models.checkpoint import load_checkpoint, save_checkpoint

    return Reader(load_checkpoint, [_saved(save_checkpoint, _small_checkpoint(), ".ckpt")], ".ckpt")


def _safetensors() -> Reader:
    from draw_onnx.models.checkpoint import load_checkpoint, save_weights

    return Reader(
        load_checkpoint, [_saved(save_weights, _small_checkpoint(), ".safetensors")], ".safetensors"
    )


def _saved(save: Callable[[Path, Any], None], checkpoint: Any, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        save(path, checkpoint)
        return path.read_bytes()


def _onnx() -> Reader:
    from draw_onnx.runtime.session import open_model, peek

    def read(path: Path) -> Any:
        return open_model(path, peek(path).model_type, "cpu")

    names = ("decoder", "classifier", "scorer", "decoder-lean")
    return Reader(read, [(FAKE / f"{name}.onnx").read_bytes() for name in names], ".onnx")


def _metadata() -> Reader:
    """The metadata as a text of keys and values, so that the same changes reach them."""
    from draw_onnx.runtime.metadata import Metadata
    from draw_onnx.runtime.onnx_file import parse

    def read(path: Path) -> Metadata:
        pairs = [
            line.partition("=") for line in path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        ]
        return Metadata.from_props({key: value for key, _, value in pairs})

    found = [parse(path.read_bytes()).metadata for path in sorted(FAKE.glob("*.onnx"))]
    return Reader(read, ["\n".join(f"{k}={v}" for k, v in props.items()).encode() for props in found], ".txt")


def _idx() -> Reader:
    from draw_onnx.train.data.idx import read_idx

    data = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + bytes(range(24))
    return Reader(lambda path: read_idx(path, 3), [data, gzip.compress(data, mtime=0)], ".gz")


def _amat() -> Reader:
    from draw_onnx.train.data.amat import read_amat

    data = b"".join(b" ".join(b"01"[k % 2 :][:1] for k in range(12)) + b"\n" for _ in range(3))
    return Reader(lambda path: read_amat(path, 3, 4), [data, gzip.compress(data, mtime=0)], ".amat")


def _cifar() -> Reader:
    from draw_onnx.train.data.cifar import RECORD, read_cifar

    data = b"".join(bytes([k]) + bytes(RECORD - 1) for k in range(3))
    return Reader(read_cifar, [data, gzip.compress(data, mtime=0)], ".bin")


def _digit_struct() -> Reader:
    import h5py

    from draw_onnx.train.data.digit_struct import read_digit_struct

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digitStruct.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            names, boxes = [], []
            for i, count in enumerate((1, 2, 3)):
                characters = np.frombuffer(f"{i}.png".encode("utf-16-le"), np.uint16)[:, None]
                names.append(file.create_dataset(f"#refs#/n{i}", data=characters).ref)
                group = file.create_group(f"#refs#/b{i}")
                boxes.append(group.ref)
                for key in ("left", "top", "width", "height", "label"):
                    if count == 1:
                        group.create_dataset(key, data=np.array([[3.0]]))
                        continue
                    cells = [
                        file.create_dataset(f"#refs#/{key}{i}_{j}", data=np.array([[j + 1.0]])).ref
                        for j in range(count)
                    ]
                    _references(group, key, cells)
            _references(file, "digitStruct/name", names)
            _references(file, "digitStruct/bbox", boxes)
        return Reader(read_digit_struct, [path.read_bytes()], ".mat")


def _references(file: Any, name: str, values: list[Any]) -> None:
    import h5py

    table = np.empty((len(values), 1), h5py.ref_dtype)
    table[:, 0] = values
    file.create_dataset(name, data=table, dtype=h5py.ref_dtype)


def _npz() -> Reader:
    from draw_onnx.runtime.pictures.labelled import read_labelled

    seeds = []
    for compressed in (False, True):
        buffer = io.BytesIO()
        images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
        (np.savez_compressed if compressed else np.savez)(buffer, images=images, labels=np.arange(3))
        seeds.append(buffer.getvalue())
    return Reader(lambda path: read_labelled(path, ("0", "1", "2")), seeds, ".npz")


def _pictures() -> Reader:
    from PIL import Image

    from draw_onnx.runtime.pictures.reading import read_picture

    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    seeds = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF"):
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, kind)
        except (KeyError, OSError):
            continue  # a Pillow without this format
        seeds.append(buffer.getvalue())
    for compression in ("tiff_lzw", "jpeg", "tiff_adobe_deflate"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "TIFF", compression=compression)
        seeds.append(buffer.getvalue())
    return Reader(lambda path: read_picture(path, (1, 8, 8)), seeds, ".png")


def damaged(seeds: list[bytes], choose: random.Random) -> bytes:
    """One of the seeds with a few bytes changed, cut off, doubled or taken from another; zips also inside."""
    seed = choose.choice(seeds)
    if seed.startswith(b"PK") and choose.random() < 0.6:
        return _inside_zip(seed, choose)
    if seed.startswith(b"\x1f\x8b") and choose.random() < 0.5:
        return gzip.compress(_changed(gzip.decompress(seed), seeds, choose), mtime=0)
    return _changed(seed, seeds, choose)


def _changed(seed: bytes, seeds: list[bytes], choose: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(choose.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        place, kind = choose.randrange(len(data)), choose.randrange(8)
        if kind <= 2:
            data[place] = choose.randrange(256)
        elif kind == 3:
            data[place] ^= 1 << choose.randrange(8)
        elif kind == 4:
            extreme = choose.choice(
                (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80", b"-1")
            )
            data[place : place + len(extreme)] = extreme
        elif kind == 5:
            del data[place : place + choose.choice((1, 2, 4, 16, len(data)))]
        elif kind == 6:
            data[place:place] = data[place : place + choose.choice((1, 4, 16, 64))]
        else:
            other = choose.choice(seeds)
            begin = choose.randrange(len(other))
            part = other[begin : begin + choose.choice((4, 16, 64))]
            data[place : place + len(part)] = part
    return bytes(data)


def _inside_zip(seed: bytes, choose: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    chosen = choose.randrange(len(members))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k, (info, content) in enumerate(members):
            inner = _changed(content, [content or b"\0"], choose) if k == chosen else content
            archive.writestr(info.filename, inner, info.compress_type)
    return buffer.getvalue()


def work(name: str, first: int, count: int, folder: Path) -> int:
    """Read ``count`` inputs; prints figures, and what escaped. The number at hand is kept in a file, for crashes."""
    warnings.simplefilter("ignore")
    be_quiet()
    reader = readers()[name]()
    for seed in reader.seeds:
        (folder / f"seed{reader.suffix}").write_bytes(seed)
        reader.read(folder / f"seed{reader.suffix}")  # whole files are read
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + (MEGABYTES << 20), resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _too_long)
    path, at = folder / f"input{reader.suffix}", folder / "at"
    read = refused = failed = 0
    longest = 0.0
    for number in range(first, first + count):
        at.write_text(str(number))
        path.write_bytes(damaged(reader.seeds, random.Random(f"{name} {number}")))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        began = time.perf_counter()
        try:
            reader.read(path)
            read += 1
        except DrawError as error:
            refused += 1
            if "\n" in str(error) or not str(error).strip():
                failed += 1
                print(f"  {name} {number}: not one line: {str(error)[:200]!r}", flush=True)
        except BaseException as error:
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            if failed <= 20:
                what = f"{type(error).__name__}: {str(error)[:200]!r}"
                print(f"  {name} {number}: {what} at {where.filename}:{where.lineno}", flush=True)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        longest = max(longest, time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<12} {count:>7,} inputs: {read:>6,} read, {refused:>6,} refused in one line, {failed} failed;"
        f" longest {longest:.2f} s, peak {peak:,.0f} MB",
        flush=True,
    )
    return failed


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=50_000, help="for each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--only", choices=list(readers()), action="append", help="reader; may be repeated")
    parser.add_argument("--work", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        return 1 if work(given.only[0], given.first, given.inputs, given.work) else 0
    failed = 0
    for name in given.only or readers():
        first, left = given.first, given.inputs
        while left > 0:
            with tempfile.TemporaryDirectory() as folder:
                options = ("--only", name, "--first", str(first), "--inputs", str(left), "--work", folder)
                code = subprocess.run([sys.executable, __file__, *options], check=False).returncode
                failed += code != 0
                if code >= 0:
                    break
                number = int((Path(folder) / "at").read_text())
                print(f"  {name} {number}: crashed with {signal.Signals(-code).name}", flush=True)
                left -= number + 1 - first
                first = number + 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
