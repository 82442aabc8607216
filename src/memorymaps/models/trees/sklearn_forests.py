"""scikit-learn's decision trees and forests: exact leverage from in-bag weights and leaf membership."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.likelihoods.vote_share import Votes
from memorymaps.core.wording import counted
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import ExamplesWithRows
from memorymaps.models.sklearn_leaf_values import own_outputs, trees_of
from memorymaps.models.sklearn_targets import balanced_weights, class_data, numeric_data
from memorymaps.models.trees.forest import FixedStructureForest
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
from memorymaps.models.trees.tree_refits import ForestRefit
from memorymaps.posteriors.approximation import SPLITS, SPLITS_CAUTION, Approximation
from memorymaps.posteriors.capabilities import Undetermined
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

_FORESTS = (RandomForestRegressor, RandomForestClassifier, ExtraTreesRegressor, ExtraTreesClassifier)
_REGRESSORS = (RandomForestRegressor, ExtraTreesRegressor, DecisionTreeRegressor)
_CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier)
_MEAN_CRITERIA = ("squared_error", "friedman_mse", "poisson")  # criteria whose leaves predict mean targets

_FIXED_SPLITS_NOTE = (
    "Left-out predictions average the other examples' targets with the forest's weights; splits do not change."
)
_OWN_SHARE = (
    0.5  # leverage from which a prediction is mostly the example's own target, and removal in the same leaves none
)
_UNASKED, _OVERHEAD = 3e7, 1e4  # features × rows × levels sorted in two seconds; those that a tree costs besides
_NOISY = 0.3  # relative Monte-Carlo error of a forest's sizes that deserves a caution
_OUT_OF_BAG_NOTE = (
    "Left-out predictions are out-of-bag: those of the trees that did not draw the example, whose splits have not seen "
    "it. Leverage holds the splits fixed."
)


@dataclass(frozen=True)
class _ForestLeafModel:
    """A forest as a function of its leaf values, flattened to `[P·c]`."""

    forest: FixedStructureForest

    def leaf_values_without(self, rows: Array) -> Array:
        """Leaf means `[P·c]` without these examples."""
        return self.forest.without_examples(rows).leaf_means().ravel()

    def outputs_from(self, values: Array, rows: Array) -> Array:
        """Outputs `[rows, c]`: averages of leaf values over trees."""
        return self.forest.outputs(values.reshape(-1, self.forest.target.shape[1]), rows)


def _posterior(model: Any, examples: Examples) -> LeafPosterior:
    check_is_fitted(model)
    is_classifier = isinstance(model, _CLASSIFIERS)
    data = collect_training_leaves(examples, functools.partial(_leaves, model), functools.partial(own_outputs, model))
    _check_rows(model, data.weight)
    target = Votes().encode(data.target, len(model.classes_)) if is_classifier else data.target.reshape(data.n, -1)
    forest = _reproduced_forest(model, data, target)
    leverage_share = forest.leverage()
    values = forest.leaf_means()
    f = forest.outputs(values)
    effective = float(leverage_share.sum())
    likelihood: Any = (
        Votes(smallest=forest.share_without_votes())
        if is_classifier
        else noise_model(f - target, target, data.weight, effective)
    )
    unit_variance = np.divide(leverage_share, data.weight, out=np.zeros(data.n), where=data.weight > 0)
    phi = np.ones(f.shape[1]) if is_classifier else np.broadcast_to(likelihood.dispersion, f.shape[1])
    variance = unit_variance[:, None, None] * np.diag(phi)
    trees = tuple(trees_of(model))
    bootstrap = getattr(model, "bootstrap", False)
    refits = ForestRefit(
        trees,
        forest.bag_weight,
        data.target,
        examples,
        lambda tree, x: tree.predict_proba(x) if is_classifier else tree.predict(x),
        max_unasked=0 if bootstrap else _max_unasked(data.n, model.n_features_in_, len(trees)),
    )
    description = _describe(model, forest, likelihood)
    out_of_bag = forest.out_of_bag_outputs(values) if bootstrap else None
    if out_of_bag is not None:
        cautions = _monte_carlo_cautions(out_of_bag - f, forest.out_of_bag_noise(values), len(trees))
        if is_classifier:
            cautions += _loss_cautions(forest, out_of_bag, target, likelihood)
        description = dataclasses.replace(description, cautions=(*description.cautions, *cautions))
    return LeafPosterior(
        likelihood, description, f, variance, values.ravel(), _ForestLeafModel(forest), refits, out_of_bag,
        None if bootstrap else Undetermined(np.flatnonzero(leverage_share > _OWN_SHARE), len(trees)),
        votes=functools.partial(_votes, forest, data) if is_classifier and bootstrap else None,
    )  # fmt: skip


def _votes(forest: FixedStructureForest, data: TrainingLeaves) -> Array:
    """Mean of the others' votes in the leaves of the trees that did not draw the example, and in those of all trees."""
    given = forest.leaves, data.target, data.weight, forest.target.shape[1]
    every, out_of_bag = votes_of_others(*given), votes_of_others(*given, forest.bag_weight == 0)
    return np.where(np.isfinite(out_of_bag), (out_of_bag + every) / 2, every)


def _max_unasked(n: int, features: int, trees: int) -> int:
    """Number of refits of all trees that take about two seconds together."""
    return int(_UNASKED / (trees * (n * features * np.log2(n + 1) + _OVERHEAD)))


def _monte_carlo_cautions(deviation: Array, noise: Array, trees: int) -> tuple[str, ...]:
    """A caution where the random draws of the trees make up much of the out-of-bag deviations `[n, c]`."""
    size = np.sum(deviation**2, axis=1)
    known = np.isfinite(size) & np.isfinite(noise)
    total = float(np.sum(size[known]))
    error = float(np.sqrt(np.sum(noise[known]) / total)) if total > 0 else 0.0
    if error <= _NOISY:
        return ()
    return (
        f"{counted(trees, 'tree')}: the random draws make up {error:.0%} of the out-of-bag sizes; read them as ranks, "
        "or fit more trees",
    )


def _check_rows(model: Any, weight: Array) -> None:
    """Raise `DataError` unless the model was fitted on as many rows; a single tree counts those of weight 0 as none."""
    fitted = getattr(model, "_n_samples", None)
    if fitted is None:
        check_amount(type(model).__name__, weight, int(model.tree_.n_node_samples[0]))
    else:
        check_amount(type(model).__name__, np.ones(len(weight)), int(fitted))


def _loss_cautions(forest: FixedStructureForest, f: Array, target: Array, likelihood: Votes) -> tuple[str, ...]:
    """A caution where the random draws of the trees make up much of the out-of-bag losses; `target [n, c]` one-hot."""
    share = np.sum(f * target, axis=1)
    noise, loss = forest.out_of_bag_loss_noise(share), -np.log(np.clip(share, likelihood.smallest, 1.0))
    known = np.isfinite(noise) & np.isfinite(loss)
    total = float(np.sum(loss[known] ** 2))
    error = float(np.sqrt(np.sum(noise[known]) / total)) if total > 0 else 0.0
    if error <= _NOISY:
        return ()
    return (
        f"{counted(forest.leaves.shape[1], 'tree')}: the random draws make up {error:.0%} of the out-of-bag losses; "
        "read them as ranks, or fit more trees",
    )


def _leaves(model: Any, inputs: Any) -> Array:
    return model.apply(inputs).reshape(-1, len(trees_of(model)))


def _reproduced_forest(model: Any, data: TrainingLeaves, target: Array) -> FixedStructureForest:
    """The forest with those candidate in-bag weights that reproduce the model's predictions."""
    leaves = consecutive_indices(data.leaves)
    for bag_weight in _candidate_bag_weights(model, data):
        forest = FixedStructureForest(leaves, bag_weight, target)
        f = forest.outputs(forest.leaf_means(), data.rows)
        if np.allclose(f, data.outputs.reshape(f.shape), rtol=1e-8, atol=1e-8 * (1 + np.abs(f).max())):
            return forest
    check_reproduced(type(model).__name__, f, data.outputs, 1e-8)
    raise AssertionError("unreachable: the last candidate was within tolerance")


def _candidate_bag_weights(model: Any, data: TrainingLeaves) -> Iterator[Array]:
    """Candidates for `b [n, T]`: scikit-learn ≥ 1.9 samples rows by weight, before it multiplied counts by weights."""
    trees = len(trees_of(model))
    if not getattr(model, "bootstrap", False):
        yield np.repeat(data.weight[:, None], trees, axis=1)
        return
    samples = model.estimators_samples_
    draws = np.stack([np.bincount(rows, minlength=data.n) for rows in samples], axis=1).astype(float)
    if getattr(model, "class_weight", None) == "balanced_subsample":
        weights = [compute_sample_weight("balanced", data.target, indices=rows) for rows in samples]
        draws = draws * np.stack(weights, axis=1)
    yield draws
    yield draws * data.weight[:, None]


def _describe(model: Any, forest: FixedStructureForest, likelihood: Any) -> Description:
    trees, leaves = forest.leaves.shape[1], len(forest.leaf_weights)
    kind = "a bootstrap sample each" if getattr(model, "bootstrap", False) else "all examples each"
    gaussian = isinstance(likelihood, Gaussian)
    return Description(
        model=f"scikit-learn {type(model).__name__}",
        approximation=Approximation.STRUCTURE_FIXED,
        posterior="exact leverage, structure of the trees fixed",
        likelihood=type(likelihood).__name__,
        algorithm="weighted means in leaves",
        coverage=(f"{counted(leaves, 'leaf', 'leaves')} of {counted(trees, 'tree')}, {kind}",),
        classes=() if gaussian else tuple(model.classes_.tolist()),
        effective_parameters=float(forest.leverage().sum()) * (1 if gaussian else len(model.classes_) - 1),
        dispersion=dispersion_of(likelihood),
        dispersion_estimated=dispersion_of(likelihood) is not None,
        estimator="out_of_bag" if getattr(model, "bootstrap", False) else "cavity",
        cautions=() if getattr(model, "bootstrap", False) else (SPLITS_CAUTION,),
        held_fixed=SPLITS,
        hyperparameters_held=balanced_weights(model),
        notes=(_OUT_OF_BAG_NOTE if getattr(model, "bootstrap", False) else _FIXED_SPLITS_NOTE,),
    )


def _check_supported(model: Any) -> None:
    check_is_fitted(model)
    if isinstance(model, _REGRESSORS) and model.criterion not in _MEAN_CRITERIA:
        raise UnsupportedModelError(
            f"{type(model).__name__}(criterion={model.criterion!r}) does not predict means of leaves: "
            f"refit with criterion='squared_error'"
        )
    if isinstance(model, _CLASSIFIERS) and model.n_outputs_ > 1:
        raise UnsupportedModelError(
            f"{type(model).__name__} with {model.n_outputs_} class targets: fit one forest for each target"
        )


def _regression_data(model: Any, examples: Examples | None) -> Examples:
    _check_supported(model)
    return ExamplesWithRows(numeric_data(model, examples))


def _classification_data(model: Any, examples: Examples | None) -> Examples:
    _check_supported(model)
    return ExamplesWithRows(class_data(model, examples))


for _kind in (*_REGRESSORS, *_CLASSIFIERS):
    posterior.register(_kind)(_posterior)
for _kind in _REGRESSORS:
    training_data.register(_kind)(_regression_data)
for _kind in _CLASSIFIERS:
    training_data.register(_kind)(_classification_data)
