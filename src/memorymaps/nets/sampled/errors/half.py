"""What rows that were not drawn may change: half of the drawn rows beside all of them.

A jackknife deletes rows that were drawn. Where a few examples decide a direction of the parameters and none of their
rows was drawn, deleting others changes nothing. A sample of half the size is part of the drawn one [permanent random
numbers, Ohlsson 1995], so that for it some rows that were not drawn are known. With its values `x'` and standard errors
`s'` beside `x` and `s`, what it did not state is beyond two standard errors,

    spread    the 95 % quantile over examples of √(|x' − x|²/4 − s'²)/max(|x'|, |x|),  times r
    of_loss   |Σ sign(x' − x)√(|x' − x|² − 4 s'²)|,  times r;                         r² = Σ s²/Σ s'² ≤ 1

both where the root is of a positive number, and `r` how errors fall from half of the rows to all. Both are zero where
the stated errors hold. Where a value overflows, nothing is known: an example counts with the most there can be, a half.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.sampled.covariance import Cavities, Cavity, SampledCovariance
from memorymaps.nets.sampled.rows.pool import HalfSample

_COVERED = 0.95  # of the examples are within two standard errors
_MOST = 0.5  # of the larger value is the most that half of the rows can be off by beyond its errors
_TINY = 1e-300


@dataclass(frozen=True)
class AllAndHalf:
    """The training examples' posteriors by `all` drawn rows and by the `half` of them at `places`.

    Products are made once: those with the half are columns, times `scale`, the root of the ratio of weights.
    """

    all: Cavities
    half: Cavities
    places: Tensor
    scale: Tensor

    @classmethod
    def by(cls, covariance: SampledCovariance, sample: HalfSample) -> AllAndHalf:
        """The same by the rows of a sample of half the size.

        Its errors are of the draw alone, as if no row were missing (`chance` one): what they lack is looked for.
        """
        places, q = sample
        weights, lower = covariance.weights[places], covariance.gram.cholesky_factor[places]
        matrix = lower @ lower.T  # I + √W A D⁻¹Aᵀ √W
        matrix.diagonal().sub_(1)
        matrix /= weights.sqrt()[:, None] * weights.sqrt()
        owners = covariance.owners[places]
        found = SampledCovariance.of_products(
            covariance.gram.prior, (), matrix, owners, q, torch.ones_like(covariance.chance)
        )
        half = replace(found, projected=covariance.projected).cavities(torch.float64)
        whole = replace(covariance, undrawn=found.undrawn).cavities(torch.float64)
        return cls(whole, half, places, (found.weights / weights).sqrt())

    def of(self, batch: LinearizedBatch, positions: Tensor) -> Iterator[tuple[slice, tuple[Cavity, Cavity]]]:
        """The examples at `positions [n]` of the training data, some at a time: by all rows and by half."""
        for part, own, cross in self.all.products(batch):
            some = cross[:, self.places] * self.scale
            yield part, (self.all.cavity(own, cross, positions[part]), self.half.cavity(own, some, positions[part]))


@dataclass(frozen=True)
class UndrawnRows:
    """What a map does not see of rows that were not drawn: so many times the size of each measure, `spread`, and of the
    sum of left-out losses so much, `of_loss`.
    """

    spread: tuple[float, ...]
    of_loss: float

    @classmethod
    def of(cls, half: Tensor, found: Tensor, share: Tensor) -> UndrawnRows:
        """By half of the rows and by all, `[3, 3, n]` or more: values, their standard errors and their sizes
        (`magnitudes`); every example stands for `share [n]`.
        """
        off, stated = (half[0] - found[0]).abs(), half[1]
        size = torch.maximum(half[2], found[2]).clamp(min=_TINY)
        beyond = ((off.square() / 4 - stated.square()).clamp(min=0).sqrt() / size).nan_to_num(nan=_MOST)
        squares = (each[1].square() @ share for each in (found, half))
        fall = _ratio(*squares).sqrt().nan_to_num(nan=1.0).clamp(max=1)
        spread = torch.quantile(beyond, _COVERED, dim=1) * fall
        unstated = (half[0] - found[0]).sign() * (off.square() - 4 * stated.square()).clamp(min=0).sqrt()
        return cls(tuple(spread.cpu().tolist()), abs(float(unstated[2] @ share)) * float(fall[2]))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole == 0, 0, part / whole.clamp(min=_TINY))
