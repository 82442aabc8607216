"""Prediction variances of boosted trees: how outputs answer to a push on their own gradient.

Pushing example `j`'s gradient by `−u_j` in every iteration moves the outputs by `δf = V u`, a linear recursion over
iterations with the denominators held (the Gauss–Newton form of each Newton step):

    δf ← δf − B_t (K_t δf − u),    B_t = η M_t D_t⁻¹ M_tᵀ,    K_t = diag(w Λ at iteration t),    M_t: leaf indicators

For squared error `V w = ∂f/∂y` exactly. With row subsampling `u` and `K_t` are those of the rows drawn. Two ways to
its diagonal:

* `exact_variance` in leaf space, `V = M A Mᵀ` with a lower triangular `A⁻¹ = D/η + C`, `C_ts = M_tᵀ K_t M_s` for
  `s < t`: `O(n T²c² + P³)`, for ensembles of up to some thousand leaves.
* `sampled_variance`: the boosting recursion run on noise. If `x ← (I − B_tK_t) x + B_t u_t + ξ_t` with
  `cov ξ_t = 2B_t − B_tK_tB_t` and pushes with `cov(u_s, u_t) = K_{max(s,t)}`, then `cov x = V + Vᵀ`: so
  `V_ii = E[x_i²]/2`, with *relative* standard error `√(2/probes)` for every example, at `O(n T)` a probe. Random
  signs on the targets (Hutchinson) have absolute errors instead, many times larger where `h` is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import DataError
from memorymaps.models.trees.boosting import Boosting, JointBoosting, Replay, indicators

_TOGETHER = 16  # probes that are replayed side by side: a block that stays in the cache
_ROWS = 1024
_LEVELS = 64  # curvatures that a sampled recursion tells apart: it holds them for one iteration in so many


def exact_variance(model: Boosting, run: Replay) -> Array:
    """`V_ii [n, c, c]` in leaf space."""
    response = _response(model, run)
    n, _, c = model.shape
    variance = np.zeros((n, c, c))
    for start in range(0, n, _ROWS):
        numbers = model.numbers(slice(start, start + _ROWS))
        for t in range(numbers.shape[1]):
            for k in range(c):
                later = response[numbers[:, t, k, None, None], numbers[:, : t + 1]]
                variance[start : start + _ROWS, k] += _pushed(model, later, start).sum(axis=1)
    return (variance + variance.swapaxes(1, 2)) / 2


def _pushed(model: Boosting, answer: Array, start: int) -> Array:
    """Answers `[rows, 1 + stages, c]` to those pushes that the example gave: iterations that drew it, and the base."""
    if model.drawn is None:
        return answer
    rows, stages = len(answer), answer.shape[1] - 1
    answer[:, 1:] *= model.drawn[start : start + rows, :stages, None]
    return answer


def _response(model: Boosting, run: Replay) -> Array:
    """`A = (I + (η/D) C)⁻¹ η/D [P, P]`: leaf values' answer to pushes summed over leaves."""
    trees = model.shape[1]
    system = np.eye(model.size, order="F")
    numbers = model.numbers()
    for t in range(trees):
        start = int(model.first[t, 0])
        stop = int(model.first[t + 1, 0]) if t + 1 < trees else model.size
        steps = run.steps[start:stop, start:stop]
        system[start:stop, :start] += steps @ _met(model, run.path[t], t, numbers[:, : t + 1])
    inverse, _ = lapack.dtrtri(system, lower=1, overwrite_c=1)
    return np.ascontiguousarray((run.steps.T @ inverse.T).T)


def _met(model: Boosting, f: Array, t: int, before: Array) -> Array:
    """`C_ts [P_t, P_<t]` for all earlier stages `s`: curvature that leaves of iteration `t` share with earlier ones."""
    curvature = model.weights(t)[:, None, None] * model.likelihood.curvature(f, model.target)
    blocks = []
    for k, leaf in enumerate(model.leaves[:, t].T):
        own = indicators(leaf, int(leaf.max()) + 1).astype(float)
        blocks.append(
            sum(
                (own.T @ indicators(before[:, :, other], int(model.first[t, 0]), curvature[:, k, other])).toarray()
                for other in range(model.shape[2])
            )
        )
    return np.concatenate(blocks)


def sampled_variance(model: Boosting, run: Replay, probes: int, seed: int) -> Array:
    """`V_ii [n, c, c]` from replays on noise, one output at a time: `Λ` between outputs is left out.

    Raises
    ------
    DataError
        Row subsampling, or steps that couple outputs: the recursion's noise is of one output that all rows move.
    """
    if not can_be_sampled(model):
        raise DataError(
            "replays on noise need trees of one output whose leaf values see every example in every iteration: use "
            "BoostedTrees(probes=None), or fewer trees or leaves"
        )
    rng = np.random.default_rng(seed)
    n, _, c = model.shape
    variance = np.zeros((n, c, c))
    for k in range(c):
        noise = _Noise.of(model, run, k)
        for start in range(0, probes, _TOGETHER):
            variance[:, k, k] += noise.squares(rng, min(_TOGETHER, probes - start))
    return np.maximum(variance / (2 * probes), 0.0)


def can_be_sampled(model: Boosting) -> bool:
    """Whether replays on noise give this ensemble's leverage."""
    return model.drawn is None and not isinstance(model, JointBoosting)


@dataclass(frozen=True)
class _Noise:
    """The recursion of one output, replayed on noise.

    Attributes
    ----------
    leaves, firsts : `[1 + T][n]` and the first leaf's number of each stage; the base value is the first stage.
    steps, spreads : `η/D` and the leaf noise's standard deviation `√(2b − b² Σ K)`, `[P]`.
    curvature, falls : `w Λ`, held for some stages, `[levels, n]`, and how much it falls from one level to the next.
    levels : level of each stage, `[1 + T]`.
    """

    leaves: list[Array]
    firsts: list[int]
    steps: Array
    spreads: Array
    curvature: Array
    falls: Array
    levels: Array

    @classmethod
    def of(cls, model: Boosting, run: Replay, k: int) -> _Noise:
        """For output `k`."""
        n, trees, _ = model.shape
        held = trees if isinstance(model.likelihood, Gaussian) else max(1, trees // _LEVELS)
        levels = np.maximum(np.arange(trees + 1) - 1, 0) // held
        found = [model.weight * model.likelihood.fisher_diagonal(f, model.target)[:, k] for f in run.path[:-1:held]]
        curvature = np.asarray(found, dtype=np.float32)
        falls = curvature - np.concatenate([curvature[1:], np.zeros_like(curvature[:1])])
        leaves = [np.zeros(n, np.int32), *(model.leaves[:, t, k] for t in range(trees))]
        firsts, steps = [k, *model.first[:, k].tolist()], run.steps.diagonal().astype(np.float32)
        spreads = np.zeros_like(steps)
        for stage, (leaf, first) in enumerate(zip(leaves, firsts, strict=True)):
            total = np.bincount(leaf, curvature[levels[stage]])
            own = steps[first : first + len(total)]
            spreads[first : first + len(total)] = np.sqrt(np.maximum(2 * own - own**2 * total, 0))
        return cls(leaves, firsts, steps, spreads, curvature, falls, levels)

    def squares(self, rng: np.random.Generator, k: int) -> Array:
        """`Σ x² [n]` over `k` replays; rises of the curvature take theirs from replays without leaf noise."""
        total = self._squares(np.maximum(self.falls, 0), rng, k, self.spreads)
        if np.any(self.falls < 0):
            total -= self._squares(np.maximum(-self.falls, 0), rng, k, np.zeros_like(self.spreads))
        return total

    def _squares(self, falls: Array, rng: np.random.Generator, k: int, spreads: Array) -> Array:
        """Pushed by `u_t = z Σ_{s≥t} σ_s √fall_s`, with random signs `σ` of stages and `z` of examples."""
        n = len(self.leaves[0])
        roots, signs, z = np.sqrt(falls), _signs(rng, (len(falls), k)), _signs(rng, (n, k))
        push, x, room = z * (roots.T @ signs), np.zeros((n, k), np.float32), np.empty((n, k), np.float32)
        for stage, (leaf, first) in enumerate(zip(self.leaves, self.firsts, strict=True)):
            level = self.levels[stage]
            curvature = self.curvature[level]
            np.subtract(push, np.multiply(curvature[:, None], x, out=room), out=room)
            move = self._move(leaf, first, room, spreads, rng)
            np.add(x, np.take(move, leaf, axis=0, out=room, mode="clip"), out=x)
            if stage + 1 < len(self.levels) and self.levels[stage + 1] > level:
                push -= np.multiply(z, roots[level][:, None] * signs[level], out=room)
        return np.einsum("nk,nk->n", x, x, dtype=float)

    def _move(self, leaf: Array, first: int, pushed: Array, spreads: Array, rng: np.random.Generator) -> Array:
        """What an iteration adds to its leaf values: a Newton step and noise, `[leaves, k]`."""
        width = int(leaf.max()) + 1
        own = slice(first, first + width)
        noise = spreads[own, None] * rng.standard_normal((width, pushed.shape[1]), np.float32)
        return np.asarray(self.steps[own, None] * (indicators(leaf, width).T @ pushed) + noise)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (2.0 * rng.integers(0, 2, shape) - 1).astype(np.float32)
