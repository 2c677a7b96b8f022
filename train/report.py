"""What a run says of itself: the figures on the bar and the line of each validation."""

from __future__ import annotations

from typing import Any

from ..console import format_duration
from .stages import Place


def figures(row: dict[str, Any]) -> str:
    """``train 28.66 nats = 26.08 + 2.58; 3,195 images/s``: what stands on the bar."""
    parts = []
    for split in ("train", "valid"):
        if f"{split}_bound" in row:
            parts.append(
                f"{split} {row[f'{split}_bound']:.2f} nats"
                f" = {row[f'{split}_reconstruction']:.2f} + {row[f'{split}_kl']:.2f}"
            )
        elif f"{split}_error" in row:
            parts.append(
                f"{split} {row[f'{split}_error']:.2f} % error, {row[f'{split}_cross_entropy']:.3f} nats"
            )
    return "; ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])


def line(row: dict[str, Any], place: Place) -> str:
    """The same with the place in the run: a line of its own, which has no bar beside it."""
    settings = place.stage.settings
    left = place.seconds_left(row["iteration"], settings.batch_size / row["images_per_second"])
    stage = f", stage {place.index + 1} of {len(place.plan)}" if len(place.plan) > 1 else ""
    where = f"{settings.preset} {row['iteration']:,}/{place.total:,}{stage}"
    return f"{where}; {figures(row)}, {format_duration(left)} left"
