"""Prediction variances of boosted trees: how outputs answer to a push on their own gradient.

Pushing example `j`'s gradient by `−u_j` in every iteration moves the outputs by `δf = V u`, a linear recursion over
iterations with the denominators held (the Gauss–Newton form of each Newton step):

    δf ← δf − B_t (K_t δf − u),    B_t = η M_t D_t⁻¹ M_tᵀ,    K_t = diag(w Λ at iteration t),    M_t: leaf indicators

For squared error `V w = ∂f/∂y` exactly. Two ways to its diagonal:

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

from memorymaps._types import Array
from memorymaps.likelihoods import Gaussian
from memorymaps.models.leaves import Boosting, Replay, indicators

_TOGETHER = 16  # probes that are replayed side by side: a block that stays in the cache
_ROWS = 1024


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
                variance[start : start + _ROWS, k] += later.sum(axis=1)
    return (variance + variance.swapaxes(1, 2)) / 2


def _response(model: Boosting, run: Replay) -> Array:
    """`A = (I + (η/D) C)⁻¹ η/D [P, P]`: leaf values' answer to pushes summed over leaves."""
    _, trees, c = model.shape
    system = np.eye(model.size, order="F")
    numbers = model.numbers()
    for t in range(trees):
        curvature = model.weight[:, None, None] * model.likelihood.curvature(run.path[t], model.target)
        for k in range(c):
            own = indicators(model.leaves[:, t, k], int(model.leaves[:, t, k].max()) + 1).astype(float)
            rows = model.first[t, k] + np.arange(own.shape[1])
            for other in range(c):
                before = indicators(numbers[:, : t + 1, other], int(rows[0]), curvature[:, k, other])
                system[rows, : rows[0]] += run.steps[rows, None] * (own.T @ before).toarray()
    inverse, _ = lapack.dtrtri(system, lower=1, overwrite_c=1)
    return np.ascontiguousarray(inverse * run.steps)


def sampled_variance(model: Boosting, run: Replay, probes: int, seed: int) -> Array:
    """`V_ii [n, 1, 1]` for one output, from replays on noise."""
    rng = np.random.default_rng(seed)
    noise = _Noise(model, run.steps.astype(np.float32), *_curvatures(model, run))
    total = np.zeros(model.shape[0])
    for start in range(0, probes, _TOGETHER):
        k = min(_TOGETHER, probes - start)
        total += noise.squares(np.maximum(noise.falls, 0), rng, k, noisy=True)
        if np.any(noise.falls < 0):
            total -= noise.squares(np.maximum(-noise.falls, 0), rng, k, noisy=False)
    return np.maximum(total / (2 * probes), 0.0)[:, None, None]


def _curvatures(model: Boosting, run: Replay) -> tuple[Array, Array]:
    """`w Λ` before each iteration and for the base, `[1 + T, n]`, and how much it falls from one to the next.

    One row stands for all where the curvature is constant.
    """
    stages = [run.path[0]] if isinstance(model.likelihood, Gaussian) else [run.path[0], *run.path[:-1]]
    found = [model.weight * model.likelihood.information(f, model.target)[:, 0] for f in stages]
    curvature = np.asarray(found, dtype=np.float32)
    return curvature, curvature - np.concatenate([curvature[1:], np.zeros_like(curvature[:1])])


@dataclass(frozen=True)
class _Noise:
    """The recursion of one output, replayed on noise."""

    model: Boosting
    steps: Array
    curvature: Array
    falls: Array

    def squares(self, falls: Array, rng: np.random.Generator, k: int, noisy: bool) -> Array:
        """`Σ x² [n]` over `k` replays, pushed by `u_t = z Σ_{s≥t} σ_s √fall_s` with random signs `σ [T], z [n]`."""
        n, trees, _ = self.model.shape
        roots, signs, z = np.sqrt(falls), _signs(rng, (len(falls), k)), _signs(rng, (n, k))
        push, x, room = z * (roots.T @ signs), np.zeros((n, k), np.float32), np.empty((n, k), np.float32)
        for stage in range(trees + 1):
            leaf, steps = self._tree(stage)
            curvature = self.curvature[min(stage, len(falls) - 1)]
            np.subtract(push, np.multiply(curvature[:, None], x, out=room), out=room)
            move = steps[:, None] * (indicators(leaf, len(steps)).T @ room)
            if noisy:
                move += _spread(leaf, steps, curvature) * rng.standard_normal(move.shape, np.float32)
            np.add(x, np.take(move, leaf, axis=0, out=room, mode="clip"), out=x)
            if stage < len(falls) - 1:
                push -= np.multiply(z, roots[stage][:, None] * signs[stage], out=room)
        return np.einsum("nk,nk->n", x, x, dtype=float)

    def _tree(self, stage: int) -> tuple[Array, Array]:
        """Leaves `[n]` and step lengths of an iteration; the first is the base value."""
        if stage == 0:
            return np.zeros(self.model.shape[0], np.int32), self.steps[:1]
        leaf, first = self.model.leaves[:, stage - 1, 0], self.model.first[stage - 1, 0]
        return leaf, self.steps[first : first + int(leaf.max()) + 1]


def _spread(leaf: Array, steps: Array, curvature: Array) -> Array:
    """Standard deviation of leaf noise, `√(2b − b² Σ K)`: `[leaves, 1]`."""
    squares = 2 * steps - steps**2 * np.bincount(leaf, curvature, len(steps))
    return np.sqrt(np.maximum(squares, 0)).astype(np.float32)[:, None]


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (2.0 * rng.integers(0, 2, shape) - 1).astype(np.float32)
