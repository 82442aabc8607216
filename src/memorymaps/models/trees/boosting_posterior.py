"""Posteriors of boosted ensembles: leaf values recomputed on fixed trees, checked against the library's outputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.core.wording import counted
from memorymaps.data.examples import Examples
from memorymaps.models.trees.boosting import (
    BoostingRefit,
    FixedStructureBoosting,
    MultiOutputTreeBoosting,
    refit_leaf_values,
    sum_leaf_values,
    without_examples,
)
from memorymaps.models.trees.boosting_tangents import fastest_exact_variance
from memorymaps.models.trees.boosting_variance import can_be_sampled, sampled_variance
from memorymaps.models.trees.leaf_posterior import LeafPosterior
from memorymaps.models.trees.training_leaves import (
    TrainingLeaves,
    check_amount,
    check_reproduced,
    collect_training_leaves,
    consecutive_indices,
    dispersion_of,
    noise_model,
    votes_of_others,
)
from memorymaps.models.trees.tree_refits import boosting_refit
from memorymaps.posteriors.approximation import SPLITS, SPLITS_CAUTION, Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import LazyDispatch, UnsupportedModelError, posterior, training_data

_MAX_EXACT_LEAF_VALUES = 6_000  # leverage is exact by default up to this number of leaf values
_MAX_EXACT_PAIRS = 3e8  # and up to this number of pairs of trees times examples
_DEFAULT_PROBES = 32

UNKNOWN_SUBSAMPLE = (
    "and its model file names no rows: they were drawn by a generator inside the library that has no public interface"
)


Finish = Callable[[FixedStructureBoosting, Array], FixedStructureBoosting]


@dataclass(frozen=True)
class EnsembleSpec:
    """A fitted boosted ensemble as plain data, returned by `to_spec`; symbols as in `FixedStructureBoosting`.

    Attributes
    ----------
    leaves : inputs → `[n, T·c]` or `[n, T, c]`, leaf labels by the library.
    outputs : inputs → `[n, c]`, outputs on the link scale by the library.
    ridge : weights of the examples → `λ`.
    base : base value of the fitted model; whether it was estimated or fixed is found by recomputing it.
    index_leaves : leaf labels of all examples → indices from 0 without gaps.
    scale_pos_weight : weight of positive targets, which the library ignores when it estimates the base value.
    fixed_base : base value that does not depend on the targets.
    drawn : number of examples → `[n, T]`, the row subsample of each iteration.
    boosting_class : how an iteration takes its Newton steps.
    tolerance : relative precision of the library's arithmetic.
    zero_trees : leaf labels `[n, T, c]` → `[T, c]`, trees without a split to which the library gives the value 0.
    rows, total_weight : number of examples and sum of weights of the fit, where the model keeps them.
    finish : ensemble and leaf labels → the ensemble with what only the library's leaf values tell.
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
    zero_trees: Callable[[Array], Array] | None = None
    finish: Finish | None = None
    rows: int | None = None
    total_weight: float | None = None


def constant_ridge(value: Any) -> Callable[[Array], float]:
    """A ridge `λ` that does not depend on the weights of the examples."""
    return lambda weight: float(value)


@LazyDispatch
def to_spec(model: Any) -> Any:
    """Convert a fitted model to `EnsembleSpec`; each library registers its classes."""
    raise UnsupportedModelError(f"{type(model).__name__} is no boosted ensemble: call memory_map without posterior=")


@dataclass(frozen=True)
class BoostedTrees:
    """Recipe for the leverage of boosted trees: `memory_map(model, X, y, posterior=BoostedTrees(probes=256))`.

    Parameters
    ----------
    probes : number of random probes; each leverage then has relative standard error `√(2/probes)`. `None`: exact, by
        a `[P, P]` matrix for `P` leaf values, or by one tangent for each example. Without a recipe: exact for up to
        6,000 leaves, else 32 probes; outputs are then treated one at a time (Λ between classes left out, h some per
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
        """The model together with this recipe, as `memory_map` expects it."""
        if likelihood is not None:
            raise ValueError(f"{type(model).__name__} determines its likelihood: leave out likelihood={likelihood!r}")
        return WithRecipe(model, self)


@dataclass(frozen=True)
class WithRecipe:
    """A boosted ensemble and the recipe for its leverage."""

    model: Any
    recipe: BoostedTrees


@posterior.register(WithRecipe)
def _recipe_posterior(model: Any, examples: Examples) -> LeafPosterior:
    return _posterior(model.model, examples, model.recipe)


@training_data.register(WithRecipe)
def _recipe_data(model: Any, examples: Examples | None) -> Any:
    return training_data(model.model, examples)


def boosted_posterior(model: Any, examples: Examples) -> LeafPosterior:
    """Posterior of any model class registered with `to_spec`, with the default recipe."""
    return _posterior(model, examples, None)


def _posterior(model: Any, examples: Examples, recipe: BoostedTrees | None) -> LeafPosterior:
    spec = to_spec(model)
    found = posterior_from_spec(spec, examples, recipe)
    c = found.f.shape[1]
    refits = boosting_refit(model, examples, lambda fresh, x: _outputs_of(to_spec(fresh), x, c), spec.scale_pos_weight)
    return dataclasses.replace(found, refits=refits)


def _outputs_of(spec: EnsembleSpec, inputs: Any, c: int) -> Array:
    """Outputs `[n, c]`, centred over classes as the map's are compared."""
    return np.reshape(np.asarray(spec.outputs(inputs), dtype=float), (-1, c))


def require_settings(
    name: str,
    settings: Mapping[str, Any],
    expected: Mapping[str, Any],
    reason: str,
    typed: Mapping[str, tuple[str, Any]] | None = None,
) -> None:
    """Raise unless training settings have the values with which leaf values can be recomputed.

    `typed`: argument and value to type, where they are not those that the library stores.

    Raises
    ------
    UnsupportedModelError
        A setting differs; the message names it and the value to refit with.
    """
    for key, value in expected.items():
        if key in settings and settings[key] != value:
            argument, wanted = (typed or {}).get(key, (key, value))
            raise UnsupportedModelError(
                f"{name} was trained with {key} = {settings[key]!r}, {reason}: refit with {argument} = {wanted!r}"
            )


def posterior_from_spec(spec: EnsembleSpec, examples: Examples, recipe: BoostedTrees | None) -> LeafPosterior:
    """Recompute leaf values on fixed trees, check the outputs against the library's, and compute the variances."""
    data = collect_training_leaves(examples, spec.leaves, lambda inputs, _: spec.outputs(inputs))
    check_amount(spec.name, data.weight, spec.rows, spec.total_weight)
    model = _fixed_structure(spec, data)
    refit = refit_leaf_values(model)
    f = _centred_over_classes(model, refit.f[data.rows])
    check_reproduced(spec.name, f, _centred_over_classes(model, data.outputs.reshape(f.shape)), spec.tolerance)
    if recipe is None:
        recipe = BoostedTrees(None if _exact_by_default(model) else _DEFAULT_PROBES)
    unit_variance = _variance(model, refit, recipe)  # of dispersion 1
    information = model.likelihood.curvature(refit.f, model.target)
    effective = float(np.einsum("n,nab,nba->", model.weight, unit_variance, information))
    likelihood = model.likelihood
    if isinstance(likelihood, Gaussian):
        target = data.target.reshape(refit.f.shape)
        likelihood = noise_model(refit.f - target, target, data.weight, effective)
    description = _describe(spec, model, recipe, effective, likelihood)
    variance = unit_variance * (likelihood.dispersion if isinstance(likelihood, Gaussian) else 1.0)
    leaf_model = _BoostingLeafModel(model)
    return LeafPosterior(
        likelihood, description, refit.f, variance, refit.values, leaf_model, stages=leaf_model.staged_outputs,
        votes=functools.partial(_votes, model) if isinstance(likelihood, (Bernoulli, Categorical)) else None,
    )  # fmt: skip


def _votes(model: FixedStructureBoosting) -> Array:
    """Votes of the other examples in the leaves of all trees `[n, classes]`."""
    n, _, c = model.shape
    leaves = model.leaves[:, :, 0] if isinstance(model, MultiOutputTreeBoosting) else model.leaves.reshape(n, -1)
    return votes_of_others(leaves, model.target, model.weight, max(2, c))


def _fixed_structure(spec: EnsembleSpec, data: TrainingLeaves) -> FixedStructureBoosting:
    n, c = data.n, data.outputs.size // len(data.rows)
    labels = data.leaves.reshape(n, -1, c)
    found = _with_base(spec, _plain_structure(spec, data, labels))
    return found if spec.finish is None else spec.finish(found, labels)


def _plain_structure(spec: EnsembleSpec, data: TrainingLeaves, labels: Array) -> FixedStructureBoosting:
    """The ensemble with a base value that is estimated, or `spec.fixed_base`."""
    leaves = spec.index_leaves(labels)
    return spec.boosting_class(
        leaves,
        data.target,
        data.weight,
        spec.likelihood,
        spec.learning_rate,
        spec.ridge(data.weight),
        spec.fixed_base,
        spec.curvature_factor,
        spec.max_step,
        None if spec.drawn is None else spec.drawn(data.n),
        None if spec.zero_trees is None else spec.zero_trees(labels),
    )


def _with_base(spec: EnsembleSpec, model: FixedStructureBoosting) -> FixedStructureBoosting:
    """The ensemble with the base value of the library fixed, where that is not the estimate from these weights."""
    one_tree = dataclasses.replace(model, leaves=model.leaves[:, :1])
    if spec.scale_pos_weight != 1:
        unscaled = model.weight / np.where(model.target == 1, spec.scale_pos_weight, 1.0)
        one_tree = dataclasses.replace(one_tree, weight=unscaled)
        return dataclasses.replace(model, base=refit_leaf_values(one_tree).values[: model.shape[2]])
    if spec.base is None:
        return model
    estimated = _centred_over_classes(model, refit_leaf_values(one_tree).staged_outputs[0, :1])
    base = _centred_over_classes(model, np.reshape(spec.base, (1, -1)))
    return (
        model
        if np.allclose(estimated, base, rtol=1e-4, atol=1e-4)
        else dataclasses.replace(model, base=np.asarray(spec.base))
    )


def _centred_over_classes(model: FixedStructureBoosting, f: Array) -> Array:
    """Outputs centred over classes for softmax, which is invariant to a constant added to all classes."""
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

    def staged_outputs(self) -> Array:
        """Outputs `[T, n, c]` after each iteration."""
        return refit_leaf_values(self.model).staged_outputs[1:]

    def leaf_values_without(self, rows: Array) -> Array:
        """Leaf values `[P]` refitted without these examples."""
        return refit_leaf_values(without_examples(self.model, rows)).values

    def outputs_from(self, values: Array, rows: Array) -> Array:
        """Outputs `[rows, c]`: sums of leaf values over trees."""
        return sum_leaf_values(self.model, values, rows)


def _describe(
    spec: EnsembleSpec, model: FixedStructureBoosting, recipe: BoostedTrees, effective: float, likelihood: Likelihood
) -> Description:
    _, trees, c = model.shape
    error = "" if recipe.probes is None else f", relative standard error {np.sqrt(2 / recipe.probes):.2f}"
    how = "exact" if recipe.probes is None else f"{recipe.probes} random probes, seed {recipe.seed}"
    base = "" if model.base is None else f"; base value {np.round(model.base, 6).tolist()} fixed"
    return Description(
        model=spec.name,
        approximation=Approximation.STRUCTURE_FIXED,
        posterior="Newton steps on leaf values, structure of the trees fixed",
        likelihood=type(likelihood).__name__,
        prior=f"ridge {model.ridge:.4g} on leaf values, learning rate {model.learning_rate:.4g}",
        algorithm=f"gradient boosting, {counted(trees, 'iteration')}",
        coverage=(f"{model.num_leaf_values - c:,} leaf values of {trees * c:,} trees{base}", f"leverage: {how}{error}"),
        classes=spec.classes,
        effective_parameters=effective,
        dispersion=dispersion_of(likelihood),
        dispersion_estimated=dispersion_of(likelihood) is not None,
        cautions=(SPLITS_CAUTION,),
        held_fixed=SPLITS,
        notes=("Splits do not change when an example is left out; refine(m) refits the leaf values exactly.",),
    )
