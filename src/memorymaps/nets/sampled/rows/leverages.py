"""Rows drawn by their leverage, as far as a first, small sample tells it.

The trace `t` of a row's curvature knows nothing of gradients: not of inputs that only a few confident examples have
(`Λ` small, `J` large), and where `Λ` is constant (regression) of nothing. A first sample by the trace determines what
many examples share. By it, without the example's own rows and without the three drawn rows `r` that matter most to the
example, a row has the gain `g = aᵀS̃_{−i−r}⁻¹a` and the leverage `h = g/(1 + g)`, that of the prior where at most three
drawn rows are like it. Half of the draw follows the trace and half `h`:

    s_ij = t_ij/Σt + h_ij/Σh

so that no row's probability is less than half of what either alone would give it, however rough the first sample is
[a first sample: Cohen, Musco & Musco 2017; Rudi et al. 2018; a mixture: Hesterberg 1995]. It costs a reverse pass for
each of an example's `k` rows. Where that is too much, one along a combination of them with random signs, whose gain is
that of all together on average [Hutchinson 1990]; three quarters of it are shared in proportion to their traces, the
rest equally.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.curvature.structure import root_directions
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import FIRST, SampledCost, cost_of
from memorymaps.nets.sampled.covariance import Cavities
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.work import PassWork

_FEWEST = 32  # rows of a first sample that is worth it
_ALIKE = 3  # drawn rows that an example's gain is found without, beside its own
_EQUAL = 0.25  # of a combination's gain, shared equally by the rows it stands for (chosen by measuring)
_SIGN_BIT = 2.0**24  # of the numbers that decide the draw, one that says next to nothing of them
_TINY = 1e-300


def drawn_by_leverage(pool: RowPool, work: PassWork, most: float) -> tuple[RowPool, PassWork]:
    """The same pool with sizes by trace and leverage, and what they took counted in the `work`; as it was where there
    are few rows or not even a small sample takes at most so many multiplications.
    """
    first = _affordable(cost_of(pool.problem, pool.kinds, work), work, pool.k, most)
    if first is None or first.rows >= pool.total:
        return pool, work
    cavities = pool.covariance(first.rows, pool.problem.prior).cavities(torch.float64)
    gains = torch.cat(pool.problem.ranks.gathered(list(_gains(pool, cavities, first.along))))
    work = replace(work, before=work.before + first.multiplications, reads=work.reads + 1)
    return replace(pool, size=_sizes(pool.size.view(-1, pool.k), gains), measure="curvature and leverage"), work


class _First(NamedTuple):
    """A first sample of so many `rows`, by which examples have their gains `along` so many directions."""

    rows: int
    along: int
    multiplications: float


def _affordable(cost: SampledCost, work: PassWork, k: int, most: float) -> _First | None:
    """The usual number of rows along all of an example's `k` directions, or along one; else fewer rows along one."""
    rows, along = FIRST, k
    while rows >= _FEWEST:
        found = _First(rows, along, _multiplications(cost, work, rows, along))
        if cost.fits(rows) and found.multiplications <= most:
            return found
        rows, along = (rows, 1) if along > 1 else (rows // 2, 1)
    return None


def _multiplications(cost: SampledCost, work: PassWork, rows: int, along: int) -> float:
    """Of the first sample, and of all examples along so many directions by it."""
    product = cost.product if along > 1 else work.product * cost.pair
    products = cost.n * rows * (along * (product + rows + work.entry) + _ALIKE * rows)
    return cost.drawing(rows) + work.of_passes(cost.n, along) + products


def _sizes(traces: Tensor, gains: Tensor) -> Tensor:
    """`[N·k]` from traces `[N, k]` and gains, `[N, k]` or of all rows of an example `[N, 1]`; zero where `t` is."""
    if gains.shape != traces.shape:
        part = traces / traces.sum(1, keepdim=True).clamp(min=_TINY)
        gains = gains * (part + _EQUAL * (1 / traces.shape[1] - part))
    leverage = torch.where(traces > 0, 1 / (1 + 1 / gains), 0)
    return (_parts(traces) + _parts(leverage)).flatten()


def _parts(size: Tensor) -> Tensor:
    return size / size.sum().clamp(min=_TINY)


def _gains(pool: RowPool, cavities: Cavities, along: int) -> Iterator[Tensor]:
    """`aᵀS̃_{−i−r}⁻¹a [n, along]` of each example's rows, or of their combination, batch by batch."""
    problem = pool.problem
    start = problem.ranks.part(len(problem.examples)).start
    for batch in problem.examples:
        positions = torch.arange(start, start + len(batch))
        signs = None if along == pool.k else _signs(pool, positions).to(problem.network.device)
        work = functools.partial(_gain, problem, cavities, batch, positions, signs)
        yield torch.cat(list(problem.batch_size.run(batch.inputs, work)))
        start += len(batch)


def _signs(pool: RowPool, positions: Tensor) -> Tensor:
    """`±1 [k, n]`, the same for a row whatever the batches."""
    bits = (pool.numbers.view(-1, pool.k)[positions] * _SIGN_BIT).floor() % 2
    return (2 * bits - 1).T


def _gain(
    problem: LaplaceProblem,
    cavities: Cavities,
    batch: Batch,
    positions: Tensor,
    signs: Tensor | None,
    x: Any,
    part: slice,
) -> Tensor:
    roots = root_directions(problem, batch, problem.weights(batch))

    def directions(f: Tensor, rows: slice) -> Tensor:
        found = roots(f, rows)
        return found if signs is None else (signs[:, rows, None].to(found) * found).sum(0, keepdim=True)

    seen = linearize(problem.network, problem.owners, x, part, directions)
    here = positions[part].to(seen.f.device)
    return torch.cat([_without_alike(cavities, own, cross, here[some]) for some, own, cross in cavities.products(seen)])


def _without_alike(cavities: Cavities, own: Tensor, cross: Tensor, positions: Tensor) -> Tensor:
    """Variances `[n, r]` with their bias, without own rows and the drawn rows that reduce them most."""
    found = cavities.without_alike(own, cross, positions, _ALIKE)
    return (found.variance + found.removed).diagonal(dim1=1, dim2=2).clamp(min=0).cpu()
