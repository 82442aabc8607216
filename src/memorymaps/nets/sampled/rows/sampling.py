"""Which rows of the weighted Jacobian are drawn, and with what weight each stands for those that are not.

Every row `j` is drawn on its own with probability `q_j = min(1, t s_j)` [Poisson sampling]. One uniform number a row,
the same for every `t`, decides: a larger sample contains a smaller one, whatever the batches [permanent random
numbers, Ohlsson 1995]. For the sizes `s` see `leverages.py`; for exact leverage scores Alaoui & Mahoney 2015.

How many rows are drawn is a matter of chance, too, and says nothing of the rows: with a tenth more than expected all
weights `1/q` together are a tenth too large. Weights and errors are those given that number [Hájek 1964].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

FEWEST_OPEN = 2.0  # rows that are not certain, as equal ones, from which a mean of theirs is known
_STREAM = 20261130  # beside the seed, as users make data with `default_rng(0)`
_CLIPPED = 0.2  # part of q below which the denominator of a debiased weight does not fall
_ROUNDS = 4  # of the weights' fixed point
_MOST_ODDS = 1000.0  # logarithm of the odds, that a number of rows drawn may change
_SETTLED = 0.01  # relative change of a weight from which none follows


def probabilities(size: Tensor, rows: float) -> Tensor:
    """`q = min(1, t s)` with `Σ q = rows`; ones for every row of a size above zero where that are no more than `rows`.

    `size [R]` is not negative. Where all are zero the first row is drawn for certain: it adds nothing.

    Examples
    --------
    >>> probabilities(torch.tensor([6.0, 1.0, 1.0, 0.0]), 2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    there = size > 0
    if not bool(there.any()):
        there = torch.arange(len(size), device=size.device) == 0
    if rows >= int(there.sum()):
        return there.to(size)
    ordered = size.sort(descending=True).values
    left = ordered.flip(0).cumsum(0).flip(0)  # the sum of a row and all smaller ones
    capped = torch.arange(len(size), device=size.device)
    scale = (rows - capped) / left.clamp(min=torch.finfo(size.dtype).tiny)  # t, with so many rows drawn for certain
    fits = (scale * ordered <= 1) & (scale > 0)
    return (size * scale[int(fits.to(torch.uint8).argmax())]).clamp(max=1)


def given_count(q: Tensor, count: int) -> Tensor:
    """`λq/(1 − q + λq)`, of the sum `count`: the probabilities of rows drawn on their own, given how many were drawn.

    To first order in the inverse of the number of rows [conditional Poisson sampling, Hájek 1964]. Rows of probability
    zero or one keep it; where all others were drawn, theirs is one; where none was, all keep theirs.

    Examples
    --------
    >>> given_count(torch.tensor([1.0, 0.25, 0.25, 0.25, 0.25]), 3).tolist()
    [1.0, 0.5, 0.5, 0.5, 0.5]
    """
    open_rows = (q > 0) & (q < 1)
    some, wanted = torch.logit(q[open_rows].double()), count - int((q == 1).sum())
    if wanted <= 0:
        return q
    if wanted >= len(some):
        return (q > 0).to(q)
    log_odds = brentq(lambda x: float(torch.sigmoid(x + some).sum()) - wanted, -_MOST_ODDS, _MOST_ODDS)
    found = q.clone()
    found[open_rows] = torch.sigmoid(log_odds + some).to(q.dtype)
    return found


def effective_count(open_part: Tensor) -> float:
    """`(Σ c)²/Σ c²`, `c = 1 − q`: of how many equal rows a mean weighted by `c` is; zero where all are certain.

    Examples
    --------
    >>> effective_count(torch.tensor([0.5, 0.5, 0.0]))
    2.0
    """
    squares = float(open_part.square().sum())
    return float(open_part.sum()) ** 2 / squares if squares > 0 else 0.0


def given_weight(q: Tensor) -> Tensor:
    """`1 − (1 − q)/d`, `d` the effective count of `1 − q`: the part of a debiased weight given how many were drawn.

    Each row's chance adds `(1 − q) a aᵀ/q` to the variance of `S̃`, of which a part of `1/d` is that of their number: it
    is none of the bias. Equal rows have none at all. One where of fewer than two rows a mean is known.

    Examples
    --------
    >>> given_weight(torch.tensor([0.0, 0.0, 1.0])).tolist()
    [0.5, 0.5, 1.0]
    """
    count = effective_count(1 - q)
    return torch.ones_like(q) if count < FEWEST_OPEN else 1 - (1 - q) / count


def uniform_numbers(count: int, seed: int) -> Tensor:
    """One number in `[0, 1)` a row, the same for every sample that is drawn with this seed; not those of `default_rng`
    with it, by which data, weights or subsets may have been made.
    """
    return torch.as_tensor(np.random.default_rng([seed, _STREAM]).random(count))


def drawn(q: Tensor, numbers: Tensor) -> Tensor:
    """Places of the rows that are drawn, in ascending order; the one nearest to it where none is."""
    found = torch.nonzero(numbers < q).flatten()
    return found if len(found) else torch.where(q > 0, numbers / q, torch.inf).argmin()[None]


def log_determinant(lower: Tensor, q: Tensor, weights: Tensor, kept: Tensor) -> float:
    """`log det (I + A D⁻¹Aᵀ)` of all rows from those drawn: `log det K + Σ_drawn [log(1 + g)/q − log(1 + W g)]`.

    `K = L Lᵀ`, `kept` the diagonal of `K⁻¹`, `1/(1 + W g)`. Row by row, its part over its draw, `q log(1 + W g)`, is
    replaced by that of a row held with weight one; `g` is the same before and after where `W` is the debiased weight.
    """
    gain = 1 / kept - 1  # W g
    parts = torch.log1p(gain / weights) / q - torch.log1p(gain)
    return 2 * float(lower.diagonal().log().sum()) + float(parts.sum())


def debiased_weights(q: Tensor, kept: Callable[[Tensor], Tensor]) -> Tensor:
    """Weights `W = c/(q − g(1 − q))` under which `S̃⁻¹`, not only `S̃`, is right on average to first order.

    `g_j = a_jᵀS̃_{−j}⁻¹a_j` is what a drawn row meets in the rest: `kept(W) = 1/(1 + W g)`. With `W = 1/q` the sum is
    unbiased and its inverse too large [Jensen]; averaging one row's rank-one update over its draw and asking for that
    of a row held with weight one gives `W`, but for `c`, as their number is given (`given_weight`). It needs `q_j`
    above the row's own leverage `g/(1 + g)`; below, the denominator is held at a part of `q`. Sampled inverses:
    Dereziński et al. 2020; Niu et al. 2025.
    """
    weight, part = 1 / q, given_weight(q)
    for _ in range(_ROUNDS if bool((q < 1).any()) else 0):
        last, g = weight, (1 / kept(weight) - 1) / weight
        weight = part / torch.maximum(q - g * (1 - q), _CLIPPED * q)
        if bool(((weight / last - 1).abs() <= _SETTLED).all()):
            break
    return weight
