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
from memorymaps.nets.sampled.cost import PROBED, ROUNDED
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.directions import Data, Directions
from memorymaps.nets.sampled.errors.example_estimates import estimated, left_out
from memorymaps.nets.sampled.errors.half import AllAndHalf, UndrawnRows
from memorymaps.nets.sampled.errors.jackknife import UNSURE, Estimates, estimates
from memorymaps.nets.sampled.errors.stated import Stated
from memorymaps.nets.sampled.measures import magnitudes

_TINY = 1e-300


@dataclass(frozen=True)
class Probed:
    """The errors of a map, its directions as found on examples that have all of them, and so many times the size of
    each measure that rows which were not drawn may change (`half.py`).
    """

    stated: Stated
    directions: Directions
    undrawn: tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """Training examples over which errors are averaged, drawn by curvature; each stands for `share [n]` of them."""

    positions: Array
    share: Tensor

    @classmethod
    def of(cls, size: Tensor, seed: int) -> Probe:
        """All where there are few, else some with replacement; `size [N]` is the examples' curvature."""
        n = len(size)
        if n <= PROBED:
            return cls(np.arange(n), torch.ones(n, dtype=torch.float64))
        chance = (size + size.mean()).numpy()
        chance = chance / chance.sum() if chance.sum() > 0 else np.full(n, 1 / n)
        places = np.sort(np.random.default_rng([seed, 1]).choice(n, PROBED, p=chance))
        return cls(places, torch.as_tensor(1 / (PROBED * chance[places])))

    def state(
        self,
        problem: LaplaceProblem,
        covariance: SampledCovariance,
        directions: Directions,
        half: tuple[Tensor, Tensor],
    ) -> Probed:
        """The errors of a map by this covariance along these directions, beside the rows of a sample of half the size:
        their places among those drawn, and their probabilities.

        Where no drawn row determines a part `r` of the effective parameters, the truth is between `1 − r` of a value
        and all of it: the error `r²/2` of the value is stated as one of the middle by ratio, `√(1 − r)` of it.
        """
        likelihood, whole = problem.network.likelihood, Directions.all_of(problem)
        places = torch.as_tensor(self.positions, device=problem.network.device)
        share, sources = self.share.to(places.device), AllAndHalf.by(covariance, *half)
        pieces, pairs, each = [], [], []
        batch = problem.examples.take(self.positions)
        for here, data, basis, cavities in left_out(problem, sources, batch, places, whole):
            both = zip(cavities, (sources.all, sources.half), strict=True)
            one, other = (estimates(likelihood, data, cavity, basis, source, whole) for cavity, source in both)
            pieces.append(_sums(one, share[here]))
            pairs.append(torch.stack([_stated(likelihood, data, found) for found in (other, one)]))
            each.append((here, *data, one.cavity))
        here, f, y, w, cavity = map(torch.cat, zip(*each, strict=True))
        calibrated, off = directions.calibrated(likelihood, (f, y, w), cavity, places[here], share[here])
        by_half, found = torch.cat(pairs, dim=3)
        undrawn = UndrawnRows.of(by_half, found, share[here])
        square, error, bias, loss = (torch.stack(each).sum(0).cpu() for each in zip(*pieces, strict=True))
        square, mean = square.clamp(min=_TINY), loss[0].clamp(min=_TINY)
        lacking, less = UNSURE * sources.all.shortfall**2, math.sqrt(max(_TINY, 1 - sources.all.shortfall))
        relative = (error + (off.square() @ share[here]).cpu()[:2]) / square + lacking**2 * (less**-2 - 1)
        relative += torch.tensor(undrawn.spread[:2], dtype=relative.dtype).square()
        together = (float(loss[1:].norm()), float(off[2] @ share[here]), UNSURE * float(bias[2]), float(bias[3]) / less)
        stated = Stated(
            (*relative.sqrt().tolist(), math.hypot(*together, undrawn.of_loss) / float(mean)),
            (*(bias[:2] / square).tolist(), float(bias[2] / mean)),
        )
        return Probed(stated, calibrated, undrawn.spread)

    def rounding(self, problem: LaplaceProblem, covariance: SampledCovariance, directions: Directions) -> float:
        """What single precision changes of leverage, sensitivity and left-out loss, relative; the most of the three."""
        step, device = max(1, len(self.positions) // ROUNDED), problem.network.device
        positions, share, values = self.positions[::step], self.share[::step].to(device), []
        batch, places = problem.examples.take(positions), torch.as_tensor(positions, device=device)
        for dtype in (torch.float64, torch.float32):
            found = estimated(problem, covariance.cavities(dtype), batch, places, directions)
            here, value = zip(*((here, each.value) for here, _, each in found), strict=True)
            values.append(torch.cat(value, dim=1)[:, torch.cat(here).argsort()])
        exact, off = values[0], values[1] - values[0]
        return float(((off.square() @ share) / (exact.square() @ share).clamp(min=_TINY)).sqrt().max())


def _stated(likelihood: Likelihood, data: Data, found: Estimates) -> Tensor:
    """Values, standard errors and sizes, `[3, 3, n]`."""
    return torch.stack([found.value, found.standard_error, magnitudes(likelihood, data, found.value)])


def _sums(found: Estimates, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`Σ x²`, `Σ se²` of leverage and sensitivity; `Σ bias x` of both, of the left-out loss `Σ bias` and what no row
    determines; the sum of that loss, and what the deletion of each row does to it.
    """
    x = found.value[:2]
    bias = torch.cat(
        [(found.bias[:2] * x) @ share, (found.bias[2] @ share)[None], (found.undetermined[2] @ share)[None]]
    )
    loss = torch.cat([(found.value[2] @ share)[None], share @ found.deleted[2]])
    return x.square() @ share, found.standard_error[:2].square() @ share, bias, loss
