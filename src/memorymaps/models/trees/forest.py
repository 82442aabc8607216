"""Forests with fixed tree structure as linear smoothers `f = Hy`, as plain data.

Tree `t` predicts the weighted mean target of its leaf, with the in-bag weights `b_ti` (draws in its bootstrap sample,
times the example's weight); the forest predicts the average of its `T` trees:

    f_i = Σ_j H_ij y_j,    H_ij = 1/T Σ_t b_tj [j shares leaf t of i] / W_t(i),    W_t(i) = Σ of b_tj over that leaf

So the cavity form `(f_i − H_ii y_i)/(1 − H_ii)` is the average of the other examples' targets with the forest's
weights: the refit without the example for a single tree, and the out-of-bag prediction for trees of unlimited depth.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memorymaps.core.arrays import Array


@dataclass(frozen=True)
class FixedStructureForest:
    """A forest on its `n` training examples; splits are fixed, leaf values are weighted means of targets.

    Attributes
    ----------
    leaves : `[n, T]`, leaf of each example in each tree, numbered from 0.
    bag_weight : `[n, T]`, in-bag weights `b`.
    target : `[n, c]`, class targets one-hot.
    """

    leaves: Array
    bag_weight: Array
    target: Array

    @cached_property
    def first_leaf(self) -> Array:
        """Index of each tree's first leaf among all leaves: `[T]`."""
        counts = self.leaves.max(axis=0).astype(np.int64) + 1
        return np.concatenate([[0], np.cumsum(counts)[:-1]])

    @cached_property
    def leaf_weights(self) -> Array:
        """`W`, total in-bag weight of each leaf: `[P]`."""
        return self.sum_per_leaf(self.bag_weight)

    def leaf_indices(self, rows: Array | slice = slice(None)) -> Array:
        """Index of each example's leaf in each tree among all `P`: `[rows, T]`."""
        return self.leaves[rows] + self.first_leaf

    def sum_per_leaf(self, x: Array) -> Array:
        """`x [n, T]` summed over leaves: `[P]`."""
        return np.bincount(self.leaf_indices().ravel(), x.ravel())

    def leaf_means(self) -> Array:
        """Weighted mean target of each leaf `[P, c]`; NaN for a leaf of weight zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(
                [self.sum_per_leaf(self.bag_weight * y[:, None]) / self.leaf_weights for y in self.target.T], axis=1
            )

    def leverage(self) -> Array:
        """The diagonal `H_ii [n]` of the smoother matrix.

        Examples
        --------
        >>> FixedStructureForest(np.array([[0], [0], [1]]), np.ones((3, 1)), np.zeros((3, 1))).leverage()
        array([0.5, 0.5, 1. ])
        """
        return np.mean(self.bag_weight / self.leaf_weights[self.leaf_indices()], axis=1)

    def outputs(self, values: Array, rows: Array | slice = slice(None)) -> Array:
        """Outputs `[rows, c]`: averages of leaf values `[P, c]` over the trees whose leaf value is not NaN."""
        total, count = 0.0, 0.0
        for index in self.leaf_indices(rows).T:
            value = values[index]
            total = total + np.nan_to_num(value)
            count = count + np.isfinite(value)
        return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=np.asarray(count) > 0)

    def out_of_bag_outputs(self, values: Array) -> Array:
        """Outputs `[n, c]` averaged over the trees that did not draw the example; NaN where all drew it."""
        index, out = self.leaf_indices(), self.bag_weight == 0
        with np.errstate(invalid="ignore"):
            columns = [np.sum(np.where(out, column[index], 0.0), axis=1) / np.sum(out, axis=1) for column in values.T]
        return np.stack(columns, axis=1)

    def out_of_bag_noise(self, values: Array) -> Array:
        """Monte-Carlo variance `[n]`, summed over outputs, of `f_oob − f_refit` over the random draws of the trees.

        A refit keeps the trees that did not draw the example and grows the others again: with a share `q` of drawn
        ones and tree outputs of variance `σ²`, `q²σ²(1/T_oob + 1/T_drawn)`; NaN where one kind is missing.
        """
        index, out = self.leaf_indices(), self.bag_weight == 0
        trees, kept = out.shape[1], np.sum(out, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.out_of_bag_outputs(values)
            squares = sum(
                np.sum(np.where(out, column[index] - mean[:, None], 0.0) ** 2, axis=1)
                for column, mean in zip(values.T, means.T, strict=True)
            )
            spread = squares / (kept - 1)
            return np.asarray((1 - kept / trees) ** 2 * spread * (1 / kept + 1 / (trees - kept)))

    def half_a_vote(self) -> float:
        """Half a vote of the trees that do not draw an example, as a share: of all trees where all draw it.

        A single tree has no votes: its leaf frequencies are counts, which are told from 0 however small.
        """
        trees = self.bag_weight.shape[1]
        out = float(np.mean(np.sum(self.bag_weight == 0, axis=1)))
        return 0.5 / (out if out >= 1 else trees) if trees > 1 else 1e-12

    def out_of_bag_loss_noise(self, share: Array) -> Array:
        """Monte-Carlo variance `[n]` of `−log f_oob`, as `out_of_bag_noise`; `share [n]` of votes for the own class.

        Of a share `p` among `T` votes `(1 − p)/p`, with half a vote more on either side.
        """
        out = self.bag_weight == 0
        trees, kept = out.shape[1], np.sum(out, axis=1)
        p = (share * kept + 0.5) / (kept + 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((1 - kept / trees) ** 2 * (1 - p) / p * (1 / kept + 1 / (trees - kept)))

    def without_examples(self, rows: Array) -> FixedStructureForest:
        """The forest with in-bag weights of some examples set to zero; empty leaves are left out of the average."""
        bag_weight = self.bag_weight.copy()
        bag_weight[rows] = 0.0
        return dataclasses.replace(self, bag_weight=bag_weight)
