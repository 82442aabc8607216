"""scikit-learn's gradient boosting: leaves from `apply`, or from staged outputs for models without `apply`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import ExamplesWithRows
from memorymaps.models.sklearn_targets import class_data, numeric_data
from memorymaps.models.trees.boosting_posterior import (
    EnsembleSpec,
    boosted_posterior,
    constant_ridge,
    require_settings,
    to_spec,
)
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

_HIST_BOOSTING = (HistGradientBoostingRegressor, HistGradientBoostingClassifier)
_GRADIENT_BOOSTING = (GradientBoostingRegressor, GradientBoostingClassifier)
_INITIAL_ROWS = 2_000  # distinct values are first sought in this many rows
_MAX_SPLITTER_SEED = 2**31 - 1  # exclusive upper bound of the seed that scikit-learn draws for a tree's splitter
_CLASSIFIERS = (HistGradientBoostingClassifier, GradientBoostingClassifier)


@to_spec.register(HistGradientBoostingRegressor)
@to_spec.register(HistGradientBoostingClassifier)
def _hist_spec(model: Any) -> EnsembleSpec:
    check_is_fitted(model)
    name = f"scikit-learn {type(model).__name__}"
    if model.monotonic_cst is not None:
        raise UnsupportedModelError(f"{name} was trained with monotonic_cst, which changes leaf values: refit without")
    likelihood = _likelihood(name, model)
    return EnsembleSpec(
        name,
        likelihood,
        leaves=lambda inputs: _tree_contributions(model, inputs),
        outputs=lambda inputs: _outputs(model, inputs),
        learning_rate=float(model.learning_rate),
        ridge=constant_ridge(model.l2_regularization),
        classes=_classes(model),
        index_leaves=leaf_indices_from_values,
        zero_trees=_zero_contributions,
        rows=int(model._predictors[0][0].nodes["count"][0]) if hasattr(model, "_predictors") else None,
    )


def _likelihood(name: str, model: Any) -> Likelihood:
    known: dict[str, Likelihood] = {"squared_error": Gaussian(), "poisson": Poisson()}
    if isinstance(model, _CLASSIFIERS):
        known = {"log_loss": Bernoulli() if len(model.classes_) == 2 else Categorical()}
    if model.loss not in known:
        raise UnsupportedModelError(f"{name} was trained with loss {model.loss!r}: refit with {' or '.join(known)}")
    return known[model.loss]


def _outputs(model: Any, inputs: Any) -> Array:
    if isinstance(model, _CLASSIFIERS):
        return model.decision_function(inputs)
    return np.log(model.predict(inputs)) if model.loss == "poisson" else model.predict(inputs)


def _staged_outputs(model: Any, inputs: Any) -> Array:
    """Outputs after each iteration `[n, T, c]`."""
    staged = model.staged_decision_function if isinstance(model, _CLASSIFIERS) else model.staged_predict
    stages = np.stack([stage.reshape(len(stage), -1) for stage in staged(inputs)], axis=1)
    return np.log(stages) if model.loss == "poisson" else stages


def _tree_contributions(model: Any, inputs: Any) -> Array:
    """Contribution of each tree to each output, the first with the base value: `[n, T, c]`."""
    stages = _staged_outputs(model, inputs)
    return np.diff(stages, axis=1, prepend=0.0)


def leaf_indices_from_values(contributions: Array) -> Array:
    """Leaf indices `[n, T, c]` from tree contributions `[n, T, c]`, which are equal within a leaf up to rounding.

    Two leaves of one tree with equal values become one leaf; its Newton step is that same value.
    """
    indices = np.empty(contributions.shape, dtype=np.int32, order="F")
    tolerance = 1e-11 * (1 + np.abs(contributions).sum(axis=1).max())
    for tree in np.ndindex(contributions.shape[1:]):
        column = np.ascontiguousarray(contributions[(slice(None), *tree)])
        indices[(slice(None), *tree)] = _nearest_distinct(column, tolerance)
    return indices


def _zero_contributions(contributions: Array) -> Array:
    """Trees `[T, c]` that contribute exactly 0 everywhere: scikit-learn takes no Newton step in a tree without a split.

    The first contribution contains the base value, from which a step of all examples together is 0 anyway.
    """
    return np.all(contributions == 0, axis=0)


def _nearest_distinct(column: Array, tolerance: float) -> Array:
    """Index of each entry among the distinct values of `column`, found first in a few rows to avoid sorting all."""
    values = _distinct_values(column[:_INITIAL_ROWS], tolerance)
    while True:
        nearest = np.searchsorted((values[1:] + values[:-1]) / 2, column)
        missing = np.abs(column - values[nearest]) > tolerance
        if not np.any(missing):
            return nearest
        values = _distinct_values(np.concatenate([values, column[missing]]), tolerance)


def _distinct_values(values: Array, tolerance: float) -> Array:
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], np.diff(ordered) > tolerance])]


@to_spec.register(GradientBoostingRegressor)
@to_spec.register(GradientBoostingClassifier)
def _gradient_boosting_spec(model: Any) -> EnsembleSpec:
    check_is_fitted(model)
    name = f"scikit-learn {type(model).__name__}"
    require_settings(name, model.get_params(), {"init": None}, "whose outputs depend on the targets")
    likelihood = _likelihood(name, model)
    classes = model.n_trees_per_iteration_
    return EnsembleSpec(
        name,
        likelihood,
        leaves=model.apply,
        outputs=model.decision_function if isinstance(model, _CLASSIFIERS) else model.predict,
        learning_rate=float(model.learning_rate),
        ridge=constant_ridge(0.0),
        classes=_classes(model),
        curvature_factor=classes / (classes - 1) if classes > 1 else 1.0,  # Friedman's factor (K − 1)/K on the step
        drawn=_subsample_masks(name, model),
        rows=int(model.estimators_[0, 0].tree_.n_node_samples[0]) if model.subsample == 1.0 else None,
    )


def _subsample_masks(name: str, model: Any) -> Callable[[int], Array] | None:
    """A function `n → [n, T]` that reproduces the row subsamples of training from the model's integer seed.

    scikit-learn draws one uniform number for each row, then one integer for each tree's splitter.

    Raises
    ------
    UnsupportedModelError
        `random_state` is not an integer.
    """
    if model.subsample == 1.0:
        return None
    if not isinstance(model.random_state, int | np.integer):
        raise UnsupportedModelError(
            f"{name} was trained with subsample = {model.subsample!r} and random_state = {model.random_state!r}, from "
            "which the row subsamples cannot be reproduced: refit with random_state=0, or with subsample = 1.0"
        )
    iterations, trees = model.estimators_.shape

    def drawn(n: int) -> Array:
        rng, masks = check_random_state(model.random_state), np.empty((n, iterations), dtype=bool)
        for t in range(iterations):
            masks[:, t] = _selection_sampling(rng.uniform(size=n), max(1, int(model.subsample * n)))
            rng.randint(0, _MAX_SPLITTER_SEED, size=trees)
        return masks

    return drawn


def _selection_sampling(uniform: Array, size: int) -> Array:
    """Mask of `size` sampled rows; row `i` has probability (rows needed)/(rows left) [Knuth, Algorithm 3.4.2S]."""
    n, selected, mask = len(uniform), 0, np.zeros(len(uniform), dtype=bool)
    for i, u in enumerate(uniform.tolist()):
        if u * (n - i) < size - selected:
            mask[i] = True
            selected += 1
    return mask


def _classes(model: Any) -> tuple[Any, ...]:
    return tuple(model.classes_.tolist()) if isinstance(model, _CLASSIFIERS) else ()


def _data(model: Any, examples: Examples | None) -> Examples:
    check_is_fitted(model)
    is_classifier = isinstance(model, _CLASSIFIERS)
    training = (class_data if is_classifier else numeric_data)(model, examples)
    excluded, indexed = _validation_rows(model, training), ExamplesWithRows(training)
    return indexed if excluded is None else _WithoutValidationRows(indexed, excluded)


def _validation_rows(model: Any, examples: Examples) -> Array | None:
    """Rows of the validation set of early stopping, split again by the fit's own seed; `None` without one."""
    hist = isinstance(model, _HIST_BOOSTING)
    if not (model.do_early_stopping_ if hist else model.n_iter_no_change is not None):
        return None
    if hist and model.validation_fraction is None:
        return None
    seed = _split_seed(model) if hist else model.random_state
    if not isinstance(seed, int | np.integer) or (not hist and model.subsample != 1.0):
        raise UnsupportedModelError(
            f"{type(model).__name__} held out a validation set for early stopping that cannot be reproduced: refit "
            "with random_state=0, without row subsampling, or with early stopping off"
        )
    target = np.concatenate([batch.target for batch in examples])
    stratify = target if isinstance(model, _CLASSIFIERS) else None
    rows = np.arange(len(target))
    return train_test_split(rows, test_size=model.validation_fraction, stratify=stratify, random_state=seed)[1]


def _split_seed(model: Any) -> Any:
    """The integer that histogram boosting drew for its split: kept by the fit, else the first of `random_state`."""
    if not hasattr(model, "_random_seed") and isinstance(model.random_state, int | np.integer):
        return check_random_state(model.random_state).randint(np.iinfo(np.uint32).max, dtype="u8")
    return getattr(model, "_random_seed", None)


@dataclasses.dataclass(frozen=True)
class _WithoutValidationRows(Examples):
    """Training examples with weight 0 for the rows of the validation set."""

    source: ExamplesWithRows
    excluded: Array

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Any:
        return map(self._zero_weighted, self.source)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in one batch."""
        return self._zero_weighted(self.source.take(rows))

    def _zero_weighted(self, batch: Batch) -> Batch:
        weight = np.ones(len(batch)) if batch.weight is None else batch.weight
        return dataclasses.replace(batch, weight=np.where(np.isin(batch.inputs.rows, self.excluded), 0.0, weight))


_register: Callable[..., Any] = posterior.register
for _kind in (*_HIST_BOOSTING, *_GRADIENT_BOOSTING):
    _register(_kind)(boosted_posterior)
    training_data.register(_kind)(_data)
