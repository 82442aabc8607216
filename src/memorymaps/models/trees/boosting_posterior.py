"""From a library's boosted ensemble to its posterior: a replay that must give the library's outputs, then leverage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import Examples
from memorymaps.models.trees.boosting import Boosting, Replay, predict, replay, without
from memorymaps.models.trees.boosting_tangents import cheapest_exact
from memorymaps.models.trees.boosting_variance import can_be_sampled, sampled_variance
from memorymaps.models.trees.leaf_posterior import LeafPosterior
from memorymaps.models.trees.training_leaves import Gathered, check_reproduced, gathered, pearson_dispersion, renumbered
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import OpenFunction, UnsupportedModelError, posterior, training_data

_LEAVES, _WORK = 6_000, 3e8  # leaf values, and pairs of trees times examples, up to which leverage is exact by default
_PROBES = 32

UNKNOWN_ROWS = "and its model file names no rows: they came from a generator inside the library without a public call"


@dataclass(frozen=True)
class Grown:
    """A fitted boosted ensemble as plain data: what the adapters hand over; see `leaves.Boosting` for the symbols.

    Attributes
    ----------
    leaves : inputs → `[n, T·c]` or `[n, T, c]`, the library's own routing.
    outputs : inputs → `[n, c]`, the library's own outputs on the link scale.
    ridge : weights of the examples → `λ`.
    number : leaves of all examples → leaf numbers without gaps.
    positives : weight of positive targets that the fitted base value does not see.
    held : base value that the targets did not move; `base` is compared with the one that they give.
    drawn : number of examples → `[n, T]`, the rows that each iteration saw.
    kind : how an iteration takes its Newton steps.
    tolerance : relative precision of the library's arithmetic.
    """

    name: str
    likelihood: Likelihood
    leaves: Callable[[Any], Array]
    outputs: Callable[[Any], Array]
    rate: float
    ridge: Callable[[Array], float]
    base: Array | None = None
    newton: float = 1.0
    limit: float = np.inf
    classes: tuple[Any, ...] = ()
    number: Callable[[Array], Array] = renumbered
    positives: float = 1.0
    held: Array | None = None
    drawn: Callable[[int], Array] | None = None
    kind: type[Boosting] = Boosting
    tolerance: float = 1e-5


def constant(value: Any) -> Callable[[Array], float]:
    """A ridge that does not depend on weights."""
    return lambda weight: float(value)


@OpenFunction
def grown(model: Any) -> Any:
    """A fitted model as `Grown`; adapters register their classes."""
    raise UnsupportedModelError(f"{type(model).__name__} is no boosted ensemble: pass it without posterior=")


@dataclass(frozen=True)
class BoostedTrees:
    """Recipe for the leverage of boosted trees: `memory_map(model, X, y, posterior=BoostedTrees(probes=256))`.

    Parameters
    ----------
    probes : replays on noise; every leverage then has the relative standard error `√(2/probes)`. `None`: exact, by a
        `[P, P]` matrix for `P` leaves, or by pushing examples one by one. Without a recipe: exact for up to 6,000
        leaves, else 32 probes; several outputs are then taken one at a time (Λ between classes left out, h some per
        cent too large). Row subsampling and coupled outputs have exact leverage only.
    seed : of the probes.

    Raises
    ------
    ValueError
        `probes` is not positive.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = HistGradientBoostingRegressor(max_iter=20).fit(X, y)
    >>> exact, sampled = (memory_map(model, X, y, posterior=BoostedTrees(k))["leverage"] for k in (None, 512))
    >>> bool(abs(sampled / exact - 1).mean() < 0.1)
    True
    """

    probes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.probes is not None and self.probes < 1:
            raise ValueError(f"probes = {self.probes}: expected a positive number, or None for exact leverage")

    def __call__(self, model: Any, likelihood: Any = None) -> Chosen:
        """The model with this recipe."""
        if likelihood is not None:
            raise ValueError(f"{type(model).__name__} has its own likelihood: leave out likelihood={likelihood!r}")
        return Chosen(model, self)


@dataclass(frozen=True)
class Chosen:
    """A boosted ensemble and the recipe for its leverage."""

    model: Any
    recipe: BoostedTrees


@posterior.register(Chosen)
def _chosen_posterior(model: Any, examples: Examples) -> LeafPosterior:
    return boosted(grown(model.model), examples, model.recipe)


@training_data.register(Chosen)
def _chosen_data(model: Any, examples: Examples | None) -> Any:
    return training_data(model.model, examples)


def boosted_posterior(model: Any, examples: Examples) -> LeafPosterior:
    """Posterior of any model that is registered with `grown`."""
    return boosted(grown(model), examples, None)


def expect(name: str, found: Mapping[str, Any], expected: Mapping[str, Any], reason: str) -> None:
    """Refuse settings that a replay on leaves cannot follow.

    Raises
    ------
    UnsupportedModelError
        A setting differs; the message names it and what to type.
    """
    for key, value in expected.items():
        if key in found and found[key] != value:
            raise UnsupportedModelError(
                f"{name} was trained with {key} = {found[key]!r}, {reason}: refit with {key} = {value!r}"
            )


def boosted(made: Grown, examples: Examples, recipe: BoostedTrees | None) -> LeafPosterior:
    """Replay the training on its own leaves, check it against the library's outputs, and find its variances."""
    data = gathered(examples, made.leaves, made.outputs)
    model = _ensemble(made, data)
    run = replay(model)
    found = _gauged(model, run.f[data.rows])
    check_reproduced(made.name, found, _gauged(model, data.outputs.reshape(found.shape)), made.tolerance)
    if recipe is None:
        recipe = BoostedTrees(None if _affordable(model) else _PROBES)
    unit = _variance(model, run, recipe)
    information = model.likelihood.curvature(run.f, model.target)
    effective = float(np.einsum("n,nab,nba->", model.weight, unit, information))
    likelihood, phi = model.likelihood, None
    if isinstance(likelihood, Gaussian):
        phi = pearson_dispersion(run.f - data.target.reshape(run.f.shape), data.weight, effective)
        likelihood = Gaussian(phi)
    description = _describe(made, model, recipe, effective, phi)
    scale = 1.0 if phi is None else phi
    return LeafPosterior(likelihood, description, run.f, unit * scale, run.values, _Flat(model))


def _ensemble(made: Grown, data: Gathered) -> Boosting:
    n, c = data.n, data.outputs.size // len(data.rows)
    leaves = made.number(data.leaves.reshape(n, -1, c))
    model = made.kind(
        leaves,
        data.target,
        data.weight,
        made.likelihood,
        made.rate,
        made.ridge(data.weight),
        made.held,
        made.newton,
        made.limit,
        None if made.drawn is None else made.drawn(n),
    )
    if made.positives != 1:
        plain = data.weight / np.where(data.target == 1, made.positives, 1.0)
        seen = dataclasses.replace(model, weight=plain, leaves=leaves[:, :1])
        return dataclasses.replace(model, base=replay(seen).values[:c])
    if made.base is None:
        return model
    fitted = _gauged(model, replay(dataclasses.replace(model, leaves=leaves[:, :1])).path[0, :1])
    same = np.allclose(fitted, _gauged(model, np.reshape(made.base, (1, -1))), rtol=1e-4, atol=1e-4)
    return model if same else dataclasses.replace(model, base=np.asarray(made.base))


def _gauged(model: Boosting, f: Array) -> Array:
    """Outputs up to what the likelihood cannot see: a constant added to all classes."""
    return f - f.mean(axis=1, keepdims=True) if isinstance(model.likelihood, Categorical) else f


def _affordable(model: Boosting) -> bool:
    n, trees, c = model.shape
    return not can_be_sampled(model) or (model.size <= _LEAVES and n * (c * trees) ** 2 / 2 <= _WORK)


def _variance(model: Boosting, run: Replay, recipe: BoostedTrees) -> Array:
    if recipe.probes is not None:
        return sampled_variance(model, run, recipe.probes, recipe.seed)
    return cheapest_exact(model, run)


@dataclass(frozen=True)
class _Flat:
    """A boosted ensemble as a function of its leaf values."""

    model: Boosting

    def without_rows(self, rows: Array) -> Array:
        """Leaf values of training without these examples."""
        return replay(without(self.model, rows)).values

    def outputs_of(self, values: Array, rows: Array) -> Array:
        """Sums of leaf values."""
        return predict(self.model, values, rows)


def _describe(made: Grown, model: Boosting, recipe: BoostedTrees, effective: float, phi: Any) -> Description:
    _, trees, c = model.shape
    error = "" if recipe.probes is None else f", relative standard error {np.sqrt(2 / recipe.probes):.2f}"
    how = "exact" if recipe.probes is None else f"{recipe.probes} replays on noise, seed {recipe.seed}"
    base = "" if model.base is None else f"; base value {np.round(model.base, 6).tolist()} held"
    return Description(
        model=made.name,
        posterior="Newton steps on leaf values, structure of the trees held fixed",
        likelihood=type(model.likelihood).__name__,
        prior=f"ridge {model.ridge:.4g} on leaf values, learning rate {model.rate:.4g}",
        algorithm=f"gradient boosting, {trees} iterations",
        coverage=(f"{model.size - c:,} leaf values of {trees * c:,} trees{base}", f"leverage: {how}{error}"),
        classes=made.classes,
        effective_parameters=effective,
        dispersion=phi,
        dispersion_estimated=phi is not None,
        notes=("Splits do not change when an example is left out; refine(m) replays deletions exactly.",),
    )
