"""Leverage, sensitivity and left-out loss of examples from their variance in the posterior without them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood

MEASURES = ("leverage", "sensitivity", "loo_loss")


@dataclass(frozen=True)
class Removal:
    """What leaving each example out does: with `V^{\\i} [n, c, c]`, a root `L` of `wΛ` and the error `e [n, c]`,

    `loaded = V^{\\i}L`, `inside = C = LᵀV^{\\i}L`, `kept = (I + C)⁻¹`, `new_outputs = f + V^{\\i}e` and
    `change = σ(new_outputs) − σ(f)`.
    """

    root: Tensor
    error: Tensor
    loaded: Tensor
    inside: Tensor
    kept: Tensor
    new_outputs: Tensor
    change: Tensor

    @classmethod
    def of(cls, likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, variance: Tensor) -> Removal:
        """`f [n, c]` and `w [n]` in double precision."""
        root = w[:, None, None].sqrt() * likelihood.fisher_root(f, y)
        error = w[:, None] * likelihood.error(f, y)
        loaded = torch.matmul(variance, root)
        inside = torch.matmul(root.mT, loaded)
        inside = (inside + inside.mT) / 2
        eye = torch.eye(inside.shape[-1], dtype=f.dtype, device=f.device)
        new_outputs = f + torch.matmul(variance, error[..., None])[..., 0]
        change = likelihood.mean(new_outputs) - likelihood.mean(f)
        return cls(root, error, loaded, inside, torch.linalg.inv(eye + inside), new_outputs, change)

    def value(self, likelihood: Likelihood, y: Tensor, w: Tensor) -> Tensor:
        """`tr C(I + C)⁻¹`, `Σ_c |σ(f + Δf) − σ(f)|`, `ℓ(f + Δf)`: `[3, n]`."""
        leverage = torch.matmul(self.inside, self.kept).diagonal(dim1=1, dim2=2).sum(-1)
        return torch.stack([leverage, self.change.abs().sum(-1), likelihood.example_loss(self.new_outputs, y, w)])

    def with_example(self, variance: Tensor) -> Tensor:
        """`V^{\\i}(I + ΛV^{\\i})⁻¹ [n, c, c]`, from `V^{\\i}` itself."""
        eye = torch.eye(variance.shape[1], dtype=variance.dtype, device=variance.device)
        found = torch.linalg.solve(eye + torch.matmul(self.loaded, self.root.mT), variance)
        return (found + found.mT) / 2

    def added_leverage(self, variance: Tensor) -> Tensor:
        """What a small part of `V^{\\i}`, `variance [n, c, c]`, adds to the leverage: `tr (I + C)⁻¹LᵀVL(I + C)⁻¹`."""
        turned = torch.matmul(self.root, self.kept)
        return (torch.matmul(variance, turned) * turned).sum((1, 2)).clamp(min=0)


def cavity_measures(likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, variance: Tensor) -> Tensor:
    """Leverage, sensitivity and left-out loss `[3, n]` in the cavity form from `V^{\\i} [n, c, c]`."""
    return Removal.of(likelihood, f, y, w, variance).value(likelihood, y, w)


def magnitudes(likelihood: Likelihood, data: tuple[Tensor, Tensor, Tensor], value: Tensor) -> Tensor:
    """Leverage, sensitivity and how far the loss moves, `[3, n]`, from `value`; `data` are `f`, targets and weights."""
    return torch.stack([value[0], value[1], (value[2] - likelihood.example_loss(*data)).abs()])
