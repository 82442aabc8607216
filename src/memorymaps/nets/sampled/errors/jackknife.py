"""Standard errors and bias of a map that rests on drawn rows: a jackknife over rows, in closed form.

Deleting drawn row `j` changes the cavity variance of an example by `y_j y_jᵀ/κ_j` (`sampled_covariance`), and to first
order its

    leverage       tr C(I + C)⁻¹           by ‖(I + C)⁻¹Lᵀ y_j‖²/κ_j,    C = LᵀV^{\\i}L
    sensitivity    Σ_c |σ(f + Δf) − σ(f)|   by (sᵀσ'(f + Δf) y_j)(eᵀy_j)/κ_j,  s the signs
    left-out loss  ℓ(f + Δf)               by (e(f + Δf)ᵀy_j)(eᵀy_j)/κ_j

Rows are drawn independently, each with its probability `q_j`, and weights are those given their number: the variance is
`Σ_j (1 − q_j)(change_j − m)² d/(d − 1)`, `m` the mean of `d` changes by `1 − q` [Hájek 1964; Efron 1982]; rows that
were drawn for certain add nothing to it. Along some directions only, `y_j` is known along these and follows from them
along the others; what these add to the error is added (`directions.py`).

With fewer than two rows for each effective parameter the draw is not all: the bias that the weights leave is removed,
and the truth was between the values with and without it (benchmarks), so that half of their distance is a standard
error; and where rows are so few that they determine only a part `1 − r` of the effective parameters which they stand
for, `r²/2` of the value is added, `r` the covariance's shortfall. An example whose gradients no drawn row shares has
nearly its prior variance, a part `ρ` of it near one; the row of another one like it, which would reduce its value by a
part of about its leverage `h`, may not have been drawn: where its own rows have the probability `q`, `ρ²(1 − q)h/2` of
the value is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.sampled.covariance import Cavities, Cavity
from memorymaps.nets.sampled.directions import Data, Directions
from memorymaps.nets.sampled.measures import Removal, cavity_measures, magnitudes
from memorymaps.nets.sampled.rows.sampling import FEWEST_OPEN, effective_count

_TINY = 1e-300
UNSURE = 0.5  # of a removed bias counts as a standard error: two lead back to the value with the bias


@dataclass(frozen=True)
class Estimates:
    """Of a batch, in the order of `MEASURES`: `value [3, n]`, `deleted [3, n, m]` its change where one drawn row is
    deleted, less the mean of these, times `√(1 − q)`; `bias [3, n]` by which it would differ if no bias had been
    removed; `left_out [3, n]` the error of directions that are left out, `undetermined [3, n]` that of parameters which
    no drawn row determines and of projecting the rows; the variance without each example, `cavity [n, c, c]`, and with
    it, `variance`.
    """

    cavity: Tensor
    variance: Tensor
    value: Tensor
    deleted: Tensor
    bias: Tensor
    left_out: Tensor
    undetermined: Tensor

    @property
    def standard_error(self) -> Tensor:
        """`[3, n]`: of the draw, half of a bias that was removed, of directions and parameters that are left out.

        Infinite where it is no number: of a rate that overflows without the example.
        """
        draw = self.deleted.square().sum(-1).double()
        parts = draw + (UNSURE * self.bias).square() + self.left_out.square() + self.undetermined.square()
        return parts.sqrt().nan_to_num(nan=math.inf, posinf=math.inf)


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
    completion = directions.completion(basis)
    whole = completion.whole(cavity.variance)
    found = Removal.of(likelihood, f, y, w, whole)
    value = found.value(likelihood, y, w)
    ahead = torch.matmul(likelihood.mean_jacobian(found.new_outputs).mT, found.change.sign()[..., None])[..., 0]
    gain = w[:, None] if likelihood.weights_are_precisions else torch.ones_like(w)[:, None]
    turned = torch.stack([ahead, gain * likelihood.error(found.new_outputs, y), found.error], dim=2)
    dtype = cavity.moves.dtype
    along, back, pulled = torch.matmul(
        torch.matmul(completion.regression.mT, turned).mT.to(dtype), cavity.moves
    ).unbind(1)
    inner = torch.matmul(completion.regression.mT, torch.matmul(found.root, found.kept))
    shrunk = torch.matmul(torch.matmul(inner, inner.mT).to(dtype), cavity.moves)
    changes = torch.stack([(shrunk * cavity.moves).sum(1), along * pulled, back * pulled])
    deleted = _centred(changes * ((1 - source.q).sqrt().to(dtype) / cavity.kept), source.q)
    others = found.added_leverage(completion.others(cavity.variance))
    left_out = directions.uncertainty(likelihood, data, basis, value, others)
    bias = _bias(likelihood, data, completion.whole(cavity.variance + cavity.removed), value, source)
    within = torch.matmul(basis.mT, found.root)
    own, before = ((within * torch.matmul(each, within)).sum((1, 2)) for each in (cavity.variance, cavity.prior))
    outside = (own / before.clamp(min=_TINY)).square() * (1 - cavity.chance) * value[0].clamp(max=1)
    undetermined = _undetermined(source, magnitudes(likelihood, data, value), UNSURE * outside)
    return Estimates(whole, found.with_example(whole), value, deleted, bias, left_out, undetermined)


def _centred(deleted: Tensor, q: Tensor) -> Tensor:
    """`√(1 − q_j)(change_j − m) √(d/(d − 1)) [3, n, m]` from `√(1 − q_j) change_j`, in place: their number is given.

    `m` is a mean of `d` rows, those that are not certain; of fewer than two nothing is known of it, and they stay.
    """
    count = effective_count(1 - q)
    if count < FEWEST_OPEN:
        return deleted
    part = (1 - q).sqrt()
    part = (part / part.norm()).to(deleted.dtype)
    return deleted.addcmul_((deleted @ part)[..., None], part, value=-1).mul_(math.sqrt(count / (count - 1)))


def _undetermined(source: Cavities, size: Tensor, outside: Tensor) -> Tensor:
    """`[3, n]`: `r²/2` of the measures' `size` and the part `outside [n]` of it, what rows that were not drawn and what
    projecting the rows changes.
    """
    undrawn = size.new_tensor(source.undrawn)[:, None]
    found = torch.hypot(torch.hypot(undrawn, torch.full_like(undrawn, UNSURE * source.shortfall**2)), outside) * size
    if source.projected is None:
        return found
    return torch.hypot(found, size.new_tensor(source.projected.spread)[:, None] * source.projected.scale_of_error(size))


def _bias(likelihood: Likelihood, data: Data, plain: Tensor, value: Tensor, source: Cavities) -> Tensor:
    """`[3, n]`: what the measures are with the `plain` variances, from which no bias was removed, less `value`."""
    if not bool(source.bias.any()):
        return torch.zeros_like(value)
    return cavity_measures(likelihood, *data, plain) - value
