"""The categorical likelihood of class logits (softmax)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, as_numbers, raise_for_targets
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.special_functions import logsumexp


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One of `c` classes, softmax of `f [n, c]`; targets are class numbers 0 … c − 1.

    Examples
    --------
    >>> import numpy as np
    >>> Categorical().error(np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """

    def nll(self, f: Array, y: Array) -> Array:
        """`log Σ exp f − f_y`."""
        xp = array_namespace(f)
        chosen = xp.astype(y, xp.int64)[:, None]
        return logsumexp(f) - xp.take_along_axis(f, chosen, axis=-1)[:, 0]

    def cached_at(self, f: Array) -> Likelihood:
        """With the class probabilities at `f` cached; subclasses, whose mean may differ, return themselves."""
        return _CachedCategorical(f, self.mean(f)) if type(self) is Categorical else self

    def mean(self, f: Array) -> Array:
        """Class probabilities."""
        xp = array_namespace(f)
        unnormalised = xp.exp(f - xp.max(f, axis=-1, keepdims=True))
        return unnormalised / xp.sum(unnormalised, axis=-1, keepdims=True)

    def predict_target(self, mean: Array) -> Array:
        """The most probable class."""
        return array_namespace(mean).argmax(mean, axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`p − onehot(y)`."""
        return self.residual(f, y)

    def mean_jacobian(self, f: Array) -> Array:
        """`diag(p) − ppᵀ`."""
        p = self.mean(f)
        return diagonal_matrix(p) - p[..., :, None] * p[..., None, :]

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(p) − ppᵀ`."""
        return self.mean_jacobian(f)

    def fisher_diagonal(self, f: Array, y: Array) -> Array:
        """`p(1 − p)`."""
        p = self.mean(f)
        return p * (1 - p)

    def fisher_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`p ∘ v − p(pᵀv)`."""
        p = self.mean(f)
        return _centred_product(p, p, v)

    def fisher_root_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`L = diag(√p) − p√pᵀ`: column `k` is `√p_k (1_k − p)`."""
        p = self.mean(f)
        half = array_namespace(f).sqrt(p)
        return _centred_product(half, p, v)

    def fisher_root(self, f: Array, y: Array) -> Array:
        """Cholesky factor `[n, c, c − 1]`: `L_kk = √(p_k q_k/q_{k−1})`, `L_jk = −(p_j/q_k) L_kk`, `q_k = Σ_{j>k} p_j`.

        Source: Tanabe & Sagae 1992. Only positive numbers are summed: no cancellation.
        """
        xp, p = array_namespace(f), self.mean(f)
        if p.shape[1] < 2:
            return super().fisher_root(f, y)
        tails = xp.flip(xp.cumulative_sum(xp.flip(p, axis=1), axis=1), axis=1)
        q = tails[:, 1:]
        positive = q > 0
        diagonal = xp.sqrt(p[:, :-1] * q / xp.where(positive, tails[:, :-1], xp.ones_like(q)))
        below = xp.tril(-p[:, :, None] / xp.where(positive, q, xp.ones_like(q))[:, None, :], k=-1)
        unit = xp.eye(p.shape[1], p.shape[1] - 1, dtype=p.dtype, device=device(p))
        return (below + unit) * diagonal[:, None, :]

    def score_preimage(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """`x = −1_y`, `κ = p_y`: `Λ(−1_y) = p_y e`."""
        xp = array_namespace(f)
        rows, chosen = xp.arange(len(f), device=device(f)), xp.astype(y, xp.int64)
        return lambda v: -v[rows, :, chosen], self.mean(f)[rows, chosen]

    def fisher_root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """`√p_a √p_b (1_ab − p_a − p_b + pᵀp)`."""
        xp = array_namespace(f)
        p = self.mean(f)
        selected = xp.take_along_axis(p, outputs, axis=-1)
        inner = xp.sum(p * p, axis=-1)[:, None, None] - selected[..., :, None] - selected[..., None, :]
        half = xp.sqrt(selected)
        return diagonal_matrix(selected) + half[..., :, None] * half[..., None, :] * inner

    def encode(self, y: Array, c: int) -> Array:
        """One-hot rows."""
        xp, y = array_namespace(y), as_numbers(y)
        classes = xp.arange(c, dtype=y.dtype, device=device(y))
        return xp.astype(y[:, None] == classes, xp.float64)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number."""
        if y.ndim != 1:
            raise TargetError(
                f"class numbers of shape {tuple(y.shape)}: expected (n,), one for each example. Several for each "
                "(tokens, pixels) are the targets of a loss of your own, nets.Custom(nll, predict=…, ignore_index=…)"
            )
        y = as_numbers(y)
        raise_for_targets(
            ~((y >= 0) & (y < c) & (y == y // 1)), y, f"class numbers 0 … {c - 1} (classes are counted from 0)"
        )


def _centred_product(a: Array, p: Array, v: Array) -> Array:
    """`a ∘ v − p(aᵀv)` for directions `v [n, c, k]`; fastest if `vᵀ` is contiguous."""
    xp = array_namespace(p)
    scaled = a[:, None] * xp.matrix_transpose(v)
    return xp.matrix_transpose(scaled - p[:, None] * xp.sum(scaled, axis=-1, keepdims=True))


@dataclass(frozen=True)
class _CachedCategorical(Categorical):
    """Categorical likelihood with the class probabilities `p` at the outputs `f` cached."""

    f: Array
    p: Array

    def mean(self, f: Array) -> Array:
        """Class probabilities."""
        return self.p if f is self.f else super().mean(f)
