"""Standard errors and bias of a map that rests on drawn rows: a jackknife over rows, in closed form.

Deleting drawn row `j` changes the cavity variance of an example by `y_j y_jᵀ/κ_j` (`sampled_covariance`), and to first
order its

    leverage       tr C(I + C)⁻¹           by ‖(I + C)⁻¹Lᵀ y_j‖²/κ_j,    C = LᵀV^{\\i}L
    sensitivity    Σ_c |σ(f + Δf) − σ(f)|   by (sᵀσ'(f + Δf) y_j)(eᵀy_j)/κ_j,  s the signs
    left-out loss  ℓ(f + Δf)               by (e(f + Δf)ᵀy_j)(eᵀy_j)/κ_j

Rows are drawn independently, each with its probability `q_j`: the variance is `Σ_j (1 − q_j) change_j²` [Horvitz &
Thompson 1952; Efron 1982], and rows that were drawn for certain add nothing to it. Along some directions only,
`y_j` is known along these, and what the others add to the error is added (`directions.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.sampled.covariance import Cavities, Cavity
from memorymaps.nets.sampled.directions import Data, Directions
from memorymaps.nets.sampled.measures import Removal


@dataclass(frozen=True)
class Estimates:
    """Of a batch, in the order of `MEASURES`: `value [3, n]`, `deleted [3, n, m]` its change where one drawn row is
    deleted, times `√(1 − q)`; `bias [3, n]`, removed already; `left_out [3, n]` the error of directions that are left
    out; the variance without each example, `cavity [n, c, c]`, and with it, `variance`.
    """

    cavity: Tensor
    variance: Tensor
    value: Tensor
    deleted: Tensor
    bias: Tensor
    left_out: Tensor

    @property
    def standard_error(self) -> Tensor:
        """`[3, n]`."""
        return (self.deleted.square().sum(-1).double() + self.left_out.square()).sqrt()


def estimates(
    likelihood: Likelihood,
    data: Data,
    cavity: Cavity,
    basis: Tensor,
    source: Cavities,
    directions: Directions,
) -> Estimates:
    """The cavity form's leverage, sensitivity and left-out loss with what the draw of the rows leaves open.

    `data` are `f [n, c]`, targets, `w [n]`, in double precision; `cavity` is along `basis [n, c, r]`.
    """
    f, y, w = data
    whole = directions.completed(cavity.variance, basis)
    found = Removal.of(likelihood, f, y, w, whole)
    value = found.value(likelihood, y, w)
    ahead = torch.matmul(likelihood.mean_jacobian(found.new_outputs).mT, found.change.sign()[..., None])[..., 0]
    gain = w[:, None] if likelihood.weights_are_precisions else torch.ones_like(w)[:, None]
    turned = torch.stack([ahead, gain * likelihood.error(found.new_outputs, y), found.error], dim=2)
    dtype = cavity.moves.dtype
    along, back, pulled = torch.matmul(torch.matmul(basis.mT, turned).mT.to(dtype), cavity.moves).unbind(1)
    inner = torch.matmul(basis.mT, torch.matmul(found.root, found.kept))
    shrunk = torch.matmul(torch.matmul(inner, inner.mT).to(dtype), cavity.moves)
    changes = torch.stack([(shrunk * cavity.moves).sum(1), along * pulled, back * pulled])
    variance = whole - torch.matmul(torch.matmul(found.loaded, found.kept), found.loaded.mT)
    deleted = changes * ((1 - source.q).sqrt().to(dtype) / cavity.kept)
    left_out = directions.uncertainty(likelihood, data, basis, value)
    return Estimates(whole, (variance + variance.mT) / 2, value, deleted, (changes @ source.bias).double(), left_out)
