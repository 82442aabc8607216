"""Sparse variational Gaussian processes of GPyTorch: `q(u) = N(m, Σ)` at `M` inducing points [MPE App. H].

For an example with `a_i = K_ZZ⁻¹ k_Zi` (whitened: `L⁻¹k_Zi`):

    f_i = m(x_i) + a_iᵀm        V_i = a_iᵀ Σ a_i        r_i = k_ii − k_iZ K_ZZ⁻¹ k_Zi
    e_i = E_q[∇ℓ_i]             Λ_i = E_q[∇²ℓ_i]        under N(f_i, V_i + r_i)

Removing data changes `q(u)`, so deviations follow `V`; the residual variance `r` does not depend on `q(u)`.

Several outputs are a mixture `f = C g` of independent processes `g`, each with its own `q(u)`: `C` is the matrix of
coefficients of an `LMCVariationalStrategy`, times the mixing weights of a `SoftmaxLikelihood` (`f` are then logits);
otherwise the identity. `V` and `r` are `C diag(·) Cᵀ`, joint over outputs.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpytorch import likelihoods as gpl
from gpytorch.distributions import MultivariateNormal
from gpytorch.variational import (
    CholeskyVariationalDistribution,
    IndependentMultitaskVariationalStrategy,
    LMCVariationalStrategy,
    NaturalVariationalDistribution,
    TrilNaturalVariationalDistribution,
    UnwhitenedVariationalStrategy,
    VariationalStrategy,
)
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import ExpectedLikelihood, quadrature_points
from memorymaps.core.likelihoods.exponential_family import Bernoulli, ExponentialFamily, Gaussian
from memorymaps.core.likelihoods.hinge import Pinball
from memorymaps.core.likelihoods.links import Probit
from memorymaps.core.likelihoods.observed_information import ObservedInformation, has_observed_information
from memorymaps.core.likelihoods.piecewise_linear import NonsmoothLoss
from memorymaps.core.variational_fixed_point import VariationalLosses, VariationalObjective
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError, Examples
from memorymaps.nets.custom import Custom
from memorymaps.nets.interop.gpytorch_checks import check_prior
from memorymaps.nets.interop.gpytorch_exact import GPPrior, numpy_targets
from memorymaps.nets.interop.gpytorch_multitask import task_noise
from memorymaps.nets.interop.variational_refits import ProblemSize, VariationalRefit
from memorymaps.nets.parameter_bits import module_state
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.model_state import model_name, parameters_of
from memorymaps.posteriors.origin import check_targets
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.registry import posterior, training_data

_MULTITASK_STRATEGIES = (IndependentMultitaskVariationalStrategy, LMCVariationalStrategy)
_FULL_COVARIANCE = (CholeskyVariationalDistribution, NaturalVariationalDistribution, TrilNaturalVariationalDistribution)
_PRIOR_JITTER = 1e-3  # that GPyTorch's UnwhitenedVariationalStrategy adds to the prior's covariance in the ELBO
_NO_CORRELATIONS = (
    "q(u) has no correlations of its parameters, or of processes that the likelihood couples: sizes of one step were "
    "1.3 to 2.5 times those of refits"
)
_CLOSED_FORM = (
    "E|y − f| is in closed form: the optimum of GPyTorch's ELBO, by 20 quadrature points, was 0.09 to 0.15 posterior "
    "standard deviations (each) from that. Train with gpytorch.settings.num_gauss_hermite_locs(200), or map with "
    "polish=True"
)
_NEAR = 1.0  # posterior standard deviations per effective parameter from which the optimum is surely found
_CHUNK = 1024  # examples at once: a joint prior covariance of (M + 1024)² numbers


@dataclass(frozen=True)
class VariationalGP:
    """A GPyTorch `ApproximateGP` with its likelihood."""

    model: Any
    likelihood: Any


@dataclass(frozen=True)
class Variational:
    """Recipe: the posterior of an `ApproximateGP` is its own `q(u)`; for `memory_map` and for `Tracker`.

    `memory_map(model, X, y, likelihood=likelihood, posterior=Variational())`, with a GPyTorch likelihood (Gaussian,
    Bernoulli, softmax, multitask Gaussian, or any one-dimensional one) or a `Likelihood`.
    """

    def __call__(self, model: Any, likelihood: Any) -> VariationalGP:
        """Bind model and likelihood."""
        if likelihood is None:
            raise ValueError(
                "Variational() needs a likelihood: pass the GPyTorch one of the training, likelihood=likelihood"
            )
        return VariationalGP(model, likelihood)


def as_memorymaps_likelihood(likelihood: Any) -> Likelihood:
    """The package's likelihood for a GPyTorch likelihood, at `f`; `ExpectedLikelihood` gives its expectations.

    Raises
    ------
    TypeError
        Other likelihoods of several outputs.
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    if isinstance(likelihood, gpl.GaussianLikelihood):
        return Gaussian(float(likelihood.noise.detach().reshape(-1)[0]))
    if isinstance(likelihood, gpl.BernoulliLikelihood):
        return Bernoulli(link=Probit())
    if isinstance(likelihood, gpl.LaplaceLikelihood):  # |y − f|/b: not smooth, in closed form instead of by quadrature
        return Pinball(0.5, cost=2 / float(likelihood.noise.detach().reshape(-1)[0]) ** 0.5)
    if isinstance(likelihood, gpl.SoftmaxLikelihood):
        return Categorical()
    if isinstance(likelihood, gpl.MultitaskGaussianLikelihood):  # the variational objective uses the diagonal only
        return Gaussian(tuple(np.diagonal(task_noise(likelihood)).tolist()))
    if isinstance(likelihood, gpl.likelihood._OneDimensionalLikelihood):
        return _one_dimensional(likelihood)
    raise TypeError(
        f"{type(likelihood).__name__} is not supported: expected GaussianLikelihood, BernoulliLikelihood, "
        "SoftmaxLikelihood, MultitaskGaussianLikelihood, any one-dimensional likelihood, or a memorymaps likelihood"
    )


def _quadrature_note(likelihood: Any) -> tuple[str, ...]:
    """That GPyTorch's expectations differ, where a kink of the loss makes its quadrature inaccurate."""
    return (_CLOSED_FORM,) if isinstance(likelihood, gpl.LaplaceLikelihood) else ()


def _one_dimensional(likelihood: Any) -> Custom:
    def loss(f: Tensor, y: Tensor) -> Tensor:
        nll: Tensor = -likelihood(f[:, 0]).log_prob(y.to(f))
        return nll

    def predict(f: Tensor) -> Tensor:
        mean: Tensor = likelihood(f[:, 0]).mean
        return mean

    return Custom(loss, predict)


@dataclass(frozen=True)
class VariationalPosterior:
    """`q(f)`, `f = C g`, with `q(u) = N(m, Σ)`, `Σ = R Rᵀ`, for each `g`: `m [l, M]`, `R [l, M, M]`, `C [c, l]`."""

    likelihood: Likelihood
    description: Description
    prior: GPPrior
    inducing: Tensor
    whitened: bool
    mean: Tensor
    root: Tensor
    mixing: Array
    refits: VariationalRefit | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, and refits where one step is not exact."""
        found = Capabilities(covariance_root=self.covariance_root)
        if self.refits is None:
            return found
        unasked = None if self.description.approximation == Approximation.FACTORIZED else self.refits.own
        found = dataclasses.replace(
            found, refit=self.refits, own_refits=unasked, refitted_variance=self.refits.own_variances
        )
        distance = self.description.distance
        if distance is None or not distance <= _NEAR:
            return found
        return dataclasses.replace(found, group_refit=self.refits, example_refits=self.refits.at_queries)

    def with_refits(self, examples: Examples) -> VariationalPosterior:
        """With refits on these examples, and its distance from their optimum where that is affordable."""
        (l, m), c = self.mean.shape, len(self.mixing)
        size = ProblemSize(len(examples), l, m, c, quadrature_points(self.likelihood, c))
        refits = VariationalRefit(functools.partial(_objective, self, examples), self._features, size)
        description = self.description
        if refits.distance_is_affordable:
            distance = refits.trained.distance
            description = dataclasses.replace(description, distance=distance, polishable=distance <= _NEAR)
        return dataclasses.replace(self, refits=refits, description=description)

    def _features(self, inputs: Any) -> Array:
        """`Rᵀa [n, l, M]`."""
        return self._latent_statistics(inputs)[1]

    def prior_terms(self) -> tuple[Array, Array]:
        """`P₀ [l, M, M]` and `g₀ [l, M]`, the prior's precision and its gradient at `m`, in coordinates `R`."""
        if self.whitened:
            transposed = self.root.mT
            return (transposed @ self.root).cpu().numpy(), (transposed @ self.mean[..., None])[..., 0].cpu().numpy()
        mean, covariance = self.prior.joint(self.inducing)
        eye = _PRIOR_JITTER * torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        cholesky = torch.linalg.cholesky(covariance + eye).expand(len(self.mean), *covariance.shape[-2:])
        root = torch.linalg.solve_triangular(cholesky, self.root, upper=False)
        centre = torch.linalg.solve_triangular(cholesky, (self.mean - mean)[..., None], upper=False)
        return (root.mT @ root).cpu().numpy(), (root.mT @ centre)[..., 0].cpu().numpy()

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]`, `V = C diag(aᵀΣa) Cᵀ [n, c, c]` and the residual variance."""
        g, z, residual_variance = self._latent_statistics(inputs)
        return Marginals(g @ self.mixing.T, self._mixed(np.sum(z**2, axis=-1)), self._mixed(residual_variance))

    def _mixed(self, variance: Array) -> Array:
        """`C diag(v_i) Cᵀ [n, c, c]`."""
        return (self.mixing * variance[:, None, :]) @ self.mixing.T

    def outputs(self, inputs: Any) -> Array:
        """`f [n, c]`."""
        return self._latent_statistics(inputs)[0] @ self.mixing.T

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, l·M]` with `Z_i Z_jᵀ = C diag(a_iᵀ Σ a_j) Cᵀ`."""
        z = self._latent_statistics(inputs)[1]
        return (self.mixing[:, :, None] * z[:, None]).reshape(len(z), len(self.mixing), -1)

    def _latent_statistics(self, inputs: Any) -> tuple[Array, Array, Array]:
        """`g [n, l]`, `Rᵀa [n, l, M]` and residual variances `r [n, l]`."""
        x = self.prior.tensor(inputs)
        parts = [self._block(block) for block in torch.split(x, _CHUNK)]
        f, z, residual_variance = (torch.cat([part[k] for part in parts]).cpu().numpy() for k in range(3))
        return f, z, residual_variance

    def _block(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = self.inducing.shape[-2]
        points = x.expand(*self.inducing.shape[:-2], *x.shape)
        mean, covariance = self.prior.joint(torch.cat([self.inducing, points], dim=-2))
        c = len(self.mean)
        mean, covariance = mean.expand(c, -1), covariance.expand(c, *covariance.shape[-2:])
        jitter = self.prior.model.variational_strategy
        jitter = getattr(jitter, "base_variational_strategy", jitter).jitter_val
        eye = jitter * torch.eye(m, dtype=mean.dtype, device=mean.device)
        cholesky = torch.linalg.cholesky(covariance[:, :m, :m] + eye)
        whitened_cross = torch.linalg.solve_triangular(cholesky, covariance[:, :m, m:], upper=False)
        a = whitened_cross if self.whitened else torch.linalg.solve_triangular(cholesky.mT, whitened_cross, upper=True)
        centre = self.mean if self.whitened else self.mean - mean[:, :m]
        f = mean[:, m:] + (a.mT @ centre[..., None])[..., 0]
        prior_variance = torch.diagonal(covariance[:, m:, m:], dim1=-2, dim2=-1)
        residual_variance = (prior_variance - (whitened_cross**2).sum(-2)).clamp(min=0)
        return f.T, (a.mT @ self.root).transpose(0, 1), residual_variance.T


@training_data.register(VariationalGP)
def _data(model: VariationalGP, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError("a variational Gaussian process does not keep its training data: memory_map(model, X, y, …)")
    return examples.map(numpy_targets)


@parameters_of.register(VariationalGP)
def _state(bound: VariationalGP) -> dict[str, Any]:
    likelihood = bound.likelihood
    own = module_state(likelihood) if isinstance(likelihood, torch.nn.Module) else {}
    return {"model": module_state(bound.model), "likelihood": own}


model_name.register(VariationalGP)(lambda bound: type(bound.model).__name__)


@posterior.register(VariationalGP)
def _variational(bound: VariationalGP, examples: Examples) -> VariationalPosterior:
    outer = bound.model.variational_strategy
    inner = outer.base_variational_strategy if isinstance(outer, _MULTITASK_STRATEGIES) else outer
    if type(inner) not in (VariationalStrategy, UnwhitenedVariationalStrategy):
        raise TypeError(
            f"{type(inner).__name__} is not supported: expected VariationalStrategy, UnwhitenedVariationalStrategy, "
            "or one of them in IndependentMultitaskVariationalStrategy or LMCVariationalStrategy"
        )
    if not bool(inner.variational_params_initialized):
        raise DataError("q(u) is not initialised yet: pass one batch through the model before the first map")
    prior = GPPrior(bound.model, inner.inducing_points.shape[-1])
    check_prior(prior, next(iter(examples)).inputs)
    mean, covariance = _inducing_moments(inner._variational_distribution)
    m = mean.shape[-1]
    mean = mean.reshape(-1, m)
    mixing = _mixing(outer, bound.likelihood, len(mean))
    likelihood = as_memorymaps_likelihood(bound.likelihood)
    full = isinstance(inner._variational_distribution, _FULL_COVARIANCE)
    coupled = len(mean) > 1 and (isinstance(likelihood, Categorical) or bool(np.any((mixing != 0).sum(1) > 1)))
    description = Description(
        model=f"GPyTorch {type(bound.model).__name__} (ApproximateGP)",
        approximation=Approximation.VARIATIONAL if full and not coupled else Approximation.FACTORIZED,
        posterior=f"variational q(u) at {counted(m, 'inducing point')}, {type(inner).__name__}",
        likelihood=f"expected {type(likelihood).__name__}",
        prior="the model's mean and kernel, from the model",
        algorithm="variational inference, at the current q(u)",
        coverage=(f"q(u) of {counted(m, 'inducing point')}: {'full' if full else 'diagonal'} covariance",),
        estimator="bounded_cavity",
        notes=("Hyperparameters and inducing points are fixed at their values.", *_quadrature_note(bound.likelihood)),
        cautions=() if full and not coupled else (_NO_CORRELATIONS,),
    )
    source = VariationalPosterior(
        _expected(likelihood),
        description,
        prior,
        inner.inducing_points.detach(),
        isinstance(inner, VariationalStrategy),
        mean,
        _root(covariance.reshape(-1, m, m)),
        mixing,
    )
    return source.with_refits(examples) if full and not isinstance(likelihood, Gaussian) else source


def _inducing_moments(distribution: Any) -> tuple[Tensor, Tensor]:
    """Mean `[..., M]` and covariance `[..., M, M]` of `q(u)`, float64.

    Raises
    ------
    TypeError
        A point, or another distribution that is not Gaussian.
    """
    with torch.no_grad():
        q = distribution()
    if not isinstance(q, MultivariateNormal):
        raise TypeError(
            f"q(u) is a {type(distribution).__name__}, of which there is no covariance and so no leverage: expected a "
            "Gaussian one. Train with CholeskyVariationalDistribution(M) or NaturalVariationalDistribution(M) in its "
            "place"
        )
    return q.mean.detach().double(), q.covariance_matrix.detach().double()


def _objective(source: VariationalPosterior, examples: Examples) -> VariationalObjective:
    """The ELBO of the examples in coordinates in which `q(u)` is `N(0, I)`."""
    parts = [(source._latent_statistics(batch.inputs), batch) for batch in examples]
    g, z, residual = (np.concatenate([statistics[k] for statistics, _ in parts]) for k in range(3))
    f = g @ source.mixing.T
    if parts[0][1].offset is not None:
        f = f + np.concatenate([np.asarray(batch.offset) for _, batch in parts]).reshape(len(f), -1)
    for _, batch in parts:
        check_targets(source.likelihood, batch, f.shape[1])
    weight = [np.ones(len(b)) if b.weight is None else np.asarray(b.weight, dtype=float) for _, b in parts]
    target = np.concatenate([np.asarray(batch.target) for _, batch in parts])
    losses = VariationalLosses(source.likelihood, z, f, source._mixed(residual), source.mixing, target)
    return VariationalObjective(losses, np.concatenate(weight), *source.prior_terms())


@polished.register(VariationalPosterior)
def _polished_variational(source: VariationalPosterior, examples: Examples) -> VariationalPosterior:
    """`q(u)` at the optimum of the ELBO."""
    if source.refits is None:
        raise TypeError(
            "polish=True: expected a q(u) with a full covariance (CholeskyVariationalDistribution), and a likelihood "
            "other than Gaussian, from which one step is not exact"
        )
    fit = source.refits.fit
    mean, root = (torch.as_tensor(each[0]).to(source.mean) for each in (fit.mean, fit.root))
    mean = source.mean + (source.root @ mean[..., None])[..., 0]
    return dataclasses.replace(source, mean=mean, root=source.root @ root).with_refits(examples)


def _expected(likelihood: Likelihood) -> Likelihood:
    """The likelihood whose curvature is `E_q[∇²ℓ]`: expected information differs from it for the probit."""
    if isinstance(likelihood, NonsmoothLoss):
        return likelihood
    if isinstance(likelihood, ExponentialFamily) and has_observed_information(likelihood):
        return ExpectedLikelihood(ObservedInformation(likelihood))
    return ExpectedLikelihood(likelihood)


def _mixing(strategy: Any, likelihood: Any, latents: int) -> Array:
    """Mixing matrix `C [c, l]`, from independent processes to the outputs of the likelihood.

    Raises
    ------
    TypeError
        The number of variational distributions differs from that of processes.
    """
    expected = getattr(strategy, "num_latents", getattr(strategy, "num_tasks", latents))
    if expected != latents:
        raise TypeError(
            f"{latents} variational distribution(s) for {expected} processes: give each its own, "
            f"CholeskyVariationalDistribution(M, batch_shape=torch.Size([{expected}]))"
        )
    mixing = np.eye(latents)
    if isinstance(strategy, LMCVariationalStrategy):
        mixing = strategy.lmc_coefficients.detach().double().cpu().numpy().T
    weights = getattr(likelihood, "mixing_weights", None)
    return mixing if weights is None else weights.detach().double().cpu().numpy() @ mixing


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()[..., None, :]
    return root
