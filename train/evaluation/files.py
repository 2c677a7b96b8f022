"""Evaluating a checkpoint or an exported file on the data set that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...console import progress
from ...errors import DrawError
from ...models.checkpoint import load_checkpoint
from ...models.draw import Draw
from ...models.rounding import rounded_to_int8
from ...pretrained import find_packaged
from ...runtime.metadata import CLASSIFIER, SCORER, Metadata
from ...runtime.pictures.drawing import write_png
from ..data.dataset import Dataset, Split
from ..data.registry import load_dataset
from ..machine import choose_device
from .figures import (
    BoundFigures,
    ErrorFigures,
    bound_figures,
    check_labels,
    evaluate_bound,
    evaluate_error,
    evaluate_importance,
    slices,
)
from .nearest import check_nearest, check_nearest_sheet, find_nearest, nearest_sheet
from .recognisability import check_recognise, recognise
from .recognisability import recognised_sheet as draw_recognised


@dataclass
class Result:
    """Lines to read and the same figures as plain values."""

    lines: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


def evaluate_checkpoint(
    path: str,
    data_dir: Path | None,
    dataset_name: str | None,
    image_dir: Path | None,
    split: str,
    limit: int | None,
    seed: int,
    batch: int,
    device: str,
    threads: int | None,
    importance: int | None,
    plot: Path | None,
    nearest: Path | None,
    samples: int,
    recognised: int | None = None,
    recognised_sheet: Path | None = None,
    int8: bool = False,
) -> Result:
    """Figures of a checkpoint with PyTorch; with ``int8`` its weights are rounded as those of an int8 file.

    Raises:
        DrawError: a bad checkpoint, data that are missing or do not fit, options that do not fit the model.
    """
    if threads:
        torch.set_num_threads(threads)
    torch_device = choose_device(device)
    checkpoint = load_checkpoint(find_packaged(path, ".ckpt", "checkpoint"))
    if int8:
        checkpoint = rounded_to_int8(checkpoint)
    model = checkpoint.build().to(torch_device)
    config = checkpoint.config
    if not isinstance(model, Draw) and (importance or plot or nearest or recognised):
        raise DrawError(
            "--importance, --plot, --nearest and --recognise are for DRAW; this checkpoint is a glimpse classifier"
        )
    shape = (config.image_channels, config.image_height, config.image_width)
    dataset = _dataset(dataset_name or checkpoint.dataset, data_dir, image_dir, shape, torch_device)
    if not isinstance(model, Draw):
        check_labels(dataset)
    if nearest is not None:
        check_nearest(dataset)
        check_nearest_sheet(samples, config.image_width, config.image_height)
    if recognised:
        check_recognise(dataset)
    evaluation = dataset.evaluation(split)
    count = min(len(evaluation), limit or len(evaluation))
    result = _header(dataset, split, evaluation, limit)
    result.values["iteration"] = checkpoint.iteration
    if int8:
        result.lines[0] += " [weights rounded to int8]"
        result.values["dtype"] = "int8"
    with progress("evaluating", count) as bar:
        if isinstance(model, Draw):
            figures = evaluate_bound(model, evaluation, batch, limit, seed, bar.advance)
        else:
            figures = evaluate_error(model, evaluation, batch, limit, bar.advance)
    _add_figures(result, figures)
    if isinstance(model, Draw) and isinstance(figures, BoundFigures):
        if importance:
            with progress(f"importance-weighted, K = {importance}", count * importance) as bar:
                mean, error = evaluate_importance(
                    model, evaluation, importance, batch, limit, seed, bar.advance
                )
            result.lines.append(f"importance-weighted bound, K = {importance}: {mean:.2f} ± {error:.2f} nats")
            result.values |= {
                "importance_samples": importance,
                "importance_bound": mean,
                "importance_standard_error": error,
            }
        if plot is not None:
            from .plots import plot_kl

            title = f"{dataset.name}: {figures.kl:.2f} nats of KL in {len(figures.kl_per_step)} steps"
            plot_kl(figures.kl_per_step, title, plot)
            result.lines.append(f"wrote {plot}")
        if nearest is not None:
            with progress("nearest training pictures", dataset.train_size) as bar:
                uniqueness = find_nearest(model, dataset, samples, seed, bar.advance)
            write_png(nearest, nearest_sheet(uniqueness))
            result.lines.append(str(uniqueness))
            result.lines.append(
                f"wrote {nearest} (each sample with its nearest training picture to its right)"
            )
            result.values |= {"nearest_share": uniqueness.share, "nearest_copies": uniqueness.copies}
            result.values["nearest_distances"] = [round(float(d), 4) for d in uniqueness.distances]
        if recognised:
            with progress("samples to read", recognised) as bar:
                found = recognise(model, dataset, data_dir, recognised, seed, bar.advance)
            result.lines += found.lines
            result.values |= found.values
            if recognised_sheet is not None:
                write_png(recognised_sheet, draw_recognised(found))
                result.lines.append(
                    f"wrote {recognised_sheet} (red: not accepted; with the less sure digit's probability)"
                )
    return result


def evaluate_onnx(
    path: str,
    data_dir: Path | None,
    dataset_name: str | None,
    image_dir: Path | None,
    split: str,
    limit: int | None,
    seed: int,
    batch: int,
    provider: str,
    threads: int | None,
) -> Result:
    """Figures of an exported scorer or classifier with ONNX Runtime.

    Raises:
        DrawError: a bad file, a decoder, data that are missing or do not fit.
    """
    from ...runtime.classifier import Classifier
    from ...runtime.scorer import Scorer
    from ...runtime.session import peek

    metadata: Metadata = peek(path)
    if metadata.model_type not in (SCORER, CLASSIFIER):
        raise DrawError(f"{path} is a {metadata.model_type}: only a scorer or a classifier can be evaluated")
    dataset = _dataset(
        dataset_name or metadata.dataset, data_dir, image_dir, metadata.image_shape, torch.device("cpu")
    )
    if metadata.model_type == CLASSIFIER:
        check_labels(dataset)
    evaluation = dataset.evaluation(split)
    count = min(len(evaluation), limit or len(evaluation))
    result = _header(dataset, split, evaluation, limit)
    with progress("evaluating", count) as bar:
        if metadata.model_type == SCORER:
            scorer = Scorer(path, provider=provider, threads=threads)
            bounds = []
            for start, part in slices(evaluation, batch, limit):
                bounds.append(scorer(part.images.numpy(), seed, start, steps=False).bound)
                bar.advance(len(part.images))
            figures = bound_figures(np.concatenate(bounds).astype(np.float64))
        else:
            classifier = Classifier(path, provider=provider, threads=threads)
            wrong, entropy = 0, 0.0
            for _, part in slices(evaluation, batch, limit):
                assert part.labels is not None
                logits = torch.from_numpy(classifier(part.images.numpy(), steps=False).logits)
                wrong += int((logits.argmax(1) != part.labels).sum())
                entropy += float(torch.nn.functional.cross_entropy(logits, part.labels, reduction="sum"))
                bar.advance(len(part.images))
            figures = ErrorFigures(count, wrong, entropy / count)
    _add_figures(result, figures)
    return result


def _dataset(
    name: str,
    data_dir: Path | None,
    image_dir: Path | None,
    shape: tuple[int, int, int],
    device: torch.device,
) -> Dataset:
    channels, height, width = shape
    if name == "images":
        if image_dir is None:
            raise DrawError("this model was trained on a folder of pictures: name one with --image-dir")
        dataset = load_dataset(
            name, data_dir, device, image_dir=image_dir, image_size=(height, width), channels=channels
        )
    else:
        dataset = load_dataset(name, data_dir, device)
    image = dataset.image
    if (image.channels, image.height, image.width) != shape:
        raise DrawError(
            f"data set {name} has {image.channels}×{image.height}×{image.width} pictures,"
            f" the model takes {channels}×{height}×{width}"
        )
    return dataset


def _header(dataset: Dataset, split: str, evaluation: Split, limit: int | None) -> Result:
    about = f" [{dataset.note}]" if dataset.note else ""
    if limit and limit < len(evaluation):
        about += f" [{limit:,} of {len(evaluation):,} images, evenly spread]"
    values = {"dataset": dataset.name, "split": split, "note": dataset.note}
    return Result([f"{dataset.name} {split}{about}"], values)


def _add_figures(result: Result, figures: BoundFigures | ErrorFigures) -> None:
    result.lines.append(str(figures))
    result.values["images"] = figures.images
    if isinstance(figures, ErrorFigures):
        result.values |= {
            "error_percent": figures.error,
            "interval": tuple(100 * end for end in figures.interval),
            "wrong": figures.wrong,
        }
        result.values["cross_entropy"] = figures.cross_entropy
        return
    result.values |= {"bound": figures.bound, "standard_error": figures.standard_error}
    if figures.kl_per_step:
        result.values |= {"reconstruction": figures.reconstruction, "kl": figures.kl}
        result.values["kl_per_step"] = list(figures.kl_per_step)
