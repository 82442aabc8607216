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
from memorymaps.models.trees.boosting import (
    BoostingRefit,
    FixedStructureBoosting,
    refit_leaf_values,
    sum_leaf_values,
    without_examples,
)
from memorymaps.models.trees.boosting_tangents import fastest_exact_variance
from memorymaps.models.trees.boosting_variance import can_be_sampled, sampled_variance
from memorymaps.models.trees.leaf_posterior import LeafPosterior
from memorymaps.models.trees.training_leaves import (
    TrainingLeaves,
    check_reproduced,
    collect_training_leaves,
    consecutive_indices,
    pearson_dispersion,
)
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import OpenFunction, UnsupportedModelError, posterior, training_data

_MAX_EXACT_LEAF_VALUES, _MAX_EXACT_PAIRS = (
    6_000,
    3e8,
)  # leaf values, and pairs of trees times examples, up to which leverage is exact by default
_DEFAULT_PROBES = 32

UNKNOWN_SUBSAMPLE = (
    "and its model file names no rows: they came from a generator inside the library without a public call"
)


@dataclass(frozen=True)
class EnsembleSpec:
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
    learning_rate: float
    ridge: Callable[[Array], float]
    base: Array | None = None
    curvature_factor: float = 1.0
    max_step: float = np.inf
    classes: tuple[Any, ...] = ()
    index_leaves: Callable[[Array], Array] = consecutive_indices
    scale_pos_weight: float = 1.0
    fixed_base: Array | None = None
    drawn: Callable[[int], Array] | None = None
    boosting_class: type[FixedStructureBoosting] = FixedStructureBoosting
    tolerance: float = 1e-5


def constant_ridge(value: Any) -> Callable[[Array], float]:
    """A ridge that does not depend on weights."""
    return lambda weight: float(value)


@OpenFunction
def to_spec(model: Any) -> Any:
    """A fitted model as `EnsembleSpec`; adapters register their classes."""
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

    def __call__(self, model: Any, likelihood: Any = None) -> WithRecipe:
        """The model with this recipe."""
        if likelihood is not None:
            raise ValueError(f"{type(model).__name__} has its own likelihood: leave out likelihood={likelihood!r}")
        return WithRecipe(model, self)


@dataclass(frozen=True)
class WithRecipe:
    """A boosted ensemble and the recipe for its leverage."""

    model: Any
    recipe: BoostedTrees


@posterior.register(WithRecipe)
def _recipe_posterior(model: Any, examples: Examples) -> LeafPosterior:
    return posterior_from_spec(to_spec(model.model), examples, model.recipe)


@training_data.register(WithRecipe)
def _recipe_data(model: Any, examples: Examples | None) -> Any:
    return training_data(model.model, examples)


def boosted_posterior(model: Any, examples: Examples) -> LeafPosterior:
    """Posterior of any model that is registered with `to_spec`."""
    return posterior_from_spec(to_spec(model), examples, None)


def require_settings(name: str, found: Mapping[str, Any], expected: Mapping[str, Any], reason: str) -> None:
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


def posterior_from_spec(spec: EnsembleSpec, examples: Examples, recipe: BoostedTrees | None) -> LeafPosterior:
    """Replay the training on its own leaves, check it against the library's outputs, and find its variances."""
    data = collect_training_leaves(examples, spec.leaves, spec.outputs)
    model = _fixed_structure(spec, data)
    refit = refit_leaf_values(model)
    found = _centred_over_classes(model, refit.f[data.rows])
    check_reproduced(spec.name, found, _centred_over_classes(model, data.outputs.reshape(found.shape)), spec.tolerance)
    if recipe is None:
        recipe = BoostedTrees(None if _exact_by_default(model) else _DEFAULT_PROBES)
    unit = _variance(model, refit, recipe)
    information = model.likelihood.curvature(refit.f, model.target)
    effective = float(np.einsum("n,nab,nba->", model.weight, unit, information))
    likelihood, phi = model.likelihood, None
    if isinstance(likelihood, Gaussian):
        phi = pearson_dispersion(refit.f - data.target.reshape(refit.f.shape), data.weight, effective)
        likelihood = Gaussian(phi)
    description = _describe(spec, model, recipe, effective, phi)
    scale = 1.0 if phi is None else phi
    return LeafPosterior(likelihood, description, refit.f, unit * scale, refit.values, _BoostingLeafModel(model))


def _fixed_structure(spec: EnsembleSpec, data: TrainingLeaves) -> FixedStructureBoosting:
    n, c = data.n, data.outputs.size // len(data.rows)
    leaves = spec.index_leaves(data.leaves.reshape(n, -1, c))
    model = spec.boosting_class(
        leaves,
        data.target,
        data.weight,
        spec.likelihood,
        spec.learning_rate,
        spec.ridge(data.weight),
        spec.fixed_base,
        spec.curvature_factor,
        spec.max_step,
        None if spec.drawn is None else spec.drawn(n),
    )
    if spec.scale_pos_weight != 1:
        plain = data.weight / np.where(data.target == 1, spec.scale_pos_weight, 1.0)
        seen = dataclasses.replace(model, weight=plain, leaves=leaves[:, :1])
        return dataclasses.replace(model, base=refit_leaf_values(seen).values[:c])
    if spec.base is None:
        return model
    fitted = _centred_over_classes(
        model, refit_leaf_values(dataclasses.replace(model, leaves=leaves[:, :1])).staged_outputs[0, :1]
    )
    same = np.allclose(fitted, _centred_over_classes(model, np.reshape(spec.base, (1, -1))), rtol=1e-4, atol=1e-4)
    return model if same else dataclasses.replace(model, base=np.asarray(spec.base))


def _centred_over_classes(model: FixedStructureBoosting, f: Array) -> Array:
    """Outputs up to what the likelihood cannot see: a constant added to all classes."""
    return f - f.mean(axis=1, keepdims=True) if isinstance(model.likelihood, Categorical) else f


def _exact_by_default(model: FixedStructureBoosting) -> bool:
    n, trees, c = model.shape
    return not can_be_sampled(model) or (
        model.num_leaf_values <= _MAX_EXACT_LEAF_VALUES and n * (c * trees) ** 2 / 2 <= _MAX_EXACT_PAIRS
    )


def _variance(model: FixedStructureBoosting, refit: BoostingRefit, recipe: BoostedTrees) -> Array:
    if recipe.probes is not None:
        return sampled_variance(model, refit, recipe.probes, recipe.seed)
    return fastest_exact_variance(model, refit)


@dataclass(frozen=True)
class _BoostingLeafModel:
    """A boosted ensemble as a function of its leaf values."""

    model: FixedStructureBoosting

    def leaf_values_without(self, rows: Array) -> Array:
        """Leaf values of training without these examples."""
        return refit_leaf_values(without_examples(self.model, rows)).values

    def outputs_from(self, values: Array, rows: Array) -> Array:
        """Sums of leaf values."""
        return sum_leaf_values(self.model, values, rows)


def _describe(
    spec: EnsembleSpec, model: FixedStructureBoosting, recipe: BoostedTrees, effective: float, phi: Any
) -> Description:
    _, trees, c = model.shape
    error = "" if recipe.probes is None else f", relative standard error {np.sqrt(2 / recipe.probes):.2f}"
    how = "exact" if recipe.probes is None else f"{recipe.probes} replays on noise, seed {recipe.seed}"
    base = "" if model.base is None else f"; base value {np.round(model.base, 6).tolist()} held"
    return Description(
        model=spec.name,
        posterior="Newton steps on leaf values, structure of the trees held fixed",
        likelihood=type(model.likelihood).__name__,
        prior=f"ridge {model.ridge:.4g} on leaf values, learning rate {model.learning_rate:.4g}",
        algorithm=f"gradient boosting, {trees} iterations",
        coverage=(f"{model.num_leaf_values - c:,} leaf values of {trees * c:,} trees{base}", f"leverage: {how}{error}"),
        classes=spec.classes,
        effective_parameters=effective,
        dispersion=phi,
        dispersion_estimated=phi is not None,
        notes=("Splits do not change when an example is left out; refine(m) replays deletions exactly.",),
    )
