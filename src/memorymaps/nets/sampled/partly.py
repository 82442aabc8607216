"""Sampled curvature for the most sensitive examples; for all others EKFAC, calibrated on a random part with both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.nets.autograd.batch_size import linearize, to_numpy
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.calibration import Calibration, calibrated, cavity_leverage
from memorymaps.nets.sampled.cost import CALIBRATED
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.posterior import SampledNetworkPosterior, results
from memorymaps.posteriors.contract import Description, Marginals

_TINY = 1e-300
_FACTORED = 8192  # examples that EKFAC's factors are taken from: what they leave open is calibrated


@dataclass(frozen=True, kw_only=True)
class PartlySampledPosterior(SampledNetworkPosterior):
    """`chosen [N]` examples by sampled rows, the others by EKFAC's variances `quick [N, c, c]`, calibrated.

    `spread` are the relative errors of the others' leverage, sensitivity and left-out loss.
    """

    quick: Tensor
    chosen: Tensor
    calibration: Calibration
    spread: tuple[float, float, float]

    def training_marginals(self, batch: Batch) -> Marginals:
        """`f [n, c]` and `V [n, c, c]`, always with `tr(ΛV) < c`.

        Raises
        ------
        DataError
            An id that no training example has.
        """
        with evaluation_mode(self.network.module), self._error_context():
            places = self._positions(batch)
            f, variance, errors = self._quick(batch, places)
            here = torch.nonzero(self.chosen[places]).flatten()
            if len(here):
                part = self.problem.examples.take(places[here].cpu().numpy())
                found = results(self.problem, self.cavities, part, places[here], self.directions)
                variance[here], errors[:, here] = found[1], found[2]
        self._latest[:] = [(batch.ids, to_numpy(errors))]
        return Marginals(to_numpy(f), to_numpy(variance))

    def extra_columns(self, batch: Batch, at: Any) -> Mapping[str, Array]:
        """The standard errors, and `sampled`: whether a row is by sampled curvature. Errors of the other rows are in
        proportion to the value.
        """
        found = dict(super().extra_columns(batch, at))
        return found | {"sampled": self.chosen[self._positions(batch)].cpu().numpy()}

    def _quick(self, batch: Batch, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        likelihood, y, w = self.likelihood, self.problem.target(batch), self.problem.weights(batch)
        f = torch.as_tensor(self.outputs(batch.inputs), device=self.network.device).double()
        variance = calibrated(likelihood, f, y, w, self.quick[places], self.calibration)
        values = _values(likelihood, f, y, w, variance)
        return f, variance, values.new_tensor(self.spread)[:, None] * values


def partly_sampled(
    share: float, whole: Callable[[LaplaceProblem, SampledCovariance, Description], SampledNetworkPosterior]
) -> Callable[[LaplaceProblem, SampledCovariance, Description], PartlySampledPosterior]:
    """Makes the posterior with a `share` of the examples by sampled rows, as `whole` has all of them: those most
    sensitive by EKFAC.
    """

    def make(
        problem: LaplaceProblem, covariance: SampledCovariance, description: Description
    ) -> PartlySampledPosterior:
        with evaluation_mode(problem.network.module):
            return _made(problem, whole(problem, covariance, description), share)

    return make


def _made(problem: LaplaceProblem, base: SampledNetworkPosterior, share: float) -> PartlySampledPosterior:
    n = len(problem.examples)
    quick, score, leverage = _quick_look(problem)
    some = np.sort(np.random.default_rng([0, n]).choice(n, min(n, CALIBRATED), replace=False))
    likelihood, (data, exact) = problem.network.likelihood, _by_rows(problem, base, some)
    true = _values(likelihood, *data, exact)
    calibration = Calibration.of(to_numpy(leverage[some]), to_numpy(true[0]))
    chosen = torch.zeros(n, dtype=torch.bool, device=quick.device)
    chosen[score.argsort(descending=True, stable=True)[: math.ceil(share * n)]] = True
    others = ~chosen[torch.as_tensor(some)]
    chosen[torch.as_tensor(some)] = True
    note = (
        f"{int(chosen.sum()):,} of {n:,} examples by sampled rows (column 'sampled'): the most sensitive by EKFAC, and "
        f"{len(some)} at random. The others by EKFAC, calibrated on the latter by a monotone fit; leverages it was not "
        f"fitted on are off by {math.expm1(calibration.spread):.0%} (root mean square of logarithms)."
    )
    found = _by_other_half(likelihood, data, quick[torch.as_tensor(some)], leverage[some], true)
    values = found[:, others], true[:, others]
    sizes = (leverage.square(), score.square(), chosen.double())
    parts = [float(each[chosen].sum() / each.sum().clamp(min=_TINY)) for each in sizes]
    errors = _Errors.of(base.description, calibration.spread, values, parts)
    described = replace(
        base.description,
        notes=(*base.description.notes, note),
        relative_error=errors.all[0],
        size_errors=errors.all[1:],
    )
    return PartlySampledPosterior(
        problem,
        base.covariance,
        described,
        base.directions,
        base.solving,
        base.places,
        quick=quick,
        chosen=chosen,
        calibration=calibration,
        spread=errors.each,
    )


def _by_other_half(likelihood: Any, data: Any, quick: Tensor, leverage: Tensor, true: Tensor) -> Tensor:
    """Values `[3, n]` of the examples by EKFAC, those of each half calibrated on the other."""
    found, even = torch.empty_like(true), torch.arange(len(quick), device=quick.device) % 2 == 0
    for fitted, seen in ((even, ~even), (~even, even)):
        half = Calibration.of(to_numpy(leverage[fitted]), to_numpy(true[0, fitted]))
        f, y, w = (each[seen] for each in data)
        found[:, seen] = _values(likelihood, f, y, w, calibrated(likelihood, f, y, w, quick[seen], half))
    return found


def _by_rows(
    problem: LaplaceProblem, base: SampledNetworkPosterior, positions: Array
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Outputs, targets and weights of the examples at these positions, and their variances by sampled rows."""
    batch, places = problem.examples.take(positions), torch.as_tensor(positions, device=problem.network.device)
    f, variance, _ = results(problem, base.cavities, batch, places, base.directions)
    return (f, problem.target(batch), problem.weights(batch)), variance


@dataclass(frozen=True)
class _Errors:
    """Relative errors of leverage, sensitivity and left-out loss: of the others' `each`, and of `all` examples."""

    each: tuple[float, float, float]
    all: tuple[float, float, float]

    @classmethod
    def of(cls, described: Description, spread: float, values: tuple[Tensor, Tensor], parts: list[float]) -> _Errors:
        """From calibrated and sampled `values [3, n]` of the same examples; those by rows have such `parts` of the
        squares of leverage and sensitivity, and of the number of examples. Errors of the rows are in both.
        """
        found, true = values
        size = true.square().sum(1).clamp(min=_TINY)
        off = ((found - true).square().sum(1) / size).sqrt().clamp(min=spread)
        of_mean = (found - true).sum(1).abs() / true.sum(1).clamp(min=_TINY)
        rows = torch.tensor([described.relative_error or 0.0, *(described.size_errors or (0.0, 0.0))]).to(off)
        left = 1 - torch.tensor(parts).to(off)
        both = torch.cat([left[:2].sqrt() * off[:2], left[2:] * of_mean[2:]])
        return cls(*(tuple(torch.hypot(rows, each).tolist()) for each in (off, both)))


def _quick_look(problem: LaplaceProblem) -> tuple[Tensor, Tensor, Tensor]:
    """EKFAC's variances `[N, c, c]`, sensitivities and leverages `[N]` in the cavity form; one pass more."""
    covariance = EKFAC(examples=_FACTORED).fit(problem).build(problem.prior)
    found = [part for batch in problem.examples for part in _quick_batch(problem, covariance, batch)]
    variance, score, leverage = (torch.cat(each) for each in zip(*problem.ranks.gathered(found), strict=True))
    return variance, score, leverage


def _quick_batch(problem: LaplaceProblem, covariance: Any, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    likelihood, y, w = problem.network.likelihood, problem.target(batch), problem.weights(batch)

    def work(x: Any, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        seen = linearize(problem.network, problem.owners, x, part, lambda f, _: one_hot_directions(f))
        f, variance = seen.f.double(), covariance.variance(seen, seen.f.shape[1]).double()
        change = torch.matmul(variance, (w[part, None] * likelihood.error(f, y[part]))[..., None])[..., 0]
        moved = (likelihood.mean(f + change) - likelihood.mean(f)).abs().sum(-1)
        return variance, moved, cavity_leverage(likelihood, f, y[part], w[part], variance)

    return problem.batch_size.run(batch.inputs, work)


def _values(likelihood: Any, f: Tensor, y: Tensor, w: Tensor, variance: Tensor) -> Tensor:
    """Leverage, sensitivity and left-out loss `[3, n]` of the cavity form, from `V` with the example in it."""
    curvature = w[:, None, None] * likelihood.curvature(f, y)
    eye = torch.eye(f.shape[1], dtype=f.dtype, device=f.device)
    error = w[:, None] * likelihood.error(f, y)
    pulled = torch.linalg.solve(eye - torch.matmul(curvature, variance), error[..., None])
    moved = f + torch.matmul(variance, pulled)[..., 0]
    change = (likelihood.mean(moved) - likelihood.mean(f)).abs().sum(-1)
    leverage = torch.matmul(curvature, variance).diagonal(dim1=1, dim2=2).sum(-1)
    return torch.stack([leverage, change, likelihood.example_loss(moved, y, w)]).abs()
