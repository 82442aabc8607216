"""Linear-Gaussian state-space models: the Kalman smoother's posterior, and deletion residuals of all observations.

    x_1 ~ N(m₀, P₀),   x_t = A x_{t−1} + w_t,   y_t = C x_t + v_t,   w ~ N(0, Q),   v ~ N(0, R)

The map's output is `f_t = C x_t`, with smoothed mean and covariance given *all* observations. The likelihood is
Gaussian, so that leaving `y_t` out is exact: `V^{\\t} = V(I − R⁻¹V)⁻¹` is the smoothed covariance without it.
Source: de Jong 1988.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.likelihoods.mean_parameter import MultivariateGaussian
from memorymaps.core.perturbation.deviation import cavity_variance
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.core.wording import counted
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.indexed import ExamplesWithRows, row_indices
from memorymaps.models.conjugate.family import ImproperError, as_positive_definite
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.registry import posterior, training_data


@dataclass(frozen=True, eq=False)
class StateSpace:
    """A linear-Gaussian state-space model.

    `transition`: `A [k, k]`; `observation`: `C [c, k]`; `process`: `Q [k, k]`; `noise`: `R [c, c]`; `first_mean`,
    `first_variance`: `m₀ [k]`, `P₀ [k, k]`.

    Raises
    ------
    ImproperError
        Shapes that do not fit, a noise that is not positive definite, a process noise that is not semidefinite.

    Examples
    --------
    >>> import memorymaps as mm
    >>> level = StateSpace([[1.0]], [[1.0]], [[0.1]], [[1.0]], [0.0], [[10.0]])  # a random walk observed with noise
    >>> m = mm.memory_map(level.given([0.2, -0.1, 6.0, 0.3, 0.1]))
    >>> m.top(1)["id"].tolist(), m.top(1)["deletion_residual"].round(1).tolist()
    ([2], [-5.0])
    """

    transition: Any
    observation: Any
    process: Any
    noise: Any
    first_mean: Any
    first_variance: Any

    def __post_init__(self) -> None:
        shapes = {name: np.atleast_1d(np.asarray(value, dtype=float)) for name, value in vars(self).items()}
        k, c = shapes["first_mean"].size, np.atleast_2d(shapes["observation"]).shape[0]
        wanted = {"transition": (k, k), "observation": (c, k), "process": (k, k), "first_mean": (k,)}
        for name, shape in wanted.items():
            if shapes[name].shape != shape or not np.all(np.isfinite(shapes[name])):
                raise ImproperError(f"{name} of shape {shapes[name].shape}: expected {shape} finite numbers")
        if np.linalg.eigvalsh(shapes["process"])[0] < -1e-12 or not np.allclose(shapes["process"], shapes["process"].T):
            raise ImproperError("process: expected a symmetric positive semidefinite matrix")
        shapes["noise"] = as_positive_definite("noise", self.noise, c)
        shapes["first_variance"] = as_positive_definite("first_variance", self.first_variance, k)
        for name, value in shapes.items():
            object.__setattr__(self, name, value)

    def given(self, y: Any, *, ids: Any = None, sample_weight: Any = None) -> SmoothedSeries:
        """The posterior of all states given observations `[T]` or `[T, c]`; weight 0 means not observed.

        Raises
        ------
        TargetError
            Observations that are not finite (give missing ones any finite value and weight 0).
        """
        target = np.asarray(y, dtype=float)
        examples = ArrayExamples.of(np.arange(len(target)), target, ids, sample_weight)
        likelihood = self.likelihood
        likelihood.check_target(examples.whole.target, len(self.observation))
        return SmoothedSeries(self, examples)

    @property
    def likelihood(self) -> Likelihood:
        """Gaussian with covariance `R`."""
        one = len(self.noise) == 1
        return Gaussian(dispersion=float(self.noise[0, 0])) if one else MultivariateGaussian(self.noise)


@dataclass(frozen=True, eq=False)
class SmoothedSeries:
    """A state-space model with observations; the smoother's posterior."""

    model: StateSpace
    examples: ArrayExamples

    @property
    def weight(self) -> Array:
        """Weights `[T]`, ones if none were given."""
        weight = self.examples.whole.weight
        return np.ones(len(self.examples)) if weight is None else weight

    def outputs(self) -> tuple[Array, Array]:
        """Smoothed `f = E[C x_t] [T, c]` and `V [T, c, c]` given all observations."""
        return _outputs(self.model, self.examples.whole.target, self.weight)

    def without(self, rows: Sequence[int] | Array) -> tuple[Array, Array]:
        """`f` and `V` given all observations except these rows, by running the smoother again."""
        weight = self.weight.copy()
        weight[np.asarray(rows)] = 0
        return _outputs(self.model, self.examples.whole.target, weight)


def _outputs(model: StateSpace, y: Array, weight: Array) -> tuple[Array, Array]:
    y = y.reshape(len(y), -1)
    mean, variance, predicted = _filter(model, y, weight)
    for t in range(len(y) - 2, -1, -1):  # Rauch–Tung–Striebel
        next_mean, next_variance = predicted[t + 1]
        gain = np.linalg.solve(next_variance, model.transition @ variance[t]).T
        mean[t] = mean[t] + gain @ (mean[t + 1] - next_mean)
        variance[t] = variance[t] + gain @ (variance[t + 1] - next_variance) @ gain.T
    c = model.observation
    return np.stack(mean) @ c.T, c @ np.stack(variance) @ c.T


def _filter(model: StateSpace, y: Array, weight: Array) -> tuple[list[Array], list[Array], list[tuple[Array, Array]]]:
    """Filtered means `[k]` and variances `[k, k]` of all times, and the one-step predictions before each update."""
    a, c, m, p = model.transition, model.observation, model.first_mean, model.first_variance
    means, variances, predicted = [], [], []
    for t, w in enumerate(weight):
        if t:
            m, p = a @ m, a @ p @ a.T + model.process
        predicted.append((m, p))
        if w > 0:
            noise = model.noise / w
            gain = np.linalg.solve(c @ p @ c.T + noise, c @ p).T
            complement = np.eye(len(m)) - gain @ c  # Joseph form
            m, p = m + gain @ (y[t] - c @ m), complement @ p @ complement.T + gain @ noise @ gain.T
        means.append(m)
        variances.append(p)
    return means, variances, predicted


@dataclass(frozen=True)
class SmoothedPosterior:
    """The smoother's marginals of `f_t = C x_t`."""

    f: Array
    variance: Array
    likelihood: Likelihood
    description: Description

    @property
    def capabilities(self) -> Capabilities:
        """Exact divergences and deletion residuals as columns."""
        return Capabilities(extra_columns=self.extra_columns)

    def marginals(self, inputs: Any) -> Marginals:
        """`f` and `V` of these times."""
        return Marginals(self.f[inputs], self.variance[inputs])

    def extra_columns(self, batch: Batch, at: FullVariance) -> Mapping[str, Array]:
        """`kl`, `KL(q^{\\t} ‖ q)` of all states, which is that of `f_t`; `loo_predictive_loss`, `−log p(y_t ∣ y_{−t})`;
        `deletion_residual`, prediction without `y_t` minus `y_t` in predictive standard deviations (whitened, `c > 1`).
        """
        total = cavity_variance(at.variance, at.curvature) + self._noise(at)
        gap = at.f + at.cavity() - at.likelihood.encode(at.y, at.f.shape[1])
        square = np.sum(gap * np.linalg.solve(total, gap[..., None])[..., 0], axis=1)
        return {
            "kl": gaussian_kl(at),
            "loo_predictive_loss": 0.5 * (square + np.linalg.slogdet(2 * np.pi * total)[1]),
            "deletion_residual": np.linalg.solve(np.linalg.cholesky(total), gap[..., None])[..., 0],
        }

    def _noise(self, at: FullVariance) -> Array:
        return np.linalg.inv(at.likelihood.curvature(at.f, at.y))


def gaussian_kl(at: FullVariance) -> Array:
    """`KL(q^{\\i} ‖ q) = ½ Σ_k (h_k/(1 − h_k) + log(1 − h_k)) + ½ uᵀVu`, `u = (I − ΛV)⁻¹e`: `[n]`, in nats.

    For Gaussian posteriors of linear models, whatever the number of parameters: without `y_i`, the posterior differs
    from that with it in `f_i` alone.
    """
    h = at.spectrum[0]
    u = np.linalg.solve(np.eye(h.shape[1]) - at.curvature @ at.variance, at.error[..., None])
    return np.asarray(0.5 * np.sum(h / (1 - h) + np.log1p(-h), axis=1) + 0.5 * (u.mT @ at.variance @ u)[:, 0, 0])


@training_data.register(SmoothedSeries)
def _data(model: SmoothedSeries, examples: Examples | None) -> Examples:
    if examples is not None:
        raise ValueError("a smoothed series carries its data: call memory_map(model.given(y)), without X and y")
    return ExamplesWithRows(model.examples, row_indices)


@posterior.register(SmoothedSeries)
def _posterior(model: SmoothedSeries, examples: Examples) -> SmoothedPosterior:
    space, (f, variance) = model.model, model.outputs()
    weight, precision = model.weight, np.linalg.inv(space.noise)
    description = Description(
        model=f"linear-Gaussian state space, {len(space.first_mean)} state(s)",
        approximation=Approximation.EXACT,
        posterior="exact, Kalman smoother",
        likelihood=type(space.likelihood).__name__,
        prior="the state process",
        algorithm="Kalman filter and Rauch–Tung–Striebel smoother",
        coverage=(f"{len(f)} × {counted(len(space.first_mean), 'state')}: exact",),
        effective_parameters=float(np.einsum("n,nij,ji->", weight, variance, precision)),
    )
    return SmoothedPosterior(f, variance, space.likelihood, description)


@training_data.register(StateSpace)
@posterior.register(StateSpace)
def _refuse_model(model: StateSpace, examples: Examples | None) -> Any:
    raise ValueError("this state-space model has no observations: call memory_map(model.given(y))")
