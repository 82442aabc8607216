"""Refits of tree ensembles with splits free: forests tree by tree on the same draws, boosting by clones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

from memorymaps.core.arrays import Array
from memorymaps.data.coercion import take_rows
from memorymaps.data.examples import Examples
from memorymaps.models.clone_refit import CloneRefit, plain_inputs, seeds


@dataclass(frozen=True)
class ForestRefit:
    """Trees grown again on their own bootstrap draws without some rows, `posteriors.capabilities.Refit`.

    A tree that has not drawn a removed row stays as it is. `bag_weight [n, T]`; `outputs`: tree, inputs → `[n, c]`;
    `max_unasked`: number of refits that a map may make without being asked.
    """

    trees: tuple[Any, ...]
    bag_weight: Array
    target: Array
    examples: Examples
    outputs: Callable[[Any, Any], Array]
    max_unasked: int = 0

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    def max_automatic_refits(self) -> int:
        """As many as were said to be affordable: most trees are grown again for each."""
        return self.max_unasked

    @cached_property
    def inputs(self) -> Any:
        """All training inputs."""
        return plain_inputs(self.examples.take(np.arange(len(self.examples))).inputs)

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, averaged over trees."""
        rows = take_rows(self.inputs, wanted)
        grown = [self._without(t, np.asarray(removed, dtype=np.intp)) for t in range(len(self.trees))]
        parts = [np.asarray(self.outputs(tree, rows), dtype=float) for tree in grown if tree is not None]
        if not parts:
            return np.full((len(wanted), self.target.shape[-1] if self.target.ndim > 1 else 1), np.nan), 1.0
        mean = np.mean(parts, axis=0)
        return mean.reshape(len(mean), -1), 0.0

    def _without(self, t: int, removed: Array) -> Any:
        weight = self.bag_weight[:, t]
        if not np.any(weight[removed]):
            return self.trees[t]
        weight = weight.copy()
        weight[removed] = 0.0
        if not np.any(weight):
            return None
        fresh = clone(self.trees[t])
        return fresh.set_params(**seeds(fresh)).fit(self.inputs, self.target, sample_weight=weight)


def boosting_refit(
    model: Any, examples: Examples, outputs: Callable[[Any, Any], Array], scale_pos_weight: float
) -> CloneRefit | None:
    """Clones of a boosted ensemble with as many iterations as it has; none for a booster that is no estimator."""
    if not hasattr(model, "get_params"):
        return None
    own = model.get_params()
    changed = {name: value for name, value in _iterations(model).items() if name in own}
    if own.get("class_weight") is not None:
        changed["class_weight"] = None
    if scale_pos_weight != 1:
        examples = examples.map(lambda batch: _unscaled(batch, scale_pos_weight))
    return CloneRefit(model, examples, outputs, changed, by_weight=_draws_rows(model))


def _draws_rows(model: Any) -> bool:
    """Whether the fit draws rows or features by scikit-learn's generator, one number a row (gradient boosting)."""
    return hasattr(model, "estimators_") and hasattr(model, "init_")


def _iterations(model: Any) -> dict[str, Any]:
    """The number of iterations that the fit stopped at, and no more stopping early."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "xgboost" in kinds:
        stopped = model.get_params().get("early_stopping_rounds") is not None
        rounds = model.best_iteration + 1 if stopped else model.get_booster().num_boosted_rounds()
        return {"n_estimators": rounds, "early_stopping_rounds": None}
    if "lightgbm" in kinds:
        best = model.best_iteration_ if (model.best_iteration_ or 0) > 0 else model.booster_.current_iteration()
        return {"n_estimators": int(best)}
    if "catboost" in kinds:
        return {"iterations": int(model.tree_count_)}
    if hasattr(model, "n_iter_"):
        return {"max_iter": int(model.n_iter_), "early_stopping": False}
    return {"n_estimators": int(model.n_estimators_), "n_iter_no_change": None}


def _unscaled(batch: Any, scale: float) -> Any:
    """Weights without `scale_pos_weight`, which the estimator multiplies itself."""
    weight = np.asarray(batch.weight, dtype=float) / np.where(np.asarray(batch.target) == 1, scale, 1.0)
    return dataclasses.replace(batch, weight=weight)
