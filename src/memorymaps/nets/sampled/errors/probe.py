"""The map's errors, found on a few hundred training examples before the map is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import PRECISION_EXAMPLES, PROBE_EXAMPLES
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.directions import Data, Directions
from memorymaps.nets.sampled.errors.example_estimates import estimated, left_out_posteriors
from memorymaps.nets.sampled.errors.half import AllAndHalf, UndrawnRows
from memorymaps.nets.sampled.errors.jackknife import UNSURE, Estimates, estimates
from memorymaps.nets.sampled.errors.leverage_excess import excess
from memorymaps.nets.sampled.errors.stated import Stated
from memorymaps.nets.sampled.measures import magnitudes
from memorymaps.nets.sampled.rows.pool import HalfSample

_TINY = 1e-300


@dataclass(frozen=True)
class Probed:
    """The errors of a map, its directions as found on examples that have all of them, and so many times the size of
    each measure that rows which were not drawn may change (`half.py`), and the part of the leverages that no drawn row
    stands for (`leverage_excess.py`).
    """

    stated: Stated
    directions: Directions
    undrawn: tuple[float, ...]
    excess: float


@dataclass(frozen=True)
class Probe:
    """Training examples that errors are averaged over, by their rows' sizes; each stands for `share [n]` of them."""

    positions: Array
    share: Tensor

    @classmethod
    def of(cls, size: Tensor, seed: int) -> Probe:
        """All where there are few, else some with replacement; `size [N]` sums those of an example's rows."""
        n = len(size)
        if n <= PROBE_EXAMPLES:
            return cls(np.arange(n), torch.ones(n, dtype=torch.float64))
        chance = (size + size.mean()).numpy()
        chance = chance / chance.sum() if chance.sum() > 0 else np.full(n, 1 / n)
        places = np.sort(np.random.default_rng([seed, 1]).choice(n, PROBE_EXAMPLES, p=chance))
        return cls(places, torch.as_tensor(1 / (PROBE_EXAMPLES * chance[places])))

    def state(
        self,
        problem: LaplaceProblem,
        covariance: SampledCovariance,
        directions: Directions,
        half: HalfSample,
    ) -> Probed:
        """The errors of a map by this covariance along these directions, and what half of the rows says of them."""
        found = self._without(problem, AllAndHalf.by(covariance, half))
        along = problem.network.likelihood, found.data, found.cavity, found.places, found.share
        calibrated, left_out = directions.calibrated(*along)
        undrawn = UndrawnRows.of(found.by_half, found.by_all, found.share)
        beyond = excess(found.by_all[0, 0], found.share, covariance)
        stated = found.stated(left_out, undrawn, beyond, covariance.shortfall)
        return Probed(stated, calibrated, undrawn.spread, beyond)

    def _without(self, problem: LaplaceProblem, sources: AllAndHalf) -> _Examples:
        """The examples, each seen from the posterior without it, along all of their outputs."""
        likelihood, whole, pieces = problem.network.likelihood, Directions.all_of(problem), []
        places = torch.as_tensor(self.positions, device=problem.network.device)
        batch, share = problem.examples.take(self.positions), self.share.to(places.device)
        for here, data, basis, (cavity, cavity_by_half) in left_out_posteriors(problem, sources, batch, places, whole):
            found = estimates(likelihood, data, cavity, basis, sources.all, whole)
            half = estimates(likelihood, data, cavity_by_half, basis, sources.half, whole)
            values, by_half = (_numbers(likelihood, data, each) for each in (found, half))
            deleted = share[here] @ found.deleted[2]
            pieces.append(_Examples(places[here], share[here], data, found.cavity, values, by_half, deleted))
        return _Examples.joined(pieces)

    def rounding(self, problem: LaplaceProblem, covariance: SampledCovariance, directions: Directions) -> float:
        """What single precision changes of leverage, sensitivity and left-out loss, relative; the most of the three."""
        step, device = max(1, len(self.positions) // PRECISION_EXAMPLES), problem.network.device
        positions, share, values = self.positions[::step], self.share[::step].to(device), []
        batch, places = problem.examples.take(positions), torch.as_tensor(positions, device=device)
        for dtype in (torch.float64, torch.float32):
            found = estimated(problem, covariance.cavities(dtype), batch, places, directions)
            here, value = zip(*((here, each.value) for here, _, each in found), strict=True)
            values.append(torch.cat(value, dim=1)[:, torch.cat(here).argsort()])
        exact, off = values[0], values[1] - values[0]
        return float(((off.square() @ share) / (exact.square() @ share).clamp(min=_TINY)).sqrt().max())


@dataclass(frozen=True)
class _Examples:
    """Training examples at `places [n]`, each standing for `share [n]` of them: their `data`, the variance without each
    of them, `cavity [n, c, c]`; of leverage, sensitivity and left-out loss, by all drawn rows and by half of them,
    `[5, 3, n]`, values, their standard errors, sizes, removed biases, and what no row determines; and what deleting
    each row changes in the sum of left-out losses, `deleted [m]`.
    """

    places: Tensor
    share: Tensor
    data: Data
    cavity: Tensor
    by_all: Tensor
    by_half: Tensor
    deleted: Tensor

    @classmethod
    def joined(cls, pieces: list[_Examples]) -> _Examples:
        """All of them."""
        return cls(
            torch.cat([each.places for each in pieces]),
            torch.cat([each.share for each in pieces]),
            tuple(map(torch.cat, zip(*(each.data for each in pieces), strict=True))),
            torch.cat([each.cavity for each in pieces]),
            torch.cat([each.by_all for each in pieces], dim=2),
            torch.cat([each.by_half for each in pieces], dim=2),
            torch.stack([each.deleted for each in pieces]).sum(0),
        )

    def stated(self, left_out: Tensor, undrawn: UndrawnRows, beyond: float, shortfall: float) -> Stated:
        """Relative errors, with those of directions that are left out `[3, n]`, of rows that were not drawn, and of
        `beyond`, the part by which values may be too large as no drawn row stands for it.

        Where no drawn row determines a part `r` of the effective parameters, the truth is between `1 − r` of a value
        and all of it: the error `r²/2` of the value is stated as one of the middle by ratio, `√(1 − r)` of it.
        """
        value, error, _, bias, undetermined = self.by_all
        square, loss = ((each @ self.share).clamp(min=_TINY) for each in (value[:2].square(), value[2]))
        lacking, less = UNSURE * shortfall**2, math.sqrt(max(_TINY, 1 - shortfall))
        relative = (error[:2].square() + left_out[:2].square()) @ self.share / square + lacking**2 * (less**-2 - 1)
        relative += relative.new_tensor(undrawn.spread[:2]).square() + beyond**2
        of_loss = torch.stack([left_out[2], UNSURE * bias[2], undetermined[2] / less]) @ self.share
        too_large = beyond * float(self.by_all[2, 2] @ self.share)
        together = math.hypot(float(self.deleted.norm()), *of_loss.cpu().tolist(), undrawn.of_loss, too_large)
        removed = ((bias[:2] * value[:2]) @ self.share / square).cpu().tolist()
        return Stated(
            (*relative.sqrt().cpu().tolist(), together / float(loss)),
            (*removed, float(bias[2] @ self.share / loss)),
        )


def _numbers(likelihood: Likelihood, data: Data, found: Estimates) -> Tensor:
    """`[5, 3, n]`: values, standard errors, sizes, biases and what no row determines."""
    size = magnitudes(likelihood, data, found.value)
    return torch.stack([found.value, found.standard_error, size, found.bias, found.undetermined])
