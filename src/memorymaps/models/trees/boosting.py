"""Boosted trees with their structure fixed: a sequence of Newton steps on leaf values, as plain data.

The leaf of each example in each tree is read from the library; all leaf values are computed from the targets.
Iteration `t` adds one tree for each of `c` outputs, from the gradients `e = ∇_f ℓ` at the current outputs:

    θ_l = −η G_l / D_l,    G_l = Σ_{i∈l} w_i e_i,    D_l = Σ_{i∈l} w_i a Λ_i + λ,    f ← f + θ_{l(i)}

with learning rate `η`, ridge `λ` and the factor `a` by which the library scales the diagonal of `Λ`. A base value that
the library estimates, `g⁻¹(mean y)`, is treated as one more step before the first iteration. With row subsampling the
sums run over the rows drawn in the iteration; the outputs of all rows are updated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Poisson


@dataclass(frozen=True)
class FixedStructureBoosting:
    """A boosted ensemble on its `n` training examples; splits are fixed, leaf values are functions of the targets.

    Attributes
    ----------
    leaves : `[n, T, c]`, leaf of each example in each tree, numbered from 0 without gaps.
    target, weight : `[n]`; the weights used in training, 0 for examples of an early-stopping validation set.
    likelihood : of unit dispersion; its `error` and `information` are the gradients and curvatures of training.
    learning_rate, ridge : `η` and `λ`.
    base : fixed initial outputs, a number or `[c]`; `None`: estimated, the link of the weighted mean target.
    curvature_factor : `a`, the library's factor on the curvature in its denominators.
    max_step : largest `|G_l/D_l|` that the library allows.
    drawn : `[n, T]`, True where the row subsample of an iteration contains the example; `None`: no subsampling.
    zero_trees : `[T, c]`, True for trees without a split whose value is 0 whatever the targets are; `None`: none.
    leaf_ridge : `[P]`, added to `λ` for each leaf value, in the order of `leaf_indices`; `None`: nothing is.
    """

    leaves: Array
    target: Array
    weight: Array
    likelihood: Likelihood
    learning_rate: float
    ridge: float
    base: Array | None = None
    curvature_factor: float = 1.0
    max_step: float = np.inf
    drawn: Array | None = None
    zero_trees: Array | None = None
    leaf_ridge: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(n, T, c)`."""
        n, trees, c = self.leaves.shape
        return n, trees, c

    @cached_property
    def first_leaf(self) -> Array:
        """Index of each tree's first leaf among all leaf values, `[T, c]`; indices 0 … c − 1 are the base values."""
        counts = self.leaves.max(axis=0).astype(np.int64).ravel() + 1
        c = self.shape[2]
        return (c + np.concatenate([[0], np.cumsum(counts)[:-1]])).reshape(-1, c)

    @cached_property
    def num_leaf_values(self) -> int:
        """`P`: number of leaf values, base values included."""
        return int(self.first_leaf[-1, -1] + self.leaves[:, -1, -1].max() + 1)

    def leaf_indices(self, rows: Array | slice = slice(None)) -> Array:
        """Index of each example's leaf in each tree among all `P`: `[rows, 1 + T, c]`, the base value first."""
        tree = self.leaves[rows] + self.first_leaf
        base = np.broadcast_to(np.arange(self.shape[2]), (len(tree), 1, self.shape[2]))
        return np.concatenate([base, tree], axis=1)

    def iteration_weights(self, t: int) -> Array:
        """Weights `[n]` in iteration `t`, 0 for examples outside its row subsample."""
        return self.weight if self.drawn is None else self.weight * self.drawn[:, t]

    def curvature(self, t: int, f: Array) -> Array:
        """Change of minus the gradient with the outputs `f` before iteration `t`, `w Λ [n, c, c]`."""
        return self.iteration_weights(t)[:, None, None] * self.likelihood.curvature(f, self.target)

    def curvature_diagonal(self, t: int, f: Array) -> Array:
        """Diagonals of `curvature`, `[n, c]`."""
        return self.iteration_weights(t)[:, None] * self.likelihood.fisher_diagonal(f, self.target)

    def ridge_of_tree(self, t: int, k: int) -> Array | float:
        """`λ` of each leaf of one tree, or of all of them."""
        if self.leaf_ridge is None:
            return self.ridge
        start = self.first_leaf[t, k]
        return self.ridge + self.leaf_ridge[start : start + int(self.leaves[:, t, k].max()) + 1]

    def newton_step(self, t: int, f: Array) -> tuple[Array, Array]:
        """Leaf values `θ [P_t]` of iteration `t` from the outputs `f [n, c]` before it, and step sizes `η/D [P_t]`."""
        w, per_output = self.iteration_weights(t)[:, None], []
        error = w * self.likelihood.error(f, self.target)
        information = w * self.curvature_factor * self.likelihood.fisher_diagonal(f, self.target)
        for k, leaf in enumerate(self.leaves[:, t].T):
            if self.zero_trees is not None and self.zero_trees[t, k]:
                per_output.append((np.zeros(1), np.zeros(1)))
                continue
            denominator = _sum_per_leaf(leaf, information[:, k]) + self.ridge_of_tree(t, k)
            per_output.append(_leaf_values(self, _sum_per_leaf(leaf, error[:, k]), denominator))
        values, steps = (np.concatenate(column) for column in zip(*per_output, strict=True))
        return values, steps


@dataclass(frozen=True)
class MultiOutputTreeBoosting(FixedStructureBoosting):
    """Boosting with one tree for all outputs in each iteration and the full matrix `Λ` in the denominators (CatBoost).

    `θ_l = −η D_l⁻¹ G_l`, `D_l = Σ_{i∈l} w_i Λ_i + λI [c, c]`; `leaves` are the same for all outputs.
    """

    def newton_step(self, t: int, f: Array) -> tuple[Array, Array]:
        """Leaf values `[P_t]`, output by output, and step matrices `η D⁻¹ [c, c, leaves]`."""
        w, leaf, c = self.iteration_weights(t), self.leaves[:, t, 0], self.shape[2]
        leaf_sum = leaf_indicators(leaf, int(leaf.max()) + 1, w).T
        gradient = leaf_sum @ self.likelihood.error(f, self.target)
        curvature = leaf_sum @ self.likelihood.curvature(f, self.target).reshape(len(f), c * c)
        denominator = curvature.reshape(-1, c, c) + self.ridge * np.eye(c)
        steps = self.learning_rate * np.linalg.inv(denominator)
        values = -(steps @ gradient[..., None])[..., 0]
        return values.T.ravel(), np.moveaxis(steps, 0, -1)


@dataclass(frozen=True)
class BoostingRefit:
    """Leaf values refitted on fixed leaves: `θ [P]`, step sizes of each iteration (0 where `max_step` is active).

    `staged_outputs [T + 1, n, c]`: outputs before each iteration, and after the last.
    """

    values: Array
    step_blocks: Sequence[Array]
    staged_outputs: Array

    @cached_property
    def steps(self) -> sparse.csr_array:
        """Block-diagonal `η/D [P, P]`, one block for the base values, then one for each iteration."""
        return sparse.block_diag([step_matrix(block) for block in self.step_blocks], format="csr")

    @property
    def f(self) -> Array:
        """Final outputs `[n, c]`."""
        return self.staged_outputs[-1]


def step_matrix(steps: Array) -> sparse.sparray:
    """Step sizes `[P_t]`, or `[c, c, leaves]` for coupled outputs, as a sparse matrix `[P_t, P_t]`."""
    if steps.ndim == 1:
        return sparse.diags_array(steps)
    return sparse.block_array([[sparse.diags_array(block) for block in row] for row in steps])


def refit_leaf_values(model: FixedStructureBoosting) -> BoostingRefit:
    """Recompute leaf values and outputs from the targets, with the leaf of every example fixed.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> stump = np.array([0, 0, 1])[:, None, None]
    >>> y = np.array([1.0, 3.0, 8.0])
    >>> model = FixedStructureBoosting(stump, y, np.ones(3), Gaussian(), learning_rate=1.0, ridge=0.0)
    >>> refit_leaf_values(model).f[:, 0]
    array([2., 2., 8.])
    """
    n, trees, c = model.shape
    base, slope = _base_values(model)
    values, step_blocks = [base], [slope]
    staged_outputs = np.empty((trees + 1, n, c))
    staged_outputs[0] = base
    for t in range(trees):
        theta, step = model.newton_step(t, staged_outputs[t])
        values.append(theta)
        step_blocks.append(step)
        staged_outputs[t + 1] = (
            staged_outputs[t] + theta[model.leaves[:, t] + (model.first_leaf[t] - model.first_leaf[t, 0])]
        )
    return BoostingRefit(np.concatenate(values), step_blocks, staged_outputs)


def _sum_per_leaf(leaf: Array, x: Array) -> Array:
    return np.bincount(leaf, x, minlength=int(leaf.max()) + 1)


def _leaf_values(model: FixedStructureBoosting, gradient: Array, denominator: Array) -> tuple[Array, Array]:
    """`θ` and step size `η/D`; zero step for an empty leaf and where `max_step` is active."""
    step = np.divide(model.learning_rate, denominator, out=np.zeros_like(denominator), where=denominator > 1e-30)
    theta, bound = -step * gradient, model.learning_rate * model.max_step
    return np.clip(theta, -bound, bound), np.where(np.abs(theta) > bound, 0.0, step)


def _base_values(model: FixedStructureBoosting) -> tuple[Array, Array]:
    """Base values `[c]`, and step sizes `1/Σ w Λ [c]` if they are estimated, 0 if they are fixed."""
    c = model.shape[2]
    if model.base is not None:
        return np.broadcast_to(np.asarray(model.base, dtype=float), (c,)), np.zeros(c)
    mean = model.weight @ model.likelihood.encode(model.target, c) / model.weight.sum()
    value = _link(model.likelihood)(mean)
    categorical = isinstance(model.likelihood, Categorical)
    slope = mean if categorical else model.likelihood.fisher_diagonal(value[None], model.target[:1])[0]
    return value, 1 / np.maximum(model.weight.sum() * slope, 1e-300)


def _link(likelihood: Likelihood) -> Callable[[Array], Array]:
    """The link function `mean → f` of a likelihood."""
    if isinstance(likelihood, Categorical):
        return lambda mean: np.log(np.maximum(mean, 1e-300))
    if isinstance(likelihood, Bernoulli):
        return lambda mean: np.log(mean / (1 - mean))
    if isinstance(likelihood, Poisson):
        return lambda mean: np.log(mean)
    return lambda mean: mean


def without_examples(model: FixedStructureBoosting, rows: Array) -> FixedStructureBoosting:
    """The ensemble with the weights of some examples set to zero: deletion with the tree structure fixed."""
    weight = model.weight.copy()
    weight[rows] = 0.0
    return dataclasses.replace(model, weight=weight)


def sum_leaf_values(model: FixedStructureBoosting, values: Array, rows: Array) -> Array:
    """Outputs `[rows, c, g]` of some examples, for `g` sets of leaf values `[P, g]`."""
    leaf_indices = model.leaf_indices(rows)
    return np.stack([values[leaf_indices[:, :, k]].sum(axis=1) for k in range(model.shape[2])], axis=1)


def leaf_indicators(leaf: Array, width: int, weight: Array | None = None) -> sparse.csr_array:
    """Sparse indicator matrix `M [n, width]`: 1, or the weight, at `(i, leaf[i])`, for `leaf [n]` or `[n, t]`."""
    table = leaf.reshape(len(leaf), -1)
    data = np.ones(table.size, np.float32) if weight is None else np.repeat(weight, table.shape[1])
    pointers = np.arange(0, table.size + 1, table.shape[1])
    return sparse.csr_array((data, table.ravel(), pointers), shape=(len(leaf), width))
