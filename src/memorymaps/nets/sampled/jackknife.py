"""Standard errors and bias of a map that rests on drawn rows: a jackknife over rows, in closed form.

Deleting drawn row `j` changes the cavity variance of an example by `y_j y_jᵀ/κ_j` (`sampled_covariance`), and to first
order its

    leverage       tr C(I + C)⁻¹           by ‖(I + C)⁻¹Lᵀ y_j‖²/κ_j,    C = LᵀV^{\\i}L
    sensitivity    Σ_c |σ(f + Δf) − σ(f)|   by (sᵀσ'(f + Δf) y_j)(eᵀy_j)/κ_j,  s the signs
    left-out loss  ℓ(f + Δf)               by (e(f + Δf)ᵀy_j)(eᵀy_j)/κ_j

Rows are drawn independently, each with its probability `q_j`: the variance is `Σ_j (1 − q_j) change_j²` [Horvitz &
Thompson 1952; Efron 1982], and rows that were drawn for certain add nothing to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.sampled.covariance import Cavity, SampledCovariance

MEASURES = ("leverage", "sensitivity", "loo_loss")


@dataclass(frozen=True)
class Estimates:
    """Of a batch, in the order of `MEASURES`: `value [3, n]`, `deleted [3, n, m]` its change where one drawn row is
    deleted, times `√(1 − q)`; `bias [3, n]`, removed already; and the variance `V [n, c, c]` with every example in it.
    """

    variance: Tensor
    value: Tensor
    deleted: Tensor
    bias: Tensor

    @property
    def standard_error(self) -> Tensor:
        """`[3, n]`."""
        return self.deleted.square().sum(-1).sqrt()


def estimates(
    likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, cavity: Cavity, source: SampledCovariance
) -> Estimates:
    """The cavity form's leverage, sensitivity and left-out loss with what the draw of the rows leaves open.

    `f [n, c]` and `w [n]` in double precision.
    """
    root = w[:, None, None].sqrt() * likelihood.fisher_root(f, y)
    error = w[:, None] * likelihood.error(f, y)
    loaded = torch.matmul(cavity.variance, root)  # V^{\i}L [n, c, r]
    inside = torch.matmul(root.mT, loaded)
    inside = (inside + inside.mT) / 2
    eye = torch.eye(inside.shape[-1], dtype=f.dtype, device=f.device)
    kept = torch.linalg.inv(eye + inside)  # (I + C)⁻¹
    moved = f + torch.matmul(cavity.variance, error[..., None])[..., 0]
    change = likelihood.mean(moved) - likelihood.mean(f)
    ahead = torch.matmul(likelihood.mean_jacobian(moved).mT, change.sign()[..., None])[..., 0]
    value = torch.stack(
        [
            torch.matmul(inside, kept).diagonal(dim1=1, dim2=2).sum(-1),
            change.abs().sum(-1),
            likelihood.example_loss(moved, y, w),
        ]
    )
    pulled = _along(cavity.moves, error)
    gain = w[:, None] if likelihood.weights_are_precisions else torch.ones_like(w)[:, None]
    changes = torch.stack(
        [
            torch.matmul(torch.matmul(root, kept).mT, cavity.moves).square().sum(1),
            _along(cavity.moves, ahead) * pulled,
            _along(cavity.moves, gain * likelihood.error(moved, y)) * pulled,
        ]
    )
    variance = cavity.variance - torch.matmul(torch.matmul(loaded, kept), loaded.mT)
    deleted = changes / cavity.kept * (1 - source.q).sqrt()
    return Estimates((variance + variance.mT) / 2, value, deleted, changes @ source.bias)


def _along(moves: Tensor, direction: Tensor) -> Tensor:
    """`dᵀy_j [n, m]` for directions `d [n, c]`."""
    return torch.matmul(direction[:, None], moves)[:, 0]
