"""Rows drawn by their leverage, as far as a first, small sample tells it.

The trace `t` of a row's curvature knows nothing of gradients: not of inputs that only a few confident examples have
(`Λ` small, `J` large), and where `Λ` is constant (regression) of nothing. A first sample by the trace determines what
many examples share. By it, without the example's own rows and without the one drawn row `r` that matters most, a row
has the gain `g = aᵀS̃_{−i−r}⁻¹a` and the leverage `h = g/(1 + g)`, that of the prior where at most one drawn row is like
it. Half of the draw follows the trace and half `h`:

    s_ij = t_ij/Σt + h_ij/Σh

so that no row's probability is less than half of what either alone would give it, however rough the first sample is
[a first sample: Cohen, Musco & Musco 2017; Rudi et al. 2018; a mixture: Hesterberg 1995]. It costs a reverse pass along
each example's leading direction, whose `g/t` stands for its other directions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.curvature.structure import root_directions
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import FIRST, SampledCost, cost_of
from memorymaps.nets.sampled.covariance import Cavities, Cavity
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.work import PassWork

_FEWEST = 32  # rows of a first sample that is worth it
_TINY = 1e-300


def drawn_by_leverage(pool: RowPool, work: PassWork, most: float) -> tuple[RowPool, PassWork]:
    """The same pool with sizes by trace and leverage, and what they took counted in the `work`; as it was where there
    are few rows or not even a small sample takes at most so many multiplications.
    """
    cost = cost_of(pool.problem, pool.kinds, work)
    rows = FIRST
    while rows >= _FEWEST and not (cost.fits(rows) and _multiplications(cost, work, rows) <= most):
        rows //= 2
    if rows < _FEWEST or rows >= pool.total:
        return pool, work
    cavities = pool.covariance(rows, pool.problem.prior).cavities(torch.float64)
    gain = torch.cat(pool.problem.ranks.gathered(list(_gains(pool.problem, cavities))))
    work = replace(work, before=work.before + _multiplications(cost, work, rows), reads=work.reads + 1)
    return replace(pool, size=_sizes(pool.size.view(-1, pool.k), gain), measure="curvature and leverage"), work


def _multiplications(cost: SampledCost, work: PassWork, rows: int) -> float:
    """Of the first sample, and of all examples along one direction by it."""
    products = cost.n * rows * (work.product * cost.pair + rows)
    return cost.drawing(rows) + work.of_passes(cost.n, 1) + products


def _sizes(traces: Tensor, gain: Tensor) -> Tensor:
    """`[N·k]` from traces `[N, k]` and the gain `[N]` of each example's leading row; zero where a trace is."""
    g = traces * (gain / traces.max(1).values.clamp(min=_TINY))[:, None]
    leverage = torch.where(traces > 0, 1 / (1 + 1 / g), 0)
    return (_parts(traces) + _parts(leverage)).flatten()


def _parts(size: Tensor) -> Tensor:
    return size / size.sum().clamp(min=_TINY)


def _gains(problem: LaplaceProblem, cavities: Cavities) -> Iterator[Tensor]:
    """`aᵀS̃_{−i−r}⁻¹a [n]` of each example's leading row, batch by batch."""
    start = problem.ranks.part(len(problem.examples)).start
    for batch in problem.examples:
        work = functools.partial(_gain, problem, cavities, batch, start)
        yield torch.cat(list(problem.batch_size.run(batch.inputs, work)))
        start += len(batch)


def _gain(problem: LaplaceProblem, cavities: Cavities, batch: Batch, start: int, x: Any, part: slice) -> Tensor:
    directions = root_directions(problem, batch, problem.weights(batch))
    seen = linearize(problem.network, problem.owners, x, part, lambda f, rows: _leading(directions(f, rows)))
    positions = torch.arange(start + part.start, start + part.stop, device=seen.f.device)
    return torch.cat([_with_one_less(each) for _, each in cavities.of(seen, positions)]).cpu()


def _with_one_less(cavity: Cavity) -> Tensor:
    """The variance `[n]` along one direction, its bias in it, without the drawn row that reduces it most."""
    plain = (cavity.variance + cavity.removed)[:, 0, 0]
    return plain + (cavity.moves[:, 0].square() / cavity.kept).max(1).values


def _leading(directions: Tensor) -> Tensor:
    """Of directions `[k, n, c]` each example's longest, `[1, n, c]`."""
    longest = directions.square().sum(-1).argmax(0)
    return directions[longest, torch.arange(len(longest), device=longest.device)][None]
