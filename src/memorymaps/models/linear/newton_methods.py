"""Algorithms of the Bayesian learning rule for GLMs, one step at a time: Newton, online Newton, VON [MPE Table 1].

    Newton (IRLS)    θ ← θ − H⁻¹∇L,       S = H
    online Newton    S ← (1−ρ)S + ρ∇²L,   θ ← θ − ρS⁻¹∇L          full or diagonal, whole data or minibatches
    VON              the same with E_q[∇L], E_q[∇²L], q = N(m, S⁻¹)

with `L = Σ_i ℓ_i + δ‖θ‖²/2`. Each yields its state after every step; a memory map of any state:

    for state in von(X, y, likelihood=Bernoulli(), prior=1.0): m = memory_map(state, X, y)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.bayesian_learning_rule import BLR, GaussianCandidate
from memorymaps.core.covariance_roots import CovarianceRoot
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import ExpectedLikelihood, GaussianExpectation
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.glm.rounding import with_rounding
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior

_EPS = float(np.finfo(float).eps)
_SYMMETRIC = 1e-8  # of the largest entry, a difference from the transpose that is rounding
_LOST = 0.1  # relative error of variances by rounding from which there are none


@dataclass(frozen=True)
class GLMState:
    """`q(θ) = N(m, S⁻¹)` of a linear predictor `f = θx` at one step of an algorithm.

    Attributes
    ----------
    mean : `m [c, p]`.
    precision : `S [cp, cp]`, or its diagonal `[cp]`; parameters ordered by output.
    prior : `δ`.
    variational : losses, errors and curvatures are expectations under `q`.
    """

    likelihood: Likelihood
    mean: Array
    precision: Array
    prior: float
    algorithm: str
    step: int = 0
    variational: bool = False

    @property
    def root(self) -> Array:
        """`W [c, p, cp]` with `S⁻¹ = W Wᵀ`."""
        k = self.mean.size
        if self.precision.ndim == 1:
            return np.diag(self.precision**-0.5).reshape(*self.mean.shape, k)
        return np.linalg.inv(np.linalg.cholesky(self.precision)).T.reshape(*self.mean.shape, k)

    def outputs_and_likelihood(self, x: Array) -> tuple[Array, Likelihood]:
        """Outputs `f [n, c]` at the mean; the likelihood, averaged over `q(f)` if `variational`."""
        f = x @ self.mean.T
        return f, GaussianExpectation(
            self.likelihood, CovarianceRoot(self.root).variance(x)
        ) if self.variational else self.likelihood


DerivativeEstimator = Callable[[GLMState, Array, Array], tuple[Array, Array]]  # → Σ∇ℓ [cp], Σ∇²ℓ [cp, cp]


def newton(
    X: Array, y: Array, *, likelihood: Likelihood, prior: float, steps: int = 100, tolerance: float = 1e-10
) -> Iterator[GLMState]:
    """Newton's method (IRLS for canonical links) until `‖S^{-1/2}∇L‖ ≤ tolerance`, steps halved while `L` rises.

    Raises
    ------
    DataError, ValueError
        Data of a wrong shape or not finite; a prior that is not positive.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.exponential_family import Poisson
    >>> X, y = np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 2.0])
    >>> *_, last = newton(X, y, likelihood=Poisson(), prior=1e-12)
    >>> np.exp(last.mean)
    array([[2.]])
    """
    x, state = _initial_state(X, y, likelihood, prior, "Newton's method")
    for step in range(1, steps + 1):
        gradient, hessian = _penalised_derivatives(state, x, y)
        direction = np.linalg.solve(hessian, gradient)
        state = replace(_line_search(state, x, y, direction), step=step)
        state = replace(state, precision=_penalised_derivatives(state, x, y)[1])
        _require_precision(state)
        yield state
        if np.sqrt(gradient @ direction) <= tolerance:
            return


def online_newton(
    X: Array, y: Array, *, likelihood: Likelihood, prior: float, rate: float = 0.1, steps: int = 200,
    batch_size: int | None = None, structure: str = "full", seed: int = 0,
) -> Iterator[GLMState]:  # fmt: skip
    """Online Newton: a moving average of curvatures, on all data or on minibatches scaled by `N/B`.

    `structure="diag"` uses `diag(S)` only. Raises as `newton`.
    """
    name = f"online Newton ({structure}), ρ = {rate:g}"
    x, state = _initial_state(X, y, likelihood, prior, name, structure)
    yield from _iterate(state, x, y, rate, steps, batch_size, seed, lambda rng: _state_derivatives)


def von(
    X: Array, y: Array, *, likelihood: Likelihood, prior: float, rate: float = 0.1, steps: int = 200,
    batch_size: int | None = None, samples: int | None = None, structure: str = "full", seed: int = 0,
) -> Iterator[GLMState]:  # fmt: skip
    """Variational online Newton, `q = N(m, S⁻¹)` [MPE App. I.6].

    Expectations under `q` by quadrature over the Gaussian of each output, which is exact for a linear predictor;
    with `samples`, by that many draws of the weights in each step, as in the paper. Raises as `newton`.
    """
    x, state = _initial_state(X, y, likelihood, prior, f"VON ({structure}), ρ = {rate:g}", structure)
    draw = (
        (lambda rng: _state_derivatives)
        if samples is None
        else (lambda rng: lambda *given: _sampled_derivatives(rng, samples, *given))
    )
    yield from _iterate(replace(state, variational=True), x, y, rate, steps, batch_size, seed, draw)


def learning_rule_at(state: GLMState, X: Array, y: Array, rate: float = 1.0) -> BLR:
    """The state as a `BLR`: natural parameter `λ` and natural gradients `g̃_j`; removal adds those of the group."""
    x = np.asarray(X, dtype=float)
    f, likelihood = state.outputs_and_likelihood(x)
    diagonal = state.precision.ndim == 1
    gradient = np.einsum("nc,np->ncp", likelihood.error(f, y), x).reshape(len(x), -1)
    hessian = np.einsum("nab,np,nq->napbq", likelihood.curvature(f, y), x, x).reshape(len(x), *2 * (gradient.shape[1],))
    family = GaussianCandidate(state.mean.size, "diag" if diagonal else "full")
    mean, delta = state.mean.reshape(-1), np.full(state.mean.size, state.prior)
    if diagonal:
        hessian = np.diagonal(hessian, axis1=1, axis2=2)
    # the prior's gradient δm − δm = 0: it contributes to the precision only
    prior = family.natural_gradients(mean, (delta * mean)[None], (delta if diagonal else np.diag(delta))[None])[0]
    natural = family.pack(mean, state.precision)
    return BLR(family, natural, family.natural_gradients(mean, gradient, hessian), prior, rate)


# --- the steps ------------------------------------------------------------------------------------------------------


def _initial_state(
    X: Array, y: Array, likelihood: Likelihood, prior: float, algorithm: str, structure: str = "full"
) -> tuple[Array, GLMState]:
    x, y = np.asarray(X, dtype=float), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y) or not np.isfinite(x).all():
        raise DataError(f"inputs of shape {x.shape} for {len(y)} targets: expected a finite matrix, one row an example")
    if not (np.isfinite(prior) and prior > 0) or structure not in ("full", "diag"):
        raise ValueError(f"prior = {prior}, structure = {structure!r}: expected δ > 0 and 'full' or 'diag'")
    c = int(np.max(y)) + 1 if isinstance(likelihood, Categorical) else 1 if y.ndim == 1 else y.shape[1]
    likelihood.check_target(y, c)
    mean = np.zeros((c, x.shape[1]))
    precision = prior * (np.eye(mean.size) if structure == "full" else np.ones(mean.size))
    state = GLMState(likelihood, mean, precision, prior, algorithm)
    state = replace(state, precision=_restrict(_penalised_derivatives(state, x, y)[1], structure))
    _require_precision(state)
    return x, state


def _require_precision(state: GLMState) -> float:
    """Relative error of variances by rounding, of a precision that is one.

    Raises
    ------
    DataError
        The precision is not a finite, symmetric, positive definite matrix, to rounding, or is less than the prior's.
    """
    flaw, rounding = _flaw(state.precision, state.prior)
    if flaw:
        raise DataError(
            f"{state.algorithm}, step {state.step}: the precision {flaw}. Expected a symmetric positive definite "
            "matrix of at least the prior's δ in every direction. Where columns are combinations of others, drop "
            "one, or take a larger prior="
        )
    return rounding


def _flaw(precision: Array, prior: float) -> tuple[str, float]:
    """Why a precision is none, empty if it is one, and the relative error of variances by rounding."""
    rounding = len(precision) * _EPS
    if not np.all(np.isfinite(precision)):
        return "has a NaN or an infinity", np.inf
    if precision.ndim == 2 and np.max(np.abs(precision - precision.T)) > _SYMMETRIC * np.max(np.abs(precision)):
        return "is not symmetric", np.inf
    diagonal = precision if precision.ndim == 1 else np.diagonal(precision)
    values = np.sort(precision) if precision.ndim == 1 else np.linalg.eigvalsh(precision)
    if np.min(diagonal) <= 0 or values[0] < -rounding * values[-1]:
        return f"has an eigenvalue of {values[0]:.2g}", np.inf
    if values[0] + rounding * values[-1] < 0.5 * prior:
        return f"has an eigenvalue of {values[0]:.2g}, less than δ = {prior:.2g}", np.inf
    if precision.ndim == 1:
        return "", 0.0
    least = float(np.linalg.eigvalsh(precision / np.sqrt(np.outer(diagonal, diagonal)))[0])  # of unit diagonal
    return ("", rounding / least) if least > rounding / _LOST else ("is singular to rounding", np.inf)


def _restrict(hessian: Array, structure: str) -> Array:
    """The Hessian, or its diagonal."""
    return hessian if structure == "full" else np.diagonal(hessian).copy()


def _derivatives(f: Array, likelihood: Likelihood, x: Array, y: Array) -> tuple[Array, Array]:
    """`Σ∇ℓ [cp]` and `Σ∇²ℓ [cp, cp]` (Fisher's, for links that are not canonical)."""
    k = f.shape[1] * x.shape[1]
    gradient = np.einsum("nc,np->cp", likelihood.error(f, y), x).reshape(k)
    curvature = likelihood.curvature(f, y)
    hessian = np.einsum("nab,np,nq->apbq", curvature, x, x, optimize=True).reshape(k, k)
    return gradient, hessian


def _state_derivatives(state: GLMState, x: Array, y: Array) -> tuple[Array, Array]:
    """Derivatives at the mean, or their expectation under `q` by quadrature."""
    f, likelihood = state.outputs_and_likelihood(x)
    return _derivatives(f, likelihood, x, y)


def _sampled_derivatives(
    rng: np.random.Generator, samples: int, state: GLMState, x: Array, y: Array
) -> tuple[Array, Array]:
    """Derivatives averaged over `samples` draws of the weights."""
    draws = state.mean + np.einsum("cpr,sr->scp", state.root, rng.standard_normal((samples, state.mean.size)))
    derivatives = [_derivatives(x @ theta.T, state.likelihood, x, y) for theta in draws]
    gradients, hessians = zip(*derivatives, strict=True)
    return np.mean(gradients, axis=0), np.mean(hessians, axis=0)


def _penalised_derivatives(
    state: GLMState, x: Array, y: Array, estimator: DerivativeEstimator = _state_derivatives, scale: float = 1.0
) -> tuple[Array, Array]:
    """Derivatives with the prior's terms: `∇L [cp]`, `∇²L [cp, cp]`."""
    gradient, hessian = estimator(state, x, y)
    delta, theta = state.prior, state.mean.reshape(-1)
    return scale * gradient + delta * theta, scale * hessian + delta * np.eye(len(theta))


def _line_search(state: GLMState, x: Array, y: Array, direction: Array) -> GLMState:
    """Change the mean by `−2⁻ᵏ direction` with the smallest `k` for which `L` does not increase."""

    def objective(mean: Array) -> float:
        return float(np.sum(state.likelihood.nll(x @ mean.T, y)) + 0.5 * state.prior * np.sum(mean**2))

    before = objective(state.mean)
    for halvings in range(30):
        mean = state.mean - 0.5**halvings * direction.reshape(state.mean.shape)
        if objective(mean) <= before + 1e-12 * abs(before):
            return replace(state, mean=mean)
    return state


def _iterate(
    state: GLMState, x: Array, y: Array, rate: float, steps: int, batch_size: int | None, seed: int,
    make_estimator: Callable[[np.random.Generator], DerivativeEstimator],
) -> Iterator[GLMState]:  # fmt: skip
    if not 0 < rate <= 1:
        raise ValueError(f"rate = {rate}: expected 0 < ρ ≤ 1")
    rng, n = np.random.default_rng(seed), len(x)
    structure, y = "full" if state.precision.ndim == 2 else "diag", np.asarray(y)
    estimator = make_estimator(rng)
    for step in range(1, steps + 1):
        rows = slice(None) if batch_size is None else rng.choice(n, min(n, batch_size), replace=False)
        gradient, hessian = _penalised_derivatives(state, x[rows], y[rows], estimator, n / len(y[rows]))
        precision = (1 - rate) * state.precision + rate * _restrict(hessian, structure)
        step_direction = np.linalg.solve(precision, gradient) if structure == "full" else gradient / precision
        mean = state.mean - rate * step_direction.reshape(state.mean.shape)
        state = replace(state, mean=mean, precision=precision, step=step)
        _require_precision(state)
        yield state


def _approximation(model: GLMState, full: bool) -> Approximation:
    if model.variational:
        return Approximation.VARIATIONAL
    return Approximation.ONE_STEP if full else Approximation.OPTIMIZER_STATE


def _distance_to_fixed_point(state: GLMState, examples: Examples) -> float:
    """`‖S^{-1/2}∇L‖/√d` with `d = P − δ tr S⁻¹`, the gradient averaged over `q` if `variational`."""
    gradient = state.prior * state.mean.reshape(-1)
    for batch in examples:
        x, weight = np.asarray(batch.inputs, dtype=float), 1.0 if batch.weight is None else batch.weight[:, None]
        f, likelihood = state.outputs_and_likelihood(x)
        gradient = gradient + np.einsum("nc,np->cp", weight * likelihood.error(f, batch.target), x).reshape(-1)
    root = state.root.reshape(state.mean.size, -1)
    effective = len(root) - state.prior * np.sum(root**2)
    return float(np.linalg.norm(gradient @ root) / np.sqrt(max(1.0, effective)))


@posterior.register(GLMState)
def _posterior(model: GLMState, examples: Examples) -> LinearPosterior:
    full, rounding = model.precision.ndim == 2, _require_precision(model)
    description = Description(
        model=f"{type(model.likelihood).__name__} GLM, {counted(model.mean.size, 'coefficient')}",
        approximation=_approximation(model, full),
        posterior="full covariance" if full else "diagonal, from the algorithm's precision",
        likelihood=type(model.likelihood).__name__,
        prior=f"δ = {model.prior:g}, given",
        algorithm=f"{model.algorithm}, step {model.step}",
        coverage=(f"all {counted(model.mean.size, 'coefficient')}: {'full covariance' if full else 'diagonal'}",),
        classes=tuple(range(len(model.mean))) if isinstance(model.likelihood, Categorical) else (),
        estimator="cavity" if full else "first_order",
        distance=_distance_to_fixed_point(model, examples),
    )
    likelihood = ExpectedLikelihood(model.likelihood) if model.variational else model.likelihood
    return LinearPosterior(
        likelihood,
        with_rounding(description, rounding),
        model.mean.T,
        lambda x: np.asarray(x, dtype=float),
        CovarianceRoot(model.root),
    )
