"""Prediction variances of boosted trees: the derivative of an output with respect to minus its own gradient.

Changing the gradient of example `j` by `−u_j` in every iteration changes the outputs by `δf = V u`, a linear recursion
over iterations with the denominators fixed (the Gauss–Newton form of each Newton step):

    δf ← δf − B_t (K_t δf − u),    B_t = η M_t D_t⁻¹ M_tᵀ,    K_t = diag(w Λ at iteration t),    M_t: leaf indicators

For squared error `V w = ∂f/∂y` exactly. With row subsampling `u` and `K_t` are zero outside the rows drawn. Two methods
for the diagonal of `V` (a third is in `boosting_tangents`):

* `leaf_space_variance` in leaf space, `V = M A Mᵀ` with a lower triangular `A⁻¹ = D/η + C`, `C_ts = M_tᵀ K_t M_s` for
  `s < t`: `O(n T²c² + P³)`, for ensembles of up to some thousand leaves.
* `sampled_variance`: the recursion with random inputs. If `x ← (I − B_tK_t) x + B_t u_t + ξ_t` with
  `cov ξ_t = 2B_t − B_tK_tB_t` and perturbations with `cov(u_s, u_t) = K_{max(s,t)}`, then `cov x = V + Vᵀ`: so
  `V_ii = E[x_i²]/2`, with *relative* standard error `√(2/probes)` for every example, at `O(n T)` a probe. Random
  signs on the targets (Hutchinson 1990) have absolute errors instead, many times larger where `h` is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import DataError
from memorymaps.models.trees.boosting import (
    BoostingRefit,
    FixedStructureBoosting,
    MultiOutputTreeBoosting,
    leaf_indicators,
)

_PROBES_PER_BLOCK = 16  # probes computed together: the block fits in the processor's cache
_ROWS_PER_BLOCK = 1024
_MAX_LEVELS = 64  # distinct curvatures in a sampled recursion: each is used for `T // 64` successive iterations


def leaf_space_variance(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`V_ii [n, c, c]` by a dense `[P, P]` inverse over leaf values; exact."""
    response = _leaf_response(model, refit)
    n, _, c = model.shape
    variance = np.zeros((n, c, c))
    for start in range(0, n, _ROWS_PER_BLOCK):
        leaf_indices = model.leaf_indices(slice(start, start + _ROWS_PER_BLOCK))
        for t in range(leaf_indices.shape[1]):
            for k in range(c):
                tangent = response[leaf_indices[:, t, k, None, None], leaf_indices[:, : t + 1]]
                variance[start : start + _ROWS_PER_BLOCK, k] += _restrict_to_sample(model, tangent, start).sum(axis=1)
    return (variance + variance.swapaxes(1, 2)) / 2


def _restrict_to_sample(model: FixedStructureBoosting, tangent: Array, start: int) -> Array:
    """Set `tangent [rows, 1 + stages, c]` to zero for iterations whose row subsample lacks the example."""
    if model.drawn is None:
        return tangent
    rows, stages = len(tangent), tangent.shape[1] - 1
    tangent[:, 1:] *= model.drawn[start : start + rows, :stages, None]
    return tangent


def _leaf_response(model: FixedStructureBoosting, refit: BoostingRefit) -> Array:
    """`A = (I + (η/D) C)⁻¹ η/D [P, P]`: change of leaf values for gradient perturbations summed over leaves."""
    trees = model.shape[1]
    system = np.eye(model.num_leaf_values, order="F")
    leaf_indices = model.leaf_indices()
    for t in range(trees):
        start = int(model.first_leaf[t, 0])
        stop = int(model.first_leaf[t + 1, 0]) if t + 1 < trees else model.num_leaf_values
        steps = refit.steps[start:stop, start:stop]
        coupling = _coupling_block(model, refit.staged_outputs[t], t, leaf_indices[:, : t + 1])
        system[start:stop, :start] += steps @ coupling
    inverse, _ = lapack.dtrtri(system, lower=1, overwrite_c=1)
    return np.ascontiguousarray((refit.steps.T @ inverse.T).T)


def _coupling_block(model: FixedStructureBoosting, f: Array, t: int, before: Array) -> Array:
    """`C_ts = M_tᵀK_tM_s [P_t, P_<t]` for all `s < t`: curvature summed over the intersections of leaves."""
    curvature = model.curvature(t, f)
    blocks, width = [], int(model.first_leaf[t, 0])
    for k, leaf in enumerate(model.leaves[:, t].T):
        indicators = leaf_indicators(leaf, int(leaf.max()) + 1).astype(float)
        blocks.append(
            sum(
                (indicators.T @ leaf_indicators(before[:, :, other], width, curvature[:, k, other])).toarray()
                for other in range(model.shape[2])
            )
        )
    return np.concatenate(blocks)


def sampled_variance(model: FixedStructureBoosting, refit: BoostingRefit, probes: int, seed: int) -> Array:
    """Unbiased estimate of `V_ii [n, c, c]` by random probes, one output at a time: `Λ` between outputs is left out.

    Raises
    ------
    DataError
        Row subsampling, or trees with coupled outputs: the recursion needs one output and all rows in each iteration.
    """
    if not can_be_sampled(model):
        raise DataError(
            "random probes need trees of one output, fitted to every example in every iteration: use "
            "BoostedTrees(probes=None), or fewer trees or leaves"
        )
    rng = np.random.default_rng(seed)
    n, _, c = model.shape
    variance = np.zeros((n, c, c))
    for k in range(c):
        noise = _NoiseRecursion.for_output(model, refit, k)
        for start in range(0, probes, _PROBES_PER_BLOCK):
            variance[:, k, k] += noise.squared_outputs(rng, min(_PROBES_PER_BLOCK, probes - start))
    return np.maximum(variance / (2 * probes), 0.0)


def can_be_sampled(model: FixedStructureBoosting) -> bool:
    """Whether `sampled_variance` applies: no row subsampling, one tree for each output."""
    return model.drawn is None and not isinstance(model, MultiOutputTreeBoosting)


@dataclass(frozen=True)
class _NoiseRecursion:
    """The recursion of one output with random inputs.

    Attributes
    ----------
    leaves, first_leaves : `[1 + T][n]`, and index of the first leaf, of each stage; the base value is stage 0.
    steps, noise_std : `b = η/D` and the standard deviation of the leaf noise, `√(2b − b² Σ K)`, `[P]`.
    curvature, decreases : `w Λ [levels, n]`, constant within a level, and its decrease from each level to the next.
    levels : level of each stage, `[1 + T]`.
    """

    leaves: list[Array]
    first_leaves: list[int]
    steps: Array
    noise_std: Array
    curvature: Array
    decreases: Array
    levels: Array

    @classmethod
    def for_output(cls, model: FixedStructureBoosting, refit: BoostingRefit, k: int) -> _NoiseRecursion:
        """The recursion for output `k`."""
        n, trees, _ = model.shape
        stages_per_level = trees if isinstance(model.likelihood, Gaussian) else max(1, trees // _MAX_LEVELS)
        levels = np.maximum(np.arange(trees + 1) - 1, 0) // stages_per_level
        per_level = [
            model.curvature_diagonal(t, refit.staged_outputs[t])[:, k] for t in range(0, trees, stages_per_level)
        ]
        curvature = np.asarray(per_level, dtype=np.float32)
        decreases = curvature - np.concatenate([curvature[1:], np.zeros_like(curvature[:1])])
        leaves = [np.zeros(n, np.int32), *(model.leaves[:, t, k] for t in range(trees))]
        first_leaves, steps = [k, *model.first_leaf[:, k].tolist()], refit.steps.diagonal().astype(np.float32)
        noise_std = np.zeros_like(steps)
        for stage, (leaf, first_leaf) in enumerate(zip(leaves, first_leaves, strict=True)):
            total = np.bincount(leaf, curvature[levels[stage]])
            block = slice(first_leaf, first_leaf + len(total))
            noise_std[block] = np.sqrt(np.maximum(2 * steps[block] - steps[block] ** 2 * total, 0))
        return cls(leaves, first_leaves, steps, noise_std, curvature, decreases, levels)

    def squared_outputs(self, rng: np.random.Generator, k: int) -> Array:
        """`Σ x² [n]` over `k` probes; where the curvature increases, probes without leaf noise are subtracted."""
        total = self._simulate(np.maximum(self.decreases, 0), rng, k, self.noise_std)
        if np.any(self.decreases < 0):
            total -= self._simulate(np.maximum(-self.decreases, 0), rng, k, np.zeros_like(self.noise_std))
        return total

    def _simulate(self, decreases: Array, rng: np.random.Generator, k: int, noise_std: Array) -> Array:
        """`Σ x² [n]` for `u_t = z Σ_{s≥t} σ_s √decrease_s`, with random signs `σ` of levels and `z` of examples."""
        n = len(self.leaves[0])
        roots, signs, z = np.sqrt(decreases), _random_signs(rng, (len(decreases), k)), _random_signs(rng, (n, k))
        u, x, buffer = z * (roots.T @ signs), np.zeros((n, k), np.float32), np.empty((n, k), np.float32)
        for stage, (leaf, first_leaf) in enumerate(zip(self.leaves, self.first_leaves, strict=True)):
            level = self.levels[stage]
            curvature = self.curvature[level]
            np.subtract(u, np.multiply(curvature[:, None], x, out=buffer), out=buffer)
            update = self._leaf_update(leaf, first_leaf, buffer, noise_std, rng)
            np.add(x, np.take(update, leaf, axis=0, out=buffer, mode="clip"), out=x)
            if stage + 1 < len(self.levels) and self.levels[stage + 1] > level:
                u -= np.multiply(z, roots[level][:, None] * signs[level], out=buffer)
        return np.einsum("nk,nk->n", x, x, dtype=float)

    def _leaf_update(
        self, leaf: Array, first_leaf: int, gradient: Array, noise_std: Array, rng: np.random.Generator
    ) -> Array:
        """Change of the leaf values of one iteration: a Newton step plus noise, `[leaves, k]`."""
        width = int(leaf.max()) + 1
        block = slice(first_leaf, first_leaf + width)
        noise = noise_std[block, None] * rng.standard_normal((width, gradient.shape[1]), np.float32)
        return np.asarray(self.steps[block, None] * (leaf_indicators(leaf, width).T @ gradient) + noise)


def _random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (2.0 * rng.integers(0, 2, shape) - 1).astype(np.float32)
