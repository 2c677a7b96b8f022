"""Evaluating a checkpoint or an exported file on the data set that it names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...console import note, progress
from ...errors import DrawError
from ...models.checkpoint import Checkpoint, load_checkpoint
from ...models.config import LEARNED, DrawConfig, ImageSize, prior_of, prior_remark
from ...models.draw import Draw
from ...models.rounding import rounded_to_int8
from ...pretrained import find_packaged
from ...runtime.confusion import Confusion
from ...runtime.metadata import CLASSIFIER, SCORER, Metadata
from ...runtime.pictures.confusion_matrix import write_confusion
from ...runtime.pictures.drawing import write_png
from ..data.dataset import Dataset, Split
from ..data.registry import DataOptions, find_source, load_dataset, saw_validation
from ..machine import choose_device
from .figures import (
    EVALUATION_SEED,
    BoundFigures,
    ErrorFigures,
    answers,
    error_figures,
    evaluate,
    evaluate_importance,
    slices,
)
from .nearest import check_nearest, find_nearest, nearest_sheet
from .options import FileKind, ModelKind, Request, misfit
from .recognisability import check_recognise, recognise, recognised_sheet

SAMPLES = 64  # of --nearest


@dataclass
class Result:
    """Lines to read, the same figures as plain values, and what was written where."""

    lines: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)


def _warn_of_other_pictures(request: Request, file: Checkpoint | Metadata, dataset: Dataset) -> None:
    """Folders change, and without the run's --validation-dir another part of one is held back."""
    trained = file.train_size, file.train_checksum
    if request.split == "all" or None in trained or dataset.name != file.dataset:
        return
    if saw_validation(file, dataset):
        if request.split == "valid":
            note("it was trained on the validation pictures too (--all-digits)")
    elif trained != (dataset.train_size, dataset.train_checksum):
        note(
            f"trained on {file.train_size:,} pictures, which are not the {dataset.train_size:,} that are left to train"
            " on here: the figures may be of pictures that it was trained on"
        )


def evaluate_checkpoint(request: Request) -> Result:
    """Figures of a checkpoint with PyTorch; with ``int8`` its weights are rounded as those of an int8 file.

    Raises:
        DrawError: a bad checkpoint, data that are missing or do not fit, options that do not fit the model.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    device = choose_device(request.device)
    checkpoint = load_checkpoint(find_packaged(request.file, ".ckpt", "checkpoint"))
    if request.dtype == "int8":
        if prior_of(checkpoint.config) == LEARNED:
            raise DrawError("--dtype int8: draw-export writes no such file with a learned prior")
        checkpoint = rounded_to_int8(checkpoint)
    model = checkpoint.build().to(device)
    config = checkpoint.config
    _check(request, "checkpoint", "DRAW network" if isinstance(model, Draw) else "classifier")
    labels = None if isinstance(config, DrawConfig) else config.labels
    dataset = _dataset(request, checkpoint.dataset, config.image, device, labels)
    if request.nearest is not None:
        check_nearest(dataset, request.samples or SAMPLES)
    if request.recognise:
        check_recognise(dataset)
    _warn_of_other_pictures(request, checkpoint, dataset)
    evaluation, count, result = _begin(request, dataset, prior_of(config))
    result.values["iteration"] = checkpoint.iteration
    if request.dtype == "int8":
        result.lines[0] += " [weights rounded to int8]"
        result.values["dtype"] = "int8"
    with progress("evaluating", count) as bar:
        figures = evaluate(model, evaluation, request.batch, request.limit, _seed(request), bar.advance)
    _add_figures(result, figures, request, dataset)
    if isinstance(model, Draw) and isinstance(figures, BoundFigures):
        if request.importance:
            _add_importance(result, model, evaluation, count, request)
        if request.plot is not None:
            from .plots import plot_kl

            title = f"{dataset.name}: {figures.kl:.2f} nats of KL in {len(figures.kl_per_step)} steps"
            plot_kl(figures.kl_per_step, title, request.plot)
            result.written.append(str(request.plot))
        if request.nearest is not None:
            _add_nearest(result, model, dataset, request.nearest, request)
        if request.recognise:
            _add_recognisability(result, model, dataset, request.recognise, request)
    return result


def _check(request: Request, file: FileKind, model: ModelKind) -> None:
    """Raises DrawError for an option that would be passed over."""
    wrong = misfit(request, file, model)
    if wrong is not None:
        raise DrawError(wrong)


def _seed(request: Request) -> int:
    return EVALUATION_SEED if request.seed is None else request.seed


def _temperature(request: Request) -> float:
    return 1.0 if request.temperature is None else request.temperature


def _add_importance(result: Result, model: Draw, evaluation: Split, count: int, request: Request) -> None:
    samples = request.importance or 1
    with progress(f"importance-weighted, K = {samples}", count * samples) as bar:
        mean, error = evaluate_importance(
            model, evaluation, samples, request.batch, request.limit, _seed(request), bar.advance
        )
    spread = "" if math.isnan(error) else f" ± {error:.2f}"  # of one picture there is none
    result.lines.append(f"importance-weighted bound, K = {samples}: {mean:.2f}{spread} nats")
    result.values |= {
        "importance_samples": samples,
        "importance_bound": mean,
        "importance_standard_error": error,
    }


def _add_nearest(result: Result, model: Draw, dataset: Dataset, path: Path, request: Request) -> None:
    with progress("nearest training pictures", dataset.train_size) as bar:
        uniqueness = find_nearest(
            model, dataset, request.samples or SAMPLES, _seed(request), bar.advance, _temperature(request)
        )
    write_png(path, nearest_sheet(uniqueness))
    result.lines.append(str(uniqueness))
    result.written.append(f"{path} (each sample with its nearest training picture to its right)")
    result.values |= {"nearest_share": uniqueness.share, "nearest_copies": uniqueness.copies}
    result.values["temperature"] = uniqueness.temperature
    result.values["nearest_distances"] = [round(float(d), 4) for d in uniqueness.distances]


def _add_recognisability(result: Result, model: Draw, dataset: Dataset, count: int, request: Request) -> None:
    found = recognise(model, dataset, request.data_dir, count, _seed(request), _temperature(request))
    result.lines += found.lines
    result.values |= found.values
    if request.recognise_sheet is not None:
        write_png(request.recognise_sheet, recognised_sheet(found))
        pairs = found.samples.labels.shape[1] == 2
        red = "not accepted; with the less sure digit's" if pairs else "not read; with its"
        result.written.append(f"{request.recognise_sheet} (red: {red} probability)")


def evaluate_onnx(request: Request) -> Result:
    """Figures of an exported scorer or classifier with ONNX Runtime.

    Raises:
        DrawError: a bad file, a decoder, data that are missing or do not fit.
    """
    from ...runtime.classifier import Classifier
    from ...runtime.scorer import Scorer
    from ...runtime.session import peek

    path = find_packaged(request.file, ".onnx", "model", ("scorer.onnx", "classifier.onnx", "decoder.onnx"))
    metadata: Metadata = peek(path)
    _check(request, "ONNX file", "classifier" if metadata.model_type == CLASSIFIER else "DRAW network")
    if metadata.model_type not in (SCORER, CLASSIFIER):
        raise DrawError(
            f"{request.file} is a {metadata.model_type}: only a scorer or a classifier can be evaluated; give --ckpt with"
            " the checkpoint, or a file of draw-export --graph scorer"
        )
    image = ImageSize(*metadata.image_shape)
    dataset = _dataset(request, metadata.dataset, image, torch.device("cpu"), metadata.labels or None)
    _warn_of_other_pictures(request, metadata, dataset)
    evaluation, count, result = _begin(request, dataset, metadata.prior)
    parts = slices(evaluation, request.batch, request.limit)
    with progress("evaluating", count) as bar:
        if metadata.model_type == SCORER:
            scorer = Scorer(path, provider=request.provider, threads=request.threads)
            bounds = []
            for start, part in parts:
                bounds.append(scorer(part.images.numpy(), _seed(request), start, steps=False).bound)
                bar.advance(len(part.images))
            figures = BoundFigures(np.concatenate(bounds).astype(np.float64))
        else:
            classifier = Classifier(path, provider=request.provider, threads=request.threads)

            def logits(images: torch.Tensor) -> torch.Tensor:
                return torch.from_numpy(classifier(images.numpy(), steps=False).logits)

            figures = error_figures(answers(logits, parts, bar.advance))
    _add_figures(result, figures, request, dataset)
    return result


def _dataset(
    request: Request, stored: str, image: ImageSize, device: torch.device, labels: tuple[str, ...] | None
) -> Dataset:
    """The one asked for, or the ``stored`` one that the file names, checked to fit the model: a classifier has labels."""
    name = request.dataset or stored
    of_model: DataOptions = {
        "image_size": (image.height, image.width),
        "channels": image.channels,
        "whole": request.split == "all",
    }
    accepted = find_source(name).options
    options: Any = {key: value for key, value in of_model.items() if key in accepted}
    options |= {"image_dir": request.image_dir, "validation_dir": request.validation_dir}
    dataset = load_dataset(name, request.data_dir, device, labels=labels, **options)
    dataset.check_fits(image)
    if labels is not None and not dataset.labels:
        raise DrawError(f"data set {dataset.name} has no labels to hold a classifier's answers against")
    if labels is not None:
        dataset.check_classes(labels)
        dataset.check_labels(request.split)
    return dataset


def _begin(request: Request, dataset: Dataset, prior: str) -> tuple[Split, int, Result]:
    """The split, how many of its pictures are evaluated, and a result with its first line."""
    evaluation = dataset.evaluation(request.split)
    count = min(len(evaluation), request.limit or len(evaluation))
    about = f" [{dataset.note}]" if dataset.note else ""
    if count < len(evaluation):
        about += f" [{count:,} of {len(evaluation):,} images, evenly spread]"
    about += prior_remark(prior)
    values = {"dataset": dataset.name, "split": request.split, "note": dataset.note}
    return evaluation, count, Result([f"{dataset.name} {request.split}{about}"], values)


def _add_figures(
    result: Result, figures: BoundFigures | ErrorFigures, request: Request, dataset: Dataset
) -> None:
    result.lines.append(str(figures))
    result.values["images"] = figures.images
    if isinstance(figures, ErrorFigures):
        result.values |= {
            "error_percent": figures.error,
            "interval": tuple(100 * end for end in figures.interval),
            "wrong": figures.wrong,
        }
        result.values["cross_entropy"] = figures.cross_entropy
        result.values["calibration_error"] = figures.calibration.error
        confusion = Confusion(dataset.labels, figures.confusion)
        result.values["confusion"] = figures.confusion.tolist()
        if request.calibration is not None:
            from .plots import plot_reliability

            plot_reliability(figures.calibration, result.lines[0], request.calibration)
            result.lines.append(str(figures.calibration))
            result.written.append(str(request.calibration))
        if request.confusion is not None:
            write_confusion(request.confusion, confusion)
            result.lines += confusion.lines()
            result.written.append(str(request.confusion))
        return
    result.values |= {"bound": figures.bound, "standard_error": figures.standard_error}
    if figures.kl_per_step:
        result.values |= {"reconstruction": figures.reconstruction, "kl": figures.kl}
        result.values["kl_per_step"] = list(figures.kl_per_step)
