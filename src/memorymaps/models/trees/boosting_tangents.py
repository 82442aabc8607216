"""Prediction variances of boosted trees by tangents: one perturbation of the gradient for each example and output.

The recursion of `boosting_variance` with one column for each perturbation; exact, like `leaf_space_variance`, at
`O((nc)² T)` for any number of leaves. Faster for many trees and few examples; coupled outputs and row subsampling are
supported.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError
from memorymaps.models.trees.boosting import BoostingRefit, FixedStructureBoosting, leaf_indicators, step_matrix
from memorymaps.models.trees.boosting_variance import can_be_sampled, leaf_space_variance

_BLOCK_ELEMENTS = 2**21  # elements in a block of tangents
_MAX_SECONDS = 120  # estimated time above which tangents are not used
_MAX_LEAF_VALUES = 12_000  # for leaf_space_variance: a matrix of 1.2 GB


def fastest_exact_variance(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`V_ii [n, c, c]` by `tangent_variance` or `leaf_space_variance`, whichever is faster.

    Raises
    ------
    DataError
        Both are too expensive.
    """
    n, trees, c = model.shape
    size = model.num_leaf_values
    tangents, leaf_space = 15e-9 * float(n * c) ** 2 * trees, 2e-11 * float(size) ** 3  # seconds, measured
    if tangents < min(leaf_space, _MAX_SECONDS):
        return tangent_variance(model, refit)
    if size <= _MAX_LEAF_VALUES:
        return leaf_space_variance(model, refit)
    advice = "use BoostedTrees(probes=32)" if can_be_sampled(model) else "refit with fewer trees or leaves"
    raise DataError(
        f"exact leverage of {size:,} leaf values takes {8e-9 * size**2:.0f} GB, or {tangents:,.0f} s: {advice}"
    )


def tangent_variance(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`V_ii [n, c, c]`, symmetrised, by one tangent for each example and output; exact.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> from memorymaps.models.trees.boosting import refit_leaf_values
    >>> stump, y = np.array([0, 0, 1])[:, None, None], np.array([1.0, 3.0, 8.0])
    >>> model = FixedStructureBoosting(stump, y, np.ones(3), Gaussian(), learning_rate=1.0, ridge=0.0)
    >>> tangent_variance(model, refit_leaf_values(model))[:, 0, 0]
    array([0.5, 0.5, 1. ])
    """
    n, _, c = model.shape
    block_size = max(1, _BLOCK_ELEMENTS // (n * c * c))
    blocks = [_diagonal_blocks(model, refit, np.arange(i, min(i + block_size, n))) for i in range(0, n, block_size)]
    variance = np.concatenate(blocks)
    return (variance + variance.swapaxes(1, 2)) / 2


def _diagonal_blocks(model: FixedStructureBoosting, refit: BoostingRefit, rows: Array) -> Array:
    """`V_jj [rows, c, c]`: derivative of output `a` of example `j` by minus its gradient `b` in all iterations."""
    n, trees, c = model.shape
    m, eye = len(rows), np.eye(c)
    x = np.tile((np.asarray(refit.step_blocks[0])[:, None] * eye)[:, None], (1, m, 1))[None] * np.ones((n, 1, 1, 1))
    for t in range(trees):
        curvature = model.curvature(t, refit.staged_outputs[t])
        gradient = -(curvature @ x.reshape(n, c, m * c)).reshape(n, c, m, c)
        drawn = np.ones(m) if model.drawn is None else model.drawn[rows, t].astype(float)
        gradient[rows, :, np.arange(m)] += drawn[:, None, None] * eye
        steps = step_matrix(refit.step_blocks[t + 1])
        x += _iteration_tangent(model, t, steps, gradient.reshape(n, c, m * c)).reshape(x.shape)
    return x[rows, :, np.arange(m)]


def _iteration_tangent(model: FixedStructureBoosting, t: int, steps: sparse.sparray, gradient: Array) -> Array:
    """Change of the outputs by iteration `t`: gradient tangents summed over leaves, times step sizes, `[n, c, k]`."""
    indicators = [leaf_indicators(leaf, int(leaf.max()) + 1).astype(float) for leaf in model.leaves[:, t].T]
    leaf_tangents = steps @ np.concatenate([m.T @ gradient[:, k] for k, m in enumerate(indicators)])
    starts = np.cumsum([0, *(m.shape[1] for m in indicators)])[:-1]
    tangents = [leaf_tangents[start : start + m.shape[1]] for start, m in zip(starts, indicators, strict=True)]
    return np.stack([m @ tangent for m, tangent in zip(indicators, tangents, strict=True)], axis=1)
