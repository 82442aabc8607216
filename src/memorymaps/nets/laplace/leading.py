"""Variances of training examples along their error and the leading directions of their `Λ`, the others completed.

`V` along an orthonormal basis `D [c, r]` of the error and of the leading eigenvectors of `Λ` beside it takes `r`
reverse passes instead of `c`; what it lacks follows from the mean variance of some examples whose `V` is computed whole
(`covariance/completion.py`). Each example has as many directions as leave at most `τ` of `tr Λ` outside, with one `τ`
for all, the largest that the same examples admit: what `Λ` does not see of `V` changes no mean. It does change the
outputs, and the error of their deviations `V e` is stated beside those of leverages and means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.autograd.batch_size import BatchSize, linearize, to_numpy
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.covariance.completion import Completion, mean_variance
from memorymaps.nets.laplace.posterior import NetworkPosterior, build_posterior
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals

_TOLERANCE = 0.05  # relative error of leverages and of first-order changes of the mean that few directions may add
_WORTHWHILE = 0.5  # of all outputs: with more directions than that on average all C × C are computed
_SHRINK, _STEPS = 0.8, 60  # of τ, from the mean trace on
_FEWEST_ROWS, _MOST_ROWS = 32, 256  # examples of one number of directions that are processed together
_TINY = 1e-150

MakePosterior = Callable[[LaplaceProblem, Any, Description], NetworkPosterior]


@dataclass(frozen=True, kw_only=True)
class LeadingNetworkPosterior(NetworkPosterior):
    """A network posterior whose training examples' `V` are along few directions each, `ranks` of them by id, and
    otherwise as in their `mean_variance [c, c]`.

    New inputs, and training examples whose id is not there, have all `C × C`.
    """

    ranks: Mapping[Any, int] = field(repr=False)
    mean_variance: Tensor = field(repr=False)

    @property
    def capabilities(self) -> Capabilities:
        """Those of every network, with variances of training examples along their own directions."""
        return replace(super().capabilities, training_marginals=self.training_marginals)

    def training_marginals(self, batch: Batch) -> Marginals:
        """`f [n, c]` and `V [n, c, c]`, along as many directions as each example needs."""
        c = self.problem.num_outputs
        ranks = np.array([self.ranks.get(name, c) for name in batch.ids.tolist()])
        f, variance = np.empty((len(ranks), c)), np.empty((len(ranks), c, c))
        with evaluation_mode(self.network.module), self._error_context():
            for rank, rows in _together(ranks):
                f[rows], variance[rows] = self._along(batch, rows, rank)
        return Marginals(f, variance)

    def _along(self, batch: Batch, chosen: Array, rank: int) -> tuple[Array, Array]:
        y = self.problem.target(batch)[torch.as_tensor(chosen, device=self.network.device)]

        def work(x: Any, rows: slice) -> tuple[Tensor, Tensor]:
            bases: list[Tensor] = []

            def directions(f: Tensor, _: slice) -> Tensor:
                bases.append(leading_basis(self.likelihood, f.double(), y[rows])[0][..., :rank])
                return bases[0].permute(2, 0, 1)

            seen = linearize(self.network, self.problem.owners, x, rows, directions)
            return seen.f, Completion.of(bases[0], self.mean_variance).whole(self.covariance.variance(seen, rank))

        size = self.problem.batch_size.size * (self.problem.num_outputs + 2) // (rank + 2)  # fewer cotangents are held
        found = BatchSize(min(size, _MOST_ROWS)).run(take_rows(batch.inputs, chosen), work)
        f, variance = map(torch.cat, zip(*found, strict=True))
        return to_numpy(f), to_numpy(variance)


def _together(ranks: Array) -> Iterator[tuple[int, Array]]:
    """Positions of the same number of directions; those of too few examples have that of the next."""
    waiting = np.zeros(len(ranks), dtype=bool)
    for rank in np.unique(ranks):
        waiting |= ranks == rank
        if np.sum(waiting) >= _FEWEST_ROWS or rank == ranks.max():
            yield int(rank), np.flatnonzero(waiting)
            waiting[:] = False


def leading_basis(likelihood: Likelihood, f: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal `D [n, c, c]`: the error, of length one, and the eigenvectors of `Λ` orthogonal to it in descending
    order; and what of `tr Λ` is outside the first `r` columns, `[n, c + 1]` for `r = 0, …, c`.

    Where the error is zero, all columns are eigenvectors of `Λ`.
    """
    error, curvature = likelihood.error(f, y), likelihood.curvature(f, y)
    size = error.norm(dim=1, keepdim=True)
    has_error = size > _TINY
    first = torch.where(has_error, error / size.clamp(min=_TINY), 0.0)[..., None]
    image = torch.matmul(curvature, first)
    rest = curvature - image @ first.mT - first @ image.mT + (first.mT @ image) * first @ first.mT
    trace = curvature.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)
    scaled = (rest + rest.mT) / (2 * trace.clamp(min=_TINY)[..., None])  # its eigenvalues are at most one
    vectors = torch.linalg.eigh(scaled + 2 * first @ first.mT).eigenvectors.flip(-1)  # the error is the first
    values = trace * (vectors * torch.matmul(scaled, vectors)).sum(1).clamp(min=0)
    basis = torch.cat([torch.where(has_error[..., None], first, vectors[..., :1]), vectors[..., 1:]], dim=-1)
    outside = values.sum(1, keepdim=True) - values.cumsum(1)
    return basis, torch.cat([trace, outside.clamp(min=0)], dim=1)


@dataclass(frozen=True)
class OutputCurvature:
    """Of every training example: its id, `tr(wΛ) [N]`, and what of `tr Λ` is outside `1, …, c` directions, `[N, c]`."""

    ids: list[Any]
    trace: Tensor
    outside: Tensor

    @classmethod
    def of(cls, problem: LaplaceProblem) -> OutputCurvature:
        """One forward pass over the data."""
        found = [part for batch in problem.examples for part in _output_curvature(problem, batch)]
        ids, trace, outside = zip(*problem.ranks.gathered(found), strict=True)
        return cls([name for each in ids for name in each], torch.cat(trace), torch.cat(outside))

    def ranks(self, limit: float) -> Tensor:
        """The fewest directions `[N]` of each example that leave at most `limit` of its `tr Λ` outside."""
        return _ranks(self.outside, limit)


def _output_curvature(problem: LaplaceProblem, batch: Batch) -> Iterator[tuple[list[Any], Tensor, Tensor]]:
    likelihood, y, weight = problem.network.likelihood, problem.target(batch), problem.weights(batch)

    def work(x: Any, rows: slice) -> tuple[list[Any], Tensor, Tensor]:
        with torch.no_grad():
            f = problem.network.outputs(problem.network.to_device(x)).double()
        outside = leading_basis(likelihood, f, y[rows])[1]
        return batch.ids[rows].tolist(), (weight[rows] * outside[:, 0]).cpu(), outside[:, 1:].cpu()

    return problem.batch_size.run(batch.inputs, work)


def along_leading_directions(curvature: OutputCurvature, places: Tensor, share: Tensor) -> MakePosterior:
    """Makes the posterior with as many directions as the training examples at `places`, each of which stands for
    `share [n]` of all, show to be needed, or the usual one.
    """

    def make(problem: LaplaceProblem, covariance: PosteriorCovariance, description: Description) -> NetworkPosterior:
        with evaluation_mode(problem.network.module):
            few = _few_enough(problem, covariance, problem.examples.take(places.numpy()), share)
        ranks = curvature.ranks(few.limit)
        mean = float(ranks.double().mean())
        if mean > _WORTHWHILE * problem.num_outputs:
            return build_posterior(problem, covariance, description, problem.options.directions)
        note = (
            f"Variances along {mean:.1f} directions of an example's {problem.num_outputs} outputs on average, its "
            f"error and the leading ones of its Λ: relative error beside all C × C, on {len(places)} examples, of "
            f"leverages {few.leverage:.1%}, of changes of the mean {few.change:.1%}; of the column 'deviation', whose "
            f"outputs that Λ does not see are only estimated, {few.deviation:.1%}. directions=0: all C × C."
        )
        described = replace(description, notes=(*description.notes, note), deviation_error=few.deviation)
        named = dict(zip(curvature.ids, ranks.tolist(), strict=True))
        return LeadingNetworkPosterior(problem, covariance, described, ranks=named, mean_variance=few.mean_variance)

    return make


@dataclass(frozen=True)
class _FewDirections:
    """`τ`, the relative errors that so few directions add, and `V̄ [c, c]`."""

    limit: float
    leverage: float
    change: float
    deviation: float
    mean_variance: Tensor


def _few_enough(
    problem: LaplaceProblem, covariance: PosteriorCovariance, batch: Batch, share: Tensor
) -> _FewDirections:
    likelihood, y, c = problem.network.likelihood, problem.target(batch), problem.num_outputs
    f, whole = _all_outputs(problem, covariance, batch)
    (basis, outside), share = leading_basis(likelihood, f, y), share.to(f)
    outside = outside[:, 1:]
    mean = mean_variance(whole, share)
    grams = [basis[..., :r].mT @ whole @ basis[..., :r] for r in range(1, c + 1)]
    completed = (Completion.of(basis[..., : len(g[0])], mean).whole(g) for g in grams)
    by_rank = [_first_order(likelihood, f, y, each) for each in completed]
    exact = _first_order(likelihood, f, y, whole)
    for limit in (*(float(outside[:, 0].mean()) * _SHRINK**step for step in range(_STEPS)), 0.0):
        at = (_ranks(outside, limit) - 1, torch.arange(len(f), device=f.device))
        found = [torch.stack(each)[at] for each in zip(*by_rank, strict=True)]
        errors = [_relative_error(a, b, share) for a, b in zip(found, exact, strict=True)]
        if max(errors[:2]) <= _TOLERANCE:
            break
    return _FewDirections(limit, errors[0], errors[1], errors[2], mean)


def _ranks(outside: Tensor, limit: float) -> Tensor:
    """The fewest directions that leave at most `limit` outside; all where every number leaves more."""
    return (1 + (outside > limit).sum(1)).clamp(max=outside.shape[1])


def _relative_error(found: Tensor, exact: Tensor, share: Tensor) -> float:
    """`√Σ share ‖found − exact‖²` in parts of `√Σ share ‖exact‖²`."""
    off, size = (share @ each.flatten(1).square().sum(1) for each in (found - exact, exact))
    return float((off / size.clamp(min=_TINY)).sqrt())


def _all_outputs(problem: LaplaceProblem, covariance: PosteriorCovariance, batch: Batch) -> tuple[Tensor, Tensor]:
    """`f [n, c]` and all of `V [n, c, c]`."""

    def work(x: Any, rows: slice) -> tuple[Tensor, Tensor]:
        seen = linearize(problem.network, problem.owners, x, rows, lambda f, _: one_hot_directions(f))
        return seen.f.double(), covariance.variance(seen, problem.num_outputs)

    f, variance = map(torch.cat, zip(*problem.batch_size.run(batch.inputs, work), strict=True))
    return f, variance


def _first_order(likelihood: Likelihood, f: Tensor, y: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`tr(ΛV) [n, 1]`, the change of the mean `ΛVe [n, c]` and the deviation `Ve [n, c]`, for weights of one."""
    curvature = likelihood.curvature(f, y)
    leverage = (curvature * variance).sum((1, 2))[:, None]
    deviation = torch.matmul(variance, likelihood.error(f, y)[..., None])
    return leverage, torch.matmul(curvature, deviation)[..., 0], deviation[..., 0]
