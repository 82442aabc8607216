"""The Bayesian learning rule as an object: candidate distribution, natural gradients, step, and removal of examples.

    λ ← (1 − ρ) λ − ρ Σ_{j=0}^{N} g̃_j(λ)        g̃_j = ∇_μ E_q[ℓ_j], g̃_0 the prior's
    λ^{∖M} − λ = ρ Σ_{j∈M} g̃_j(λ)               the memory-perturbation equation [MPE Thm. 1–2]

NumPy arrays only: usable with any algorithm or conjugate family for which `λ` and `g̃_j` are known. For conjugate
models `g̃_j = −λ̃_j`, the natural parameter of example `j`'s factor, and the equation is exact at `ρ = 1`. Sources:
[BLR], [MPE].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from memorymaps.core.arrays import Array


class Candidate(Protocol):
    """A minimal exponential family, with its natural parameters flattened into one vector."""

    @property
    def name(self) -> str:
        """Name of the family."""

    @property
    def size(self) -> int:
        """Length of `λ`."""

    def unpack(self, natural: Array) -> Any:
        """The distribution's standard parameters."""


@dataclass(frozen=True)
class GaussianCandidate:
    """`q(θ) = N(m, S⁻¹)`, `λ = (S m, −S/2)`.

    Parameters
    ----------
    p : number of parameters.
    structure : `"full"`, `"diag"` (`S = diag s`), or `"fixed"` (`S` is constant and `λ = S m`: SGD, `S = I`).
    precision : `S` for `"fixed"`: `[p]`, default ones.

    Examples
    --------
    >>> family = GaussianCandidate(1)
    >>> family.unpack(family.pack(np.array([2.0]), np.array([[4.0]])))
    (array([2.]), array([[4.]]))
    """

    p: int
    structure: str = "full"
    precision: Array | None = None

    def __post_init__(self) -> None:
        if self.structure not in ("full", "diag", "fixed") or self.p < 1:
            raise ValueError(
                f"structure = {self.structure!r}, p = {self.p}: expected 'full', 'diag' or 'fixed' and p ≥ 1"
            )

    @property
    def name(self) -> str:
        """Family and structure."""
        return f"Gaussian, {self.structure}"

    @property
    def size(self) -> int:
        """`p + p²`, `2p` or `p`."""
        return self.p * {"full": 1 + self.p, "diag": 2, "fixed": 1}[self.structure]

    def pack(self, mean: Array, precision: Array) -> Array:
        """Natural parameters `λ` of `m [p]` and `S [p, p]` (or its diagonal `[p]`)."""
        first = precision @ mean if precision.ndim == 2 else precision * mean
        return first if self.structure == "fixed" else np.concatenate([first, -0.5 * precision.reshape(-1)])

    def unpack(self, natural: Array) -> tuple[Array, Array]:
        """`m [p]` and `S [p, p]`, or its diagonal `[p]` for the structures `"diag"` and `"fixed"`."""
        first, rest = natural[: self.p], natural[self.p :]
        if self.structure == "full":
            precision = -2 * rest.reshape(self.p, self.p)
            return np.linalg.solve(precision, first), precision
        fixed = np.ones(self.p) if self.precision is None else self.precision
        precision = -2 * rest if self.structure == "diag" else fixed
        return first / precision, precision

    def natural_gradients(self, mean: Array, gradient: Array, hessian: Array) -> Array:
        """`g̃ = (E∇ℓ − E∇²ℓ m, ½E∇²ℓ)`: `[n, size]` of `E∇ℓ [n, p]` and `E∇²ℓ [n, p, p]` (or diagonals `[n, p]`).

        By Bonnet's and Price's theorems; for `"fixed"` candidates, which have no curvature parameter, `g̃ = E∇ℓ`.
        """
        if self.structure == "fixed":
            return gradient
        product = hessian @ mean if hessian.ndim == 3 else hessian * mean
        return np.concatenate([gradient - product, 0.5 * hessian.reshape(len(gradient), -1)], axis=1)


@dataclass(frozen=True)
class BLR:
    """State of the learning rule: `λ [k]`, `g̃ [n, k]` of the examples, `g̃_0 [k]` of the prior, learning rate `ρ`.

    Raises
    ------
    ValueError
        Inconsistent shapes, numbers that are not finite, or `ρ` outside (0, 1].

    Examples
    --------
    A coin: Beta(1 + heads, 1 + tails), `λ = (α − 1, β − 1)`, each throw's factor `λ̃ = (y, 1 − y)`.

    >>> @dataclass(frozen=True)
    ... class Beta:
    ...     name: str = "Beta"
    ...     size: int = 2
    ...     def unpack(self, natural): return natural + 1
    >>> y = np.array([1.0, 1.0, 0.0])
    >>> coin = BLR(Beta(), np.array([2.0, 1.0]), -np.stack([y, 1 - y], 1), np.zeros(2))
    >>> coin.without([0])
    array([2., 2.])
    """

    candidate: Candidate
    natural: Array
    gradients: Array
    prior: Array
    rate: float = 1.0

    def __post_init__(self) -> None:
        k = self.candidate.size
        shapes = self.natural.shape, self.prior.shape, self.gradients.shape[1:]
        if shapes != ((k,), (k,), (k,)):
            raise ValueError(
                f"natural, prior and gradients of shapes {shapes}: {self.candidate.name} expects ({k},) each"
            )
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate = {self.rate}: expected 0 < ρ ≤ 1")
        if not all(np.isfinite(each).all() for each in (self.natural, self.gradients, self.prior)):
            raise ValueError("natural parameters or gradients are not finite")

    def deviation(self, members: Any) -> Array:
        """`λ^{∖M} − λ = ρ Σ_{j∈M} g̃_j`: `[k]`, for the rows in `members`."""
        return self.rate * np.sum(self.gradients[np.atleast_1d(members)], axis=0)

    def deviations(self) -> Array:
        """Deviations of `λ` for each example left out by itself: `[n, k]`."""
        return self.rate * self.gradients

    def without(self, members: Any) -> Any:
        """Standard parameters of the candidate with these examples left out."""
        return self.candidate.unpack(self.natural + self.deviation(members))

    def step(self) -> Array:
        """`λ` after one step of the rule: `[k]`."""
        total = self.prior + np.sum(self.gradients, axis=0)
        return (1 - self.rate) * self.natural - self.rate * total

    def relative_gap(self) -> float:
        """`‖λ + Σ g̃_j‖/‖λ‖`: relative distance from the fixed point, the optimum."""
        rest = self.natural + self.prior + np.sum(self.gradients, axis=0)
        return float(np.linalg.norm(rest) / max(np.linalg.norm(self.natural), np.finfo(float).tiny))

    def with_rate(self, rate: float) -> BLR:
        """The same state with learning rate `rate`."""
        return replace(self, rate=rate)
