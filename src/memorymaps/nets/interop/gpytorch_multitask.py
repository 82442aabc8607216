"""GPyTorch's exact multitask processes: one joint Gaussian over all outputs of all examples.

    K [Nc, Nc]  prior covariance        Σ [c, c]  noise of one example's tasks
    V(x, x) = K(x, x) − K(x, X) (K + I ⊗ Σ)⁻¹ K(X, x)        e = Σ⁻¹(f − y),  Λ = Σ⁻¹

An example is removed with all its tasks. Memory is `(Nc)²` numbers: 2,000 examples of three tasks take 0.3 GB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gpytorch.likelihoods import MultitaskGaussianLikelihood
from scipy.linalg import cho_solve, cholesky, solve_triangular

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, raise_for_targets
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError
from memorymaps.models.kernels.gram_posterior import gram_coordinates
from memorymaps.nets.interop.gpytorch_exact import (
    FIXED_HYPERPARAMETERS,
    TRAINED_HYPERPARAMETERS,
    GPPrior,
    exact_process,
    noise_of,
)
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


@noise_of.register(MultitaskGaussianLikelihood)
def task_noise(likelihood: Any) -> Array:
    """Noise covariance `Σ [c, c]`: task noises (their covariance if its rank is positive) plus the global noise."""
    noise = np.zeros((likelihood.num_tasks, likelihood.num_tasks))
    if likelihood.has_task_noise:
        noise += _numpy(likelihood.task_noise_covar) if likelihood.rank else np.diag(_numpy(likelihood.task_noises))
    if likelihood.has_global_noise:
        noise += float(likelihood.noise.detach().reshape(-1)[0]) * np.eye(len(noise))
    return noise


def _numpy(tensor: Any) -> Array:
    return np.asarray(tensor.detach().double().cpu())


@dataclass(frozen=True)
class CorrelatedGaussian(Likelihood):
    """`y ~ N(f, Σ)` with correlated noise of the outputs, `covariance = Σ [c, c]`.

    Examples
    --------
    >>> noise = CorrelatedGaussian(np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> noise.error(np.array([[1.0, 0.0]]), np.zeros((1, 2)))
    array([[ 1.333, -0.667]])
    """

    covariance: Array

    @cached_property
    def precision(self) -> Array:
        """`Σ⁻¹`."""
        return np.linalg.inv(self.covariance)

    def nll(self, f: Array, y: Array) -> Array:
        """`½ rᵀΣ⁻¹r + ½ log |2πΣ|`."""
        r = f - y
        constant = np.linalg.slogdet(2 * math.pi * self.covariance)[1]
        return 0.5 * (np.sum(r @ self.precision * r, axis=1) + constant)

    def mean(self, f: Array) -> Array:
        """`f`."""
        return f

    def mean_jacobian(self, f: Array) -> Array:
        """The identity."""
        return np.broadcast_to(np.eye(f.shape[1]), (*f.shape, f.shape[1]))

    def error(self, f: Array, y: Array) -> Array:
        """`Σ⁻¹(f − y)`."""
        return (f - y) @ self.precision

    def curvature(self, f: Array, y: Array) -> Array:
        """`Σ⁻¹`."""
        return np.broadcast_to(self.precision, (len(f), *self.precision.shape))

    def encode(self, y: Array, c: int) -> Array:
        """Targets unchanged."""
        return y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every task has a finite target."""
        raise_for_targets(~np.all(np.isfinite(np.reshape(y, (len(y), -1))), axis=1), y, f"{c} finite numbers")


@dataclass(frozen=True)
class MultitaskPosterior:
    """Posterior `q(f)` of a multitask process; group removal is exact."""

    likelihood: Likelihood
    description: Description
    prior: GPPrior
    train_inputs: Any
    gram: Array
    target: Array
    noise: Array

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances."""
        return Capabilities(covariance_root=self.covariance_root)

    @cached_property
    def _cholesky(self) -> Array:
        try:
            return np.asarray(cholesky(self.gram + self._joint_noise, lower=True))
        except np.linalg.LinAlgError as error:
            raise DataError("the kernel is not positive semi-definite on the training data") from error

    @cached_property
    def _joint_noise(self) -> Array:
        return np.kron(np.eye(len(self.target)), self.noise)

    @cached_property
    def _weights(self) -> Array:
        gap = (self.target - self.prior.mean(self.train_inputs)).ravel()
        return np.asarray(cho_solve((self._cholesky, True), gap))

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V [n, c, c]`."""
        cross, prior_covariance = self.prior.kernel(inputs, self.train_inputs), self.prior.kernel(inputs, inputs)
        c = len(self.noise)
        n = len(prior_covariance) // c
        whitened = solve_triangular(self._cholesky, cross.T, lower=True).T.reshape(n, c, -1)
        rows = np.arange(n)
        prior = prior_covariance.reshape(n, c, n, c)[rows, :, rows]
        f = self.prior.mean(inputs) + (cross @ self._weights).reshape(n, c)
        return Marginals(f, prior - whitened @ whitened.mT)

    @cached_property
    def _coordinates(self) -> Array:
        return gram_coordinates(self.gram, lambda matrix: np.linalg.solve(self._joint_noise, matrix))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]` with `Z_i Z_jᵀ = V_ij`, exact where one of the two is a training example."""
        z = self.prior.kernel(inputs, self.train_inputs) @ self._coordinates
        return z.reshape(-1, len(self.noise), z.shape[1])


@exact_process.register(MultitaskGaussianLikelihood)
def _multitask(likelihood: Any, model: Any, whole: Batch) -> MultitaskPosterior:
    noise, x = task_noise(likelihood), whole.inputs
    prior = GPPrior.of(model)
    diagonal = np.count_nonzero(noise - np.diag(np.diagonal(noise))) == 0
    phi = tuple(np.diagonal(noise).tolist()) if diagonal else None
    gram = prior.kernel(x, x)
    effective = np.trace(np.linalg.solve(gram + np.kron(np.eye(len(whole)), noise), gram))
    description = Description(
        model=f"GPyTorch {type(model).__name__} (ExactGP), {counted(len(noise), 'task')}",
        approximation=Approximation.EXACT,
        posterior="exact Gaussian process, joint over tasks",
        likelihood="Gaussian" if phi else "correlated Gaussian",
        prior="the model's mean and kernel, from the model",
        coverage=(f"f of {counted(len(noise), 'task')} at {len(whole)} training inputs: exact, full covariance",),
        effective_parameters=float(effective),
        dispersion=phi,
        hyperparameters_held=TRAINED_HYPERPARAMETERS,
        notes=(FIXED_HYPERPARAMETERS, "An example is left out with all its tasks."),
        methods=("nickl2023memory", "tailor2023maps", "rasmussen2006gaussian"),
    )
    found = Gaussian(phi) if phi else CorrelatedGaussian(noise)
    return MultitaskPosterior(found, description, prior, x, gram, whole.target, noise)
