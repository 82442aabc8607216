"""Prediction variances of boosted trees, example by example: each is pushed, and the recursion is run to its end.

The recursion of `leaf_variance` with one column a push: exact as the leaf space is, at `O((nc)² T)` however many leaves
there are. It is the way for long ensembles of few examples, and knows coupled steps and row subsampling.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError
from memorymaps.models.trees.boosting import BoostingRefit, FixedStructureBoosting, leaf_indicators, step_matrix
from memorymaps.models.trees.boosting_variance import can_be_sampled, leaf_space_variance

_BLOCK_ELEMENTS = 2**21  # numbers in a block of pushes
_MAX_SECONDS = 120  # seconds that pushes may take
_MAX_LEAF_VALUES = 12_000  # leaf values of the leaf space: a matrix of 1.2 GB


def fastest_exact_variance(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`V_ii [n, c, c]` by pushes or in leaf space, whichever is faster.

    Raises
    ------
    DataError
        Too much work for both.
    """
    n, trees, c = model.shape
    pushes, leaf_space = (
        15e-9 * float(n * c) ** 2 * trees,
        2e-11 * float(model.num_leaf_values) ** 3,
    )  # seconds, measured
    if pushes < min(leaf_space, _MAX_SECONDS):
        return tangent_variance(model, refit)
    if model.num_leaf_values <= _MAX_LEAF_VALUES:
        return leaf_space_variance(model, refit)
    way = "use BoostedTrees(probes=32)" if can_be_sampled(model) else "refit with fewer trees or leaves"
    raise DataError(
        f"exact leverage of {model.num_leaf_values:,} leaf values takes {8e-9 * model.num_leaf_values**2:.0f} GB, or {pushes:,.0f} s: {way}"
    )


def tangent_variance(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`V_ii [n, c, c]`, symmetrised.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> from memorymaps.models.trees.boosting import replay
    >>> stump = np.array([0, 0, 1])[:, None, None]
    >>> model = Boosting(stump, np.array([1.0, 3.0, 8.0]), np.ones(3), Gaussian(), rate=1.0, ridge=0.0)
    >>> pushed_variance(model, replay(model))[:, 0, 0]
    array([0.5, 0.5, 1. ])
    """
    n, _, c = model.shape
    block_size = max(1, _BLOCK_ELEMENTS // (n * c * c))
    blocks = [_diagonal_blocks(model, refit, np.arange(i, min(i + block_size, n))) for i in range(0, n, block_size)]
    variance = np.concatenate(blocks)
    return (variance + variance.swapaxes(1, 2)) / 2


def _diagonal_blocks(model: FixedStructureBoosting, refit: BoostingRefit, rows: Array) -> Array:
    """`V_jj [rows, c, c]`: what pushing output `b` of example `j` in every iteration does to its outputs `a`."""
    n, trees, c = model.shape
    m, eye = len(rows), np.eye(c)
    x = np.tile((np.asarray(refit.step_blocks[0])[:, None] * eye)[:, None], (1, m, 1))[None] * np.ones((n, 1, 1, 1))
    for t in range(trees):
        curvature = model.iteration_weights(t)[:, None, None] * model.likelihood.curvature(
            refit.staged_outputs[t], model.target
        )
        pull = -(curvature @ x.reshape(n, c, m * c)).reshape(n, c, m, c)
        drawn = np.ones(m) if model.drawn is None else model.drawn[rows, t].astype(float)
        pull[rows, :, np.arange(m)] += drawn[:, None, None] * eye
        x += _iteration_tangent(model, t, step_matrix(refit.step_blocks[t + 1]), pull.reshape(n, c, m * c)).reshape(
            x.shape
        )
    return x[rows, :, np.arange(m)]


def _iteration_tangent(model: FixedStructureBoosting, t: int, steps: sparse.sparray, pull: Array) -> Array:
    """What iteration `t` adds to the outputs: pulls summed in leaves, times its steps, `[n, c, k]`."""
    own = [leaf_indicators(leaf, int(leaf.max()) + 1).astype(float) for leaf in model.leaves[:, t].T]
    leaf_tangents = steps @ np.concatenate([each.T @ pull[:, k] for k, each in enumerate(own)])
    starts = np.cumsum([0, *(each.shape[1] for each in own)])
    return np.stack(
        [each @ leaf_tangents[start : start + each.shape[1]] for each, start in zip(own, starts[:-1], strict=True)],
        axis=1,
    )
