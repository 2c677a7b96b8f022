"""Many pictures on many machines: classify a folder or Parquet files, or draw a range of a seed's pictures, with Ray Data.

    python bulk.py classify --onnx cluttered-mnist --actors 2 --out answers FOLDER
    python bulk.py classify --onnx clf.onnx --actors 8 --out answers s3://bucket/pictures
    python bulk.py sample   --onnx mnist --seed 7 -n 100000 --actors 2 --out pictures

Each actor opens the model once, from bytes that are sent to it: no machine but this one needs the file. Results are
Parquet files. An actor that dies is started again and its batch is done again. With RAY_ADDRESS set the work goes to
that cluster (leave it a CPU more than actors, for reading and writing), otherwise to this machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import ray
import ray.data

from draw_onnx import Classifier, Sampler
from draw_onnx.errors import DrawError
from draw_onnx.pretrained import find_packaged
from draw_onnx.runtime.noise import check_range, check_seed, check_temperature
from draw_onnx.runtime.pictures.walk import picture_paths

BATCH = 128  # pictures in one call of an actor

Batch = dict[str, Any]  # columns: arrays or lists of one length


class _Opened:
    """A model in an actor, opened from its bytes: paths mean nothing on another machine."""

    def __init__(self, kind: type, model: bytes) -> None:
        self.model = kind(model, threads=1)  # Ray gives an actor one CPU


class Classify(_Opened):
    """Rows of ``path`` or ``image`` (a file's bytes) get ``answer`` and ``probability``, or ``error``."""

    def __init__(self, model: bytes, ink: str) -> None:
        super().__init__(Classifier, model)
        self.ink = ink

    def __call__(self, batch: Batch) -> Batch:
        shape = self.model.metadata.image_shape
        rows = len(batch["path"])
        images, errors = np.zeros((rows, *shape), np.float32), [""] * rows
        for k in range(rows):
            try:
                images[k] = self._read(batch, k)
            except DrawError as error:  # one bad picture in a million must not end the job
                errors[k] = str(error)
        got = self.model(images, steps=False)
        good = [not error for error in errors]
        return {
            "path": batch["path"],
            "answer": [a if ok else "" for a, ok in zip(got.answers, good, strict=True)],
            "probability": np.where(good, got.probabilities.max(1), np.float32(np.nan)),
            "error": errors,
        }

    def _read(self, batch: Batch, k: int) -> np.ndarray:
        """As draw-classify prepares it."""
        if "image" not in batch:
            return self.model.prepare(batch["path"][k], self.ink).image
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture")
            path.write_bytes(batch["image"][k])
            try:
                return self.model.prepare(path, self.ink).image
            except DrawError as error:
                raise DrawError(str(error).replace(str(path), str(batch["path"][k]))) from error


class Draw(_Opened):
    """Rows of a picture's ``number`` get ``image``, C x H x W float32 in [0, 1]."""

    def __init__(self, model: bytes, seed: int, temperature: float) -> None:
        super().__init__(Sampler, model)
        self.seed, self.temperature = seed, temperature

    def __call__(self, batch: Batch) -> Batch:
        numbers = batch["number"]
        # Ray may join blocks in the order in which they are done.
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        images = [
            self.model.sample(
                len(run), self.seed, int(run[0]), steps=False, temperature=self.temperature
            ).images
            for run in runs
        ]
        return {"number": numbers, "image": np.concatenate(images)}


def classify(pictures: list[str], model: bytes, actors: int, ink: str = "auto") -> ray.data.Dataset:
    """``path``, ``answer``, ``probability`` and ``error`` of each picture, in no order.

    A picture in a Parquet file that has no path there is called by its row: ``FILE row 0`` is the first.

    Args:
        pictures: folders and picture files that every machine can read, or Parquet files, folders or addresses of
            such, with a column ``image`` of encoded bytes (or of {bytes, path}, as data-set hubs write it), and
            perhaps one ``path``.
        ink: ``light`` (on dark), ``dark`` (on light), or ``auto`` to find out, as draw-classify has it.

    Raises:
        DrawError: there are no pictures, or no such column.
    """
    if all(map(_is_parquet, pictures)):
        rows = ray.data.from_items(_row_groups(pictures)).map_batches(_rows, batch_size=1)
    else:
        rows = ray.data.from_items([{"path": str(path.absolute())} for path in picture_paths(pictures)])
    return _with_actors(rows, Classify, (model, ink), actors)


def sample(
    model: bytes, seed: int, start: int, count: int, actors: int, temperature: float = 1.0
) -> ray.data.Dataset:
    """``number`` and ``image`` of pictures start .. start + count - 1, in no order."""
    blocks = max(actors, min(-(-count // BATCH), 64 * actors))
    rows = ray.data.range(count, override_num_blocks=blocks).map_batches(
        lambda batch: {"number": batch["id"].astype(np.uint64) + np.uint64(start)}, batch_size=None
    )
    return _with_actors(rows, Draw, (model, seed, temperature), actors)


def _with_actors(
    rows: ray.data.Dataset, actor: type, arguments: tuple[Any, ...], actors: int
) -> ray.data.Dataset:
    return rows.map_batches(
        actor,
        fn_constructor_args=arguments,
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    )  # Ray Data starts an actor that dies again, and does its batch again


def _is_parquet(name: str) -> bool:
    return name.endswith(".parquet") or "://" in name or any(Path(name).glob("*.parquet"))


def _row_groups(sources: Sequence[str]) -> list[dict[str, Any]]:
    """Each row group of Parquet files, and the number of its first row in its file: Ray's own reader does not tell."""
    groups: list[dict[str, Any]] = []
    for source in sources:
        folder = pyarrow.dataset.dataset(source, schema=pa.schema([]), format="parquet")
        files = list(folder.get_fragments())  # whatever lies there
        if len(files) > 1:
            files = [file for file in files if file.path.endswith(".parquet")]
        if not files:
            raise DrawError(f"{source} holds no Parquet files")
        for file in files:
            try:
                columns = file.physical_schema.names
            except pa.ArrowInvalid as error:
                raise DrawError(str(error)) from error
            if "image" not in columns:
                raise DrawError(f"{file.path} has no column image")
            first = 0
            for group in file.split_by_row_group():
                groups.append({"group": group, "first": first})
                first += group.row_groups[0].num_rows
    return groups


def _rows(groups: Batch) -> Iterator[Batch]:
    """``path`` and ``image`` of the rows of row groups."""
    for group, first in zip(groups["group"], groups["first"].tolist(), strict=True):
        schema = group.physical_schema
        columns = [name for name in ("image", "path") if name in schema.names]
        for rows in group.to_batches(schema=schema, columns=columns, batch_size=BATCH):
            yield _named(rows.to_pydict(), f"{group.path} row", first)
            first += len(rows)


def _named(rows: Batch, prefix: str, first: int) -> Batch:
    """``path`` and ``image`` (bytes) of rows; those without a path are called by their number."""
    images = [image if isinstance(image, dict) else {"bytes": image} for image in rows["image"]]
    paths = rows.get("path", [None] * len(images))
    names = [
        image.get("path") or path or f"{prefix} {first + k}"
        for k, (image, path) in enumerate(zip(images, paths, strict=True))
    ]
    return {"path": names, "image": [image.get("bytes") or b"" for image in images]}


def connect(actors: int) -> None:
    """To the cluster of RAY_ADDRESS, or to one on this machine with a place more than actors: without it nothing is read."""
    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": max(os.cpu_count() or 1, actors + 1)}
    ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False, **here)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def check_empty(out: str) -> None:
    """Raise DrawError for a local folder with something in it: Ray adds its files to those that are there."""
    folder = Path(out)
    if "://" not in out and folder.is_dir() and any(folder.iterdir()):
        raise DrawError(f"--out {out}: the folder is not empty, and its files would be taken for results")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("classify", "sample"):
        command = commands.add_parser(name)
        command.add_argument(
            "--onnx", required=True, help="an exported file, or the name of a packaged model"
        )
        command.add_argument(
            "--out", required=True, help="folder of Parquet files to write, local or s3://, gs://, ..."
        )
        command.add_argument(
            "--actors", type=int, default=2, help="sessions at the same time, a CPU each (default: 2)"
        )
        if name == "classify":
            command.add_argument("pictures", nargs="+", help="folders, picture files or Parquet files")
            command.add_argument(
                "--ink",
                choices=("auto", "light", "dark"),
                default="auto",
                help="what the ink is (default: auto)",
            )
        else:
            command.add_argument("-n", type=int, required=True, help="pictures")
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--start", type=int, default=0, help="number of the first picture")
            command.add_argument(
                "--temperature", type=float, default=1.0, help="what the noise is multiplied by"
            )
    options = parser.parse_args()
    if options.actors < 1 or vars(options).get("n", 1) < 1:
        parser.error("--actors and -n must be at least 1")
    try:
        check_empty(options.out)
        if options.command == "sample":  # before a cluster starts
            check_seed(options.seed)
            check_range(options.start, options.n)
            check_temperature(options.temperature)
        kind = Classifier if options.command == "classify" else Sampler
        path = find_packaged(options.onnx, ".onnx", "model")
        kind(path, "cpu")  # what is wrong with it is said here, in one line, and not by an actor
        model = path.read_bytes()
        connect(options.actors)
        begun = time.perf_counter()
        if options.command == "classify":
            results = classify(options.pictures, model, options.actors, options.ink)
        else:
            job = options.seed, options.start, options.n, options.actors, options.temperature
            results = sample(model, *job)
        results = results.materialize()
        seconds = time.perf_counter() - begun
        results.write_parquet(options.out)
    except (DrawError, FileNotFoundError) as error:
        sys.exit(f"bulk.py: error: {error}")
    count = results.count()
    print(f"{count} pictures in {seconds:.1f} s ({count / seconds:,.0f} a second) by {options.actors} actors")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
