"""The processes of a run as Lightning Fabric is told of them. Importing this imports Fabric: machine.py does so late."""

from __future__ import annotations

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from .ranks import Rank


class Started(LightningEnvironment):
    """Processes that :class:`~.ranks.Crew` starts, whatever schedulers have left in the environment."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self._rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self._rank.port

    def local_rank(self) -> int:
        return self._rank.rank

    def node_rank(self) -> int:
        return 0


def environment(rank: Rank) -> LightningEnvironment | TorchElasticEnvironment:
    """Whose word counts on which process is which: torchrun's where it started them, ours otherwise."""
    return TorchElasticEnvironment() if rank.torchrun else Started(rank)
