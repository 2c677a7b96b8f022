"""Means of an objective's terms since the last row of metrics.csv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class RunningMeans:
    """Sums on the device: nothing waits for it before :meth:`take`. Saved, so that a resumed run's rows are the same.

    On several devices the main process saves its own: of a resumed run the first row is a little different there.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._sums: dict[str, Tensor] = {}
        self.counted = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.counted += 1

    def take(self) -> dict[str, float]:
        """The means, over all processes, of which each must ask; counting begins anew."""
        values = {k: float(v) / self.counted for k, v in self._sums.items()}
        self._sums, self.counted = {}, 0
        if self._fabric.world_size == 1:
            return values
        return {k: float(cast(Tensor, self._fabric.all_reduce(torch.tensor(v)))) for k, v in values.items()}

    def state(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counted": self.counted}

    def load(self, state: dict[str, Any]) -> None:
        self.counted = int(state["counted"])
        self._sums = {k: v.to(self._fabric.device) for k, v in state["sums"].items()}
