"""Likelihoods averaged over the uncertainty of `f`: `E_q[·]` under `q(f) = N(f, V)`.

Closed forms where they exist, Gauss–Hermite quadrature for losses that are sums over outputs, and a fixed
quasi-Monte Carlo rule for the softmax, whose expectation does not reduce to one dimension.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.delegating import DelegatingLikelihood
from memorymaps.core.likelihoods.exponential_family import (
    Bernoulli,
    ExponentialFamily,
    Gaussian,
    Poisson,
    diagonal_matrix,
)
from memorymaps.core.likelihoods.links import Identity, Log, Probit
from memorymaps.core.likelihoods.observed_information import ObservedInformation
from memorymaps.core.special_functions import logsumexp

_HERMITE_NODES = 32  # Gauss–Hermite nodes: exact for polynomials up to degree 63
_SOBOL_POINTS = 1024  # quasi-random points for softmax
_CHUNK_NUMBERS = 100_000  # numbers per chunk of points: fits in the processor caches


@functools.cache
def _hermite_rule() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_HERMITE_NODES)
    return nodes[:, None], weights / weights.sum()


@functools.cache
def _sobol_rule(c: int) -> tuple[Array, Array]:
    from scipy.stats import norm, qmc

    half = norm.ppf(qmc.Sobol(c, scramble=True, rng=0).random(_SOBOL_POINTS // 2))
    return np.concatenate([half, -half]), np.full(_SOBOL_POINTS, 1 / _SOBOL_POINTS)


def _root(variance: Array) -> Array:
    """`B = V^{1/2}`, also for singular `V`: symmetric, so that averages by few points are smooth in `V`."""
    xp = array_namespace(variance)
    values, vectors = xp.linalg.eigh(variance)
    return xp.matmul(vectors * xp.sqrt(xp.clip(values, min=0))[..., None, :], xp.matrix_transpose(vectors))


def expectation(g: Callable[[Array], Array], f: Array, variance: Array, rule: tuple[Array, Array]) -> Array:
    """`Σ_k w_k g(f + B z_k)` with `B Bᵀ = V`: the mean of `g` over `N(f, V)`, `f [n, c]`, `V [n, c, c]`."""
    total = 0.0
    for z, w in _quadrature_points(f, variance, rule):
        total = total + w * g(z)
    return total


def _quadrature_points(f: Array, variance: Array, rule: tuple[Array, Array]) -> Iterator[tuple[Array, float]]:
    """Quadrature points `f + B z_k [n, c]` and their weights."""
    xp = array_namespace(f)
    root = _root(variance)
    for z, w in zip(*rule, strict=True):
        step = xp.asarray(z, dtype=f.dtype, device=device(f))
        yield f + xp.matmul(root, step[:, None])[..., 0], float(w)


def _diagonal(variance: Array) -> Array:
    return array_namespace(variance).linalg.diagonal(variance)


@dataclass(frozen=True)
class GaussianExpectation(DelegatingLikelihood):
    """Likelihood whose methods are expectations under `q = N(f, V)`; `f` is the mean of `q`.

    `E_q[ℓ]`, `E_q[σ(f)]`, `E_q[∇ℓ]`, `E_q[Λ]`; by Bonnet's and Price's theorems the last two are the derivatives of
    `E_q[ℓ]` used in variational inference. GPyTorch: `expected_log_prob`. Source: [MPE] App. H, [BLR].

    Examples
    --------
    >>> import numpy as np
    >>> from memorymaps.core.likelihoods.exponential_family import Poisson
    >>> q = GaussianExpectation(Poisson(), variance=np.full((1, 1, 1), 0.5))
    >>> q.mean(np.zeros((1, 1)))  # exp(V/2)
    array([[1.284]])
    """

    variance: Array

    def averaged_over(self, variance: Array) -> Likelihood:
        """Itself: it is averaged already."""
        return self

    def cached_at(self, f: Array) -> Likelihood:
        """Itself: its quadrature points depend on `f`."""
        return self

    def _average(self, g: Callable[[Array], Array], f: Array) -> Array:
        return expectation(g, f, *self._quadrature_rule(f))

    def _quadrature_rule(self, f: Array) -> tuple[Array, tuple[Array, Array]]:
        """The variance to integrate over (diagonal if the loss is a sum over outputs), and a quadrature rule."""
        if _is_separable(self.likelihood, f.shape[-1]):
            xp = array_namespace(f)
            marginal = _diagonal(self.variance)[..., None] * xp.eye(f.shape[-1], dtype=f.dtype, device=device(f))
            nodes, weights = _hermite_rule()
            return marginal, (np.repeat(nodes, f.shape[-1], axis=1), weights)
        return self.variance, _sobol_rule(f.shape[-1])

    def predictive_loss(self, f: Array, y: Array) -> Array:
        """`−log E_q[p(y ∣ f)]`: `[n]`, in nats, the negative log score of the posterior predictive."""
        xp, c = array_namespace(f), f.shape[-1]
        if c == 1 and isinstance(self.likelihood, Gaussian) and isinstance(self.likelihood.link, Identity):
            total = self.likelihood.dispersion + _diagonal(self.variance)[:, 0]
            return 0.5 * (self.likelihood.residual(f, y)[:, 0] ** 2 / total + xp.log(2 * np.pi * total))
        points = _quadrature_points(f, *(self._quadrature_rule(f) if c == 1 else (self.variance, _sobol_rule(c))))
        return -logsumexp(xp.stack([np.log(w) - self.likelihood.nll(z, y) for z, w in points], axis=-1))

    def nll(self, f: Array, y: Array) -> Array:
        """`E_q[ℓ]`."""
        return self._average(lambda z: self.likelihood.nll(z, y), f)

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """`E_q[ℓ]` of one example of weight `w [n]`."""
        return self._average(lambda z: self.likelihood.example_loss(z, y, weight), f)

    def mean(self, f: Array) -> Array:
        """`E_q[σ(f)]`."""
        closed = _CLOSED_MEANS.get(_family_and_link(self.likelihood))
        return closed(f, _diagonal(self.variance)) if closed else self._average(self.likelihood.mean, f)

    def mean_jacobian(self, f: Array) -> Array:
        """`E_q[dσ/df]`, the derivative of the averaged mean."""
        return self._average(self.likelihood.mean_jacobian, f)

    def error(self, f: Array, y: Array) -> Array:
        """`E_q[∇_f ℓ]`."""
        return self._average(lambda z: self.likelihood.error(z, y), f)

    def curvature(self, f: Array, y: Array) -> Array:
        """`E_q[Λ]`."""
        return self._average(lambda z: self.likelihood.curvature(z, y), f)

    def derivatives(self, f: Array, y: Array) -> tuple[Array, Array]:
        """`E_q[∇ℓ] [n, c]` and `E_q[∇²ℓ] [n, c, c]`: of sums over outputs the derivatives of the quadrature's `E_q[ℓ]`.

        The latter as `E_q[∇ℓ (z − f)ᵀ] V⁻¹` (Stein's lemma), which is `2 dE_q[ℓ]/dV`, whatever `curvature` is.
        """
        if not _is_separable(self.likelihood, f.shape[-1]):
            return self.error(f, y), self.curvature(f, y)
        sd = np.sqrt(np.maximum(np.diagonal(self.variance, axis1=1, axis2=2), np.finfo(float).tiny))
        first, second = np.zeros_like(f), np.zeros_like(f)
        for (z, *_), w in zip(*_hermite_rule(), strict=True):
            gradient = w * self.likelihood.error(f + z * sd, y)
            first, second = first + gradient, second + z * gradient
        return first, diagonal_matrix(second / sd)


@dataclass(frozen=True)
class SoftmaxMoments:
    """Moments of the softmax `p` under `N(f, V)`: `E log Σ exp f [n]`, `E p [n, c]`, `E ppᵀ [n, c, c]`."""

    total: Array
    p: Array
    pp: Array


def softmax_moments(f: Array, variance: Array) -> SoftmaxMoments:
    """`SoftmaxMoments` for `f [n, c]` and `V [n, c, c]`, from one pass over the quasi-random points."""
    xp = array_namespace(f)
    z, _ = _sobol_rule(f.shape[-1])
    steps, root = xp.asarray(z, dtype=f.dtype, device=device(f)), xp.matrix_transpose(_root(variance))
    size = max(1, _CHUNK_NUMBERS // z.size)
    parts = [slice(k, k + size) for k in range(0, max(1, f.shape[0]), size)]
    pieces = [_chunk_moments(f[part], xp.matmul(steps, root[part])) for part in parts]
    return SoftmaxMoments(*(xp.concat(list(each)) for each in zip(*pieces, strict=True)))


def _chunk_moments(f: Array, steps: Array) -> tuple[Array, Array, Array]:
    """The moments over the points `f [m, c] + steps [m, s, c]`, of equal weight."""
    xp = array_namespace(f)
    points = f[:, None] + steps
    top = xp.max(points, axis=-1, keepdims=True)
    p = xp.exp(points - top)
    sums = xp.sum(p, axis=-1, keepdims=True)
    p = p / sums
    total = xp.mean((top + xp.log(sums))[..., 0], axis=-1)
    return total, xp.mean(p, axis=1), xp.matmul(xp.matrix_transpose(p), p) / p.shape[1]


@dataclass(frozen=True)
class SoftmaxExpectation(GaussianExpectation):
    """`GaussianExpectation(Categorical(), V)`, from moments that `cached_at(f)` computes once."""

    cached: tuple[Array, SoftmaxMoments] | None = None

    def cached_at(self, f: Array) -> SoftmaxExpectation:
        """With the moments at `f` cached."""
        return replace(self, cached=(f, softmax_moments(f, self.variance)))

    def _moments(self, f: Array) -> SoftmaxMoments:
        return self.cached[1] if self.cached and self.cached[0] is f else softmax_moments(f, self.variance)

    def nll(self, f: Array, y: Array) -> Array:
        """`E_q[log Σ exp f] − f_y`."""
        return self._moments(f).total - array_namespace(f).sum(f * self.encode(y, f.shape[-1]), axis=-1)

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """The same: a weight is a number of examples."""
        return self.nll(f, y)

    def mean(self, f: Array) -> Array:
        """`E_q[p]`."""
        return self._moments(f).p

    def mean_jacobian(self, f: Array) -> Array:
        """`diag E_q[p] − E_q[ppᵀ]`."""
        found = self._moments(f)
        return diagonal_matrix(found.p) - found.pp

    def error(self, f: Array, y: Array) -> Array:
        """`E_q[p] − onehot(y)`."""
        return self._moments(f).p - self.encode(y, f.shape[-1])

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag E_q[p] − E_q[ppᵀ]`."""
        return self.mean_jacobian(f)


@dataclass(frozen=True)
class ExpectedLikelihood(DelegatingLikelihood):
    """Likelihood used in expectation, `E_q[ℓ]`, `E_q[∇ℓ]`, `E_q[Λ]` under `N(f, V)` of each example.

    The loss of variational posteriors (SVGP, VON, IVON) [MPE App. H]. Its own methods are those of `likelihood` at the
    mean `f`; maps call `averaged_over(V)` first.

    Examples
    --------
    >>> import numpy as np
    >>> from memorymaps.core.likelihoods.exponential_family import Poisson
    >>> ExpectedLikelihood(Poisson()).averaged_over(np.full((1, 1, 1), 0.5)).mean(np.zeros((1, 1)))  # exp(V/2)
    array([[1.284]])
    """

    def averaged_over(self, variance: Array) -> Likelihood:
        """`GaussianExpectation(likelihood, V)`."""
        is_softmax = type(self.likelihood) is Categorical  # subclasses have other means
        return (SoftmaxExpectation if is_softmax else GaussianExpectation)(self.likelihood, variance)

    def cached_at(self, f: Array) -> Likelihood:
        """Itself: quantities are cached after `averaged_over`."""
        return self


def expected_derivatives(averaged: Likelihood, f: Array, y: Array) -> tuple[Array, Array]:
    """`E_q[∇ℓ] [n, c]` and `E_q[∇²ℓ] [n, c, c]` of a likelihood that is averaged over `q`."""
    if isinstance(averaged, GaussianExpectation):
        return averaged.derivatives(f, y)
    return averaged.error(f, y), averaged.curvature(f, y)


def quadrature_points(likelihood: Likelihood, c: int) -> int:
    """Number of points of the averages of `c` outputs; one where they are closed forms."""
    if not isinstance(likelihood, ExpectedLikelihood):
        return 1
    return _HERMITE_NODES if _is_separable(likelihood.likelihood, c) else _SOBOL_POINTS


def _is_separable(likelihood: Likelihood, c: int) -> bool:
    """Whether the loss is a sum over outputs."""
    return c == 1 or isinstance(likelihood, (ExponentialFamily, ObservedInformation))


def _family_and_link(likelihood: Likelihood) -> tuple[type, type]:
    if isinstance(likelihood, ObservedInformation):
        likelihood = likelihood.likelihood
    return type(likelihood), type(getattr(likelihood, "link", None))


_CLOSED_MEANS: dict[tuple[type, type], Callable[[Array, Array], Array]] = {
    (Gaussian, Identity): lambda f, v: f,
    (Poisson, Log): lambda f, v: array_namespace(f).exp(f + v / 2),
    (Bernoulli, Probit): lambda f, v: Probit().mean(f / array_namespace(f).sqrt(1 + v)),
}
