"""SOAP for matrices, Adam for everything else, in one optimiser.

SOAP (Vyas et al. 2024, arXiv:2409.11321) is Adam in a basis that turns with the gradients: for a gradient G, the
eigenvectors U of E[G Gᵀ] and V of E[Gᵀ G]. With m and v Adam's moments, v of the turned gradient Uᵀ G V,

    W ← W − rate · U · (Uᵀ m V / (√v + ε)) · Vᵀ

A gate of an LSTM is a matrix of its own, which no library's version knows: its units see the same input, but have
nothing to do with another gate's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BETA1, BETA2 = 0.9, 0.99  # of the moments; the gradients' products have BETA2 as well
EPSILON = 1e-8
REFRESH_EVERY = 10  # updates between turns of the basis
REFRESH_FIRST = 3  # the first updates turn it each: it begins from one batch


def matrices_in(name: str, parameter: Tensor) -> int:
    """How many matrices one above the other a parameter is: 0 for a vector, 4 for an LSTM's weights."""
    if parameter.dim() != 2:
        return 0
    return 4 if name.rpartition(".")[2] in ("weight_ih", "weight_hh") else 1


class SoapAdam(torch.optim.Adam):
    """Adam, but SOAP for groups whose ``"matrices"`` is not 0: parameters are that many, one above the other."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            if group["matrices"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._turned_step(parameter, group)
                        parameter.grad = None  # Adam leaves out what has none
        return super().step(closure)

    def _turned_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.view(group["matrices"], -1, parameter.shape[1])
        state = self.state[parameter]
        if not state:
            # No step yet: this batch's gradient makes the basis, and in its own basis it would be all sign.
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["rows"], state["columns"] = gradient @ gradient.mT, gradient.mT @ gradient
            for side in ("rows", "columns"):
                # Of no finite gradient there is no basis: the loss says that the run is at its end.
                known = torch.where(torch.isfinite(state[side]).all(), state[side], 0.0)
                state[f"{side}_basis"] = torch.linalg.eigh(known).eigenvectors.flip(-1)
            return
        state["step"] += 1
        step = int(state["step"])
        left, right = state["rows_basis"], state["columns_basis"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - BETA1)
        turned = left.mT @ gradient @ right
        square.mul_(BETA2).addcmul_(turned, turned, value=1 - BETA2)
        size = (square / (1 - BETA2**step)).sqrt_().add_(EPSILON)
        update = left @ ((left.mT @ mean @ right) / size) @ right.mT
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.view_as(parameter), alpha=-group["lr"] / (1 - BETA1**step))
        state["rows"].lerp_(gradient @ gradient.mT, 1 - BETA2)
        state["columns"].lerp_(gradient.mT @ gradient, 1 - BETA2)
        if step % REFRESH_EVERY == 0 or step <= REFRESH_FIRST:
            self._refresh(state)

    @staticmethod
    def _refresh(state: dict[str, Any]) -> None:
        """One power iteration of both bases, ordered by eigenvalue; the second moments go with their directions."""
        for side, axis in (("rows", 1), ("columns", 2)):
            products, basis = state[side], state[f"{side}_basis"]
            values = ((products @ basis) * basis).sum(1)
            order = values.argsort(dim=-1, descending=True, stable=True)
            of_columns = order[:, None, :]
            basis = basis.gather(2, of_columns.expand_as(basis))
            index = order[:, :, None] if axis == 1 else of_columns
            state["exp_avg_sq"] = state["exp_avg_sq"].gather(axis, index.expand_as(state["exp_avg_sq"]))
            state[f"{side}_basis"] = torch.linalg.qr(products @ basis).Q
