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
from memorymaps.nets.sampled.cost import CALIBRATION_EXAMPLES
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.directions import Data, relative_deviation_error
from memorymaps.nets.sampled.errors.example_estimates import estimated
from memorymaps.nets.sampled.measures import Removal, cavity_measures, magnitudes
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
        proportion to the value, of a loss to how far it moves.
        """
        found = dict(super().extra_columns(batch, at))
        return found | {"sampled": self.chosen[self._positions(batch)].cpu().numpy()}

    def _quick(self, batch: Batch, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        likelihood, y, w = self.likelihood, self.problem.target(batch), self.problem.weights(batch)
        f = torch.as_tensor(self.outputs(batch.inputs), device=self.network.device).double()
        without = calibrated(likelihood, f, y, w, self.quick[places], self.calibration)
        removal = Removal.of(likelihood, f, y, w, without)
        size = magnitudes(likelihood, (f, y, w), removal.value(likelihood, y, w))
        return f, removal.with_example(without), size.new_tensor(self.spread)[:, None] * size


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
    """EKFAC of all examples, calibrated on some at random; sampled rows for these and the most sensitive."""
    n, quick = len(problem.examples), _KroneckerEstimates.of(problem)
    positions = np.sort(np.random.default_rng([0, n]).choice(n, min(n, CALIBRATION_EXAMPLES), replace=False))
    random = torch.as_tensor(positions, device=quick.variance.device)
    likelihood, (data, exact, spread) = problem.network.likelihood, _by_rows(problem, base, positions)
    true = cavity_measures(likelihood, *data, exact)
    calibration = Calibration.of(to_numpy(quick.leverage[random]), to_numpy(true[0]))
    chosen = quick.most_sensitive(math.ceil(share * n))
    others = ~chosen[random]
    chosen[random] = True
    without = _by_other_half(likelihood, data, quick.at(random), true[0])
    values = (cavity_measures(likelihood, *data, without), true, magnitudes(likelihood, data, true), spread)
    off = tuple(each[:, others] for each in values)
    all_by_rows = len(positions) == n
    deviation = 0.0 if all_by_rows else relative_deviation_error(likelihood, data, without, exact, others.double())
    errors = _Errors.of(base.description, calibration.spread, off, quick.parts(chosen))
    note = (
        f"{int(chosen.sum()):,} of {n:,} examples by sampled rows (column 'sampled'): the most sensitive by EKFAC, and "
        f"{len(positions)} at random. The others by EKFAC, calibrated on the latter by a monotone fit; leverages it "
        f"was not fitted on are off by {math.expm1(calibration.spread):.0%} (root mean square of logarithms), their "
        f"deviations by {deviation:.0%}."
    )
    described = replace(
        base.description,
        notes=(*base.description.notes, note),
        relative_error=errors.all[0],
        size_errors=(errors.all[1], errors.all[2]),
        deviation_error=math.hypot(base.description.deviation_error or 0.0, deviation),
    )
    return PartlySampledPosterior(
        problem,
        base.covariance,
        described,
        base.directions,
        base.solving,
        base.places,
        quick=quick.variance,
        chosen=chosen,
        calibration=calibration,
        spread=errors.each,
    )


def _by_other_half(likelihood: Any, data: Any, quick: _KroneckerEstimates, leverage: Tensor) -> Tensor:
    """EKFAC's variances without each example, `[n, c, c]`, those of each half calibrated on the other's `leverage`."""
    found, even = torch.empty_like(quick.variance), torch.arange(len(leverage), device=leverage.device) % 2 == 0
    for fitted, seen in ((even, ~even), (~even, even)):
        half = Calibration.of(to_numpy(quick.leverage[fitted]), to_numpy(leverage[fitted]))
        f, y, w = (each[seen] for each in data)
        found[seen] = calibrated(likelihood, f, y, w, quick.variance[seen], half)
    return found


def _by_rows(problem: LaplaceProblem, base: SampledNetworkPosterior, positions: Array) -> tuple[Data, Tensor, Tensor]:
    """Outputs, targets and weights of the examples at these positions, `V^{\\i} [n, c, c]` by sampled rows, and the
    standard errors `[3, n]` of the measures.
    """
    batch, places = problem.examples.take(positions), torch.as_tensor(positions, device=problem.network.device)
    found = list(estimated(problem, base.cavities, batch, places, base.directions))
    order = torch.cat([here for here, *_ in found]).argsort()
    f, y, w = (torch.cat(each)[order] for each in zip(*(data for _, data, _ in found), strict=True))
    errors = torch.cat([each.standard_error for *_, each in found], dim=1)[:, order]
    return (f, y, w), torch.cat([each.cavity for *_, each in found])[order], errors


@dataclass(frozen=True)
class _Errors:
    """Relative errors of leverage, sensitivity and left-out loss: of the others' `each`, and of `all` examples."""

    each: tuple[float, float, float]
    all: tuple[float, float, float]

    @classmethod
    def of(cls, described: Description, spread: float, values: tuple[Tensor, ...], parts: list[float]) -> _Errors:
        """From calibrated and sampled values of the same examples, the sizes of the latter (of a loss how far it moves)
        and their standard errors, `[3, n]` each; those by rows have such `parts` of the squares of leverage and
        sensitivity, and of the number of examples. Errors of the rows are in both. Of the mean left-out loss it is the
        mean difference, with its own standard error.
        """
        found, true, size, deviations = values
        length = size.norm(dim=1).clamp(min=_TINY)
        off, own = ((found - true).norm(dim=1) / length).clamp(min=spread), deviations.norm(dim=1) / length
        of_mean = torch.hypot((found - true).sum(1), (found - true).norm(dim=1)) / true.sum(1).clamp(min=_TINY)
        rows = torch.tensor([described.relative_error or 0.0, *(described.size_errors or (0.0, 0.0))]).to(off)
        left = 1 - torch.tensor(parts).to(off)
        both = torch.cat([left[:2].sqrt() * off[:2], left[2:] * of_mean[2:]])
        return cls(tuple(torch.hypot(own, off).tolist()), tuple(torch.hypot(rows, both).tolist()))


@dataclass(frozen=True)
class _KroneckerEstimates:
    """EKFAC's variances `[N, c, c]`, sensitivities and leverages `[N]` in the cavity form."""

    variance: Tensor
    sensitivity: Tensor
    leverage: Tensor

    @classmethod
    def of(cls, problem: LaplaceProblem) -> _KroneckerEstimates:
        """All examples: a pass over the data beside EKFAC's own."""
        covariance = EKFAC(examples=_FACTORED).fit(problem).build(problem.prior)
        found = [part for batch in problem.examples for part in _quick_batch(problem, covariance, batch)]
        variance, sensitivity, leverage = (torch.cat(each) for each in zip(*problem.ranks.gathered(found), strict=True))
        return cls(variance, sensitivity, leverage)

    def at(self, places: Tensor) -> _KroneckerEstimates:
        """Some examples."""
        return _KroneckerEstimates(self.variance[places], self.sensitivity[places], self.leverage[places])

    def most_sensitive(self, count: int) -> Tensor:
        """Which `[N]` are the most sensitive ones."""
        chosen = torch.zeros(len(self.sensitivity), dtype=torch.bool, device=self.sensitivity.device)
        chosen[self.sensitivity.argsort(descending=True, stable=True)[:count]] = True
        return chosen

    def parts(self, chosen: Tensor) -> list[float]:
        """What those chosen have of the squares of leverage and sensitivity, and of the number of examples."""
        sizes = (self.leverage.square(), self.sensitivity.square(), torch.ones_like(self.leverage))
        return [float(each[chosen].sum() / each.sum().clamp(min=_TINY)) for each in sizes]


def _quick_batch(problem: LaplaceProblem, covariance: Any, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    likelihood, y, w = problem.network.likelihood, problem.target(batch), problem.weights(batch)

    def work(x: Any, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        seen = linearize(problem.network, problem.owners, x, part, lambda f, _: one_hot_directions(f))
        f, variance = seen.f.double(), covariance.variance(seen, seen.f.shape[1]).double()
        change = torch.matmul(variance, (w[part, None] * likelihood.error(f, y[part]))[..., None])[..., 0]
        moved = (likelihood.mean(f + change) - likelihood.mean(f)).abs().sum(-1)
        return variance, moved, cavity_leverage(likelihood, f, y[part], w[part], variance)

    return problem.batch_size.run(batch.inputs, work)
