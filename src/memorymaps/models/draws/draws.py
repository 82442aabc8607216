"""Posterior samples: memory maps from draws of a model's outputs (MCMC, ensembles, MC-dropout, SWAG, black boxes).

    f_i = mean of the draws      V_i = their covariance, shrunk if draws are few (`covariance_shrinkage`)

Gradients and parameters of the model are not needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.indexed import ExamplesWithRows, row_indices
from memorymaps.data.views import without_weight
from memorymaps.models.draws.covariance_shrinkage import ShrinkageTarget
from memorymaps.models.draws.importance_sampling import ImportanceSampler
from memorymaps.models.draws.sample_posterior import (
    ImportanceWeightedPosterior,
    SampledPosterior,
    covariance,
    without_expectation,
)
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.model_state import model_name, parameters_of
from memorymaps.posteriors.registry import posterior, training_data

_ROUNDING = 1e-12  # size of differences between draws, relative to the draws, that is none
_SHRINKAGE_EXAMPLES = 2048  # number of examples from which the shrinkage target is estimated


def _require_likelihood(likelihood: Any) -> Likelihood:
    if not isinstance(likelihood, Likelihood):
        raise TypeError(
            f"likelihood = {likelihood!r}: expected a Likelihood such as Gaussian(dispersion=noise_variance), "
            "ExpectedLikelihood(Bernoulli()) or ExpectedLikelihood(Categorical())"
        )
    return likelihood


@dataclass(frozen=True)
class Draws:
    """Draws of the outputs at the training examples, `f [s, n, c]` or `[s, n]` (link scale: logits, linear predictor).

    Parameters
    ----------
    f : the draws; draw `k` is one function evaluated at all examples.
    likelihood : `p(y ∣ f)`. `ExpectedLikelihood(Bernoulli())` averages error and curvature over the posterior: the
        first-order change of the posterior mean. `Bernoulli()` evaluates them at the mean.
    importance : `psis` adds leave-one-out by importance sampling and the Pareto-k warning; see `extra_columns`.
    log_likelihood : `log p(y_i ∣ θ_s) [s, n]` for importance sampling, if it depends on more than `f` (sampled noise).
    examples : targets and ids, if they are known with the draws; otherwise call `memory_map(draws, X, y)`.
    name : shown as the model in descriptions.

    Raises
    ------
    DataError
        Fewer than two draws, another shape, values that are not finite.

    Examples
    --------
    >>> import numpy as np, memorymaps as mm
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> rng, y = np.random.default_rng(0), np.array([1.0, 2.0, 3.0, 10.0])
    >>> f = rng.normal(y.mean(), 0.5, size=(4000, 1)) * np.ones(4)  # the mean of four, drawn from its posterior
    >>> m = mm.memory_map(Draws(f, Gaussian(dispersion=1.0)), y, y)
    >>> round(float(m["loo_prediction"][3]), 1), (1 + 2 + 3) / 3
    (2.0, 2.0)
    """

    f: Any
    likelihood: Likelihood
    importance: ImportanceSampler | None = None
    log_likelihood: Any = None
    examples: Examples | None = None
    name: str = "draws"

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", as_draws(self.f, None))
        _require_likelihood(self.likelihood)
        if self.log_likelihood is not None:
            log_p = np.asarray(self.log_likelihood, dtype=float)
            if log_p.shape != self.f.shape[:2] or not np.all(np.isfinite(log_p)):
                raise DataError(f"log_likelihood {log_p.shape}: expected finite numbers of shape {self.f.shape[:2]}")
            object.__setattr__(self, "log_likelihood", log_p)

    def __call__(self, rows: Any) -> Array:
        """Draws `[s, k, c]` at the training examples of these row numbers `[k]`.

        Raises
        ------
        DataError
            Inputs instead of row numbers: the draws are not known elsewhere.
        """
        return self.f[:, _checked_rows(rows, self.f.shape[1])]


def _checked_rows(rows: Any, n: int) -> Array:
    """Row numbers `[k]`, integers from 0 to n − 1."""
    found = np.asarray(rows)
    if found.ndim == 1 and np.issubdtype(found.dtype, np.integer) and np.all((found >= 0) & (found < n)):
        return found
    raise DataError(
        f"inputs of shape {found.shape}, dtype {found.dtype}: draws are known at their {n} training examples only; "
        f"expected row numbers from 0 to {n - 1}, influence_on(m, [0, 3]). For other inputs map a Sampler(predict, "
        "likelihood), whose predict(inputs) returns draws [s, k] or [s, k, c]"
    )


@dataclass(frozen=True)
class Sampler:
    """A model that returns draws of its outputs: `predict(inputs)` → `[s, n, c]`, draw `k` one function in all calls.

    For ensembles, MC-dropout and snapshots of networks see `memorymaps.nets.ensembles`. The other parameters are those
    of `Draws`; `cautions` are sentences that become the map's warnings; `state()` returns everything that `predict`
    depends on, as nested mappings and lists of arrays, so that later changes are noticed; `approximation` is the kind
    of posterior that the draws are of, `"other draws"` where they are of none, as a bootstrap's.

    Examples
    --------
    >>> import numpy as np, memorymaps as mm
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> rng = np.random.default_rng(0)
    >>> x, slopes = np.linspace(-1, 1, 20), rng.normal(2.0, 0.1, size=500)
    >>> m = mm.memory_map(Sampler(lambda x: slopes[:, None] * x, Gaussian(0.25)), x, 2 * x + rng.normal(size=20) / 2)
    >>> m.top(1, by="leverage")["id"].tolist()[0] in (0, 19)
    True
    """

    predict: Callable[[Any], Any]
    likelihood: Likelihood
    importance: ImportanceSampler | None = None
    name: str = "black box"
    cautions: tuple[str, ...] = ()
    state: Callable[[], Any] | None = None
    approximation: Approximation = Approximation.DRAWS

    def __post_init__(self) -> None:
        _require_likelihood(self.likelihood)

    def __call__(self, inputs: Any) -> Array:
        """Draws `[s, n, c]` at these inputs."""
        return as_draws(self.predict(inputs), inputs.shape[0] if hasattr(inputs, "shape") else len(inputs))


def as_draws(f: Any, n: int | None) -> Array:
    """Convert draws to a finite float64 array `[s, n, c]`.

    Raises
    ------
    DataError
        Another shape, fewer than two draws, NaN or infinite values.
    """
    f = np.asarray(f, dtype=np.float64)
    f = f[..., None] if f.ndim == 2 else f
    if f.ndim != 3 or n not in (None, f.shape[1]):
        wanted = "n" if n is None else n
        raise DataError(f"draws of shape {f.shape}: expected [s, {wanted}] or [s, {wanted}, c], draws first")
    if len(f) < 2:
        raise DataError(f"{len(f)} draw: a posterior covariance needs two at least. Pass more, better hundreds")
    if not np.all(np.isfinite(f)):
        bad = ~np.isfinite(f).all(axis=(1, 2))
        raise DataError(
            f"NaN or infinite values in {np.count_nonzero(bad)} of {len(f)} draws, first in draw {int(np.argmax(bad))}"
            ": drop diverged draws or fix the sampler"
        )
    return f


@training_data.register(Draws)
def _draws_data(model: Draws, examples: Examples | None) -> Examples:
    source = model.examples if examples is None else examples
    if source is None:
        raise ValueError("these draws have no targets: call memory_map(draws, X, y)")
    if len(source) != model.f.shape[1]:
        raise DataError(
            f"draws at {model.f.shape[1]} examples, data with {len(source)}: expected one for each, in order"
        )
    return ExamplesWithRows(source.map(without_weight(model.likelihood.without_target)), row_indices)


@training_data.register(Sampler)
def _sampler_data(model: Sampler, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError("a Sampler does not keep its training data: call memory_map(sampler, X, y)")
    if isinstance(examples, ArrayExamples):
        examples = dataclasses.replace(examples, batch_size=min(examples.batch_size, 1024))
    return examples.map(without_weight(model.likelihood.without_target))


@parameters_of.register(Draws)
def _draws_state(model: Draws) -> dict[str, Array]:
    return {"f": model.f}


@parameters_of.register(Sampler)
def _sampler_state(model: Sampler) -> dict[str, Any]:
    return {} if model.state is None else {"state": model.state()}


model_name.register(Draws)(lambda model: model.name)
model_name.register(Sampler)(lambda model: model.name)


@posterior.register(Draws)
@posterior.register(Sampler)
def _posterior(model: Any, examples: Examples) -> SampledPosterior:
    rows = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), _SHRINKAGE_EXAMPLES)).astype(int))
    f = model(examples.take(rows).inputs)
    _require_variance(f, model.name)
    shrinkage = ShrinkageTarget.from_covariances(covariance(f), len(f))
    fields = (model, model.likelihood, _describe(model, f, shrinkage), shrinkage)
    if model.importance is None:
        return SampledPosterior(*fields)
    return ImportanceWeightedPosterior(*fields, model.importance, getattr(model, "log_likelihood", None))


def _require_variance(f: Array, name: str) -> None:
    """Raise `DataError` if all draws `f [s, n, c]` are the same function, to rounding."""
    if np.max(np.std(f, axis=0)) <= _ROUNDING * np.max(np.abs(f)):
        raise DataError(
            f"all {len(f)} draws of {name!r} are equal: a posterior without variance, in which no example has an "
            "influence. Expected draws that differ: networks trained from different seeds, not one network several "
            "times; snapshots of different steps, copy.deepcopy(net.state_dict()) each; samples of a chain that has "
            "moved. One network alone: memory_map(net, X, y, likelihood=…, posterior=Laplace(prior=prior_from("
            "optimizer, n)))"
        )


def _describe(model: Any, f: Array, shrinkage: ShrinkageTarget) -> Description:
    s = len(f)
    note = f"Each V is estimated from {s:,} draws: about {np.sqrt(2 / (s - 1)):.0%} relative error of one leverage"
    prior = (
        f", sizes shrunk with {shrinkage.prior_df:.3g} prior degrees of freedom"
        if shrinkage.prior_df > 0.01 * s
        else ""
    )
    citations = () if model.importance is None else ("vehtari2024pareto",)
    return Description(
        model=model.name,
        approximation=getattr(model, "approximation", Approximation.DRAWS),
        relative_error=float(np.sqrt(2 / (s - 1))),
        posterior=f"{s:,} draws: empirical mean and covariance",
        likelihood=type(without_expectation(model.likelihood)).__name__,
        prior="that of the sampler",
        algorithm="sampling",
        estimator="bounded_cavity",
        notes=(note + prior + ".",),
        cautions=getattr(model, "cautions", ()),
        methods=("nickl2023memory", "tailor2023maps", "chen2010shrinkage", "smyth2004linear", *citations),
    )
