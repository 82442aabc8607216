"""Refits of any scikit-learn-like estimator: clone it, fit it without some rows, ask it for its outputs.

Hyperparameters and class weights are those of the fitted estimator (a penalty per unit of weight stays one); what the
estimator decides itself (splits of trees, support vectors, coefficients at zero) is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import take_rows
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import InputsWithRows


def plain_inputs(inputs: Any) -> Any:
    """Inputs as the estimator reads them, without row numbers."""
    return inputs.inputs if isinstance(inputs, InputsWithRows) else inputs


@dataclass(frozen=True)
class CloneRefit:
    """Refits by `clone(estimator).fit`, `posteriors.capabilities.Refit`.

    Attributes
    ----------
    estimator : fitted.
    examples : its training data, targets and weights as in training.
    outputs : `(fitted estimator, inputs) → f [n, c]`.
    settings : parameters of the clones that differ: choices of the fit made hyperparameters, tighter tolerances.
    automatic : number of refits that a map may make without being asked.
    finish : `(clone, inputs, targets, weights) → clone`, what a fit still lacks; None: nothing.
    by_weight : removed rows stay with weight zero, which leaves the random draws of the fit as they were.
    unpenalised : `inputs → x [n, p]`, the columns of coefficients without a penalty: outputs are NaN without rows that
        alone determine one, whatever the clone takes for it; None: there are none.
    """

    estimator: Any
    examples: Examples
    outputs: Callable[[Any, Any], Array]
    settings: Mapping[str, Any] = field(default_factory=dict)
    by_weight: bool = False
    automatic: int = 0
    finish: Callable[[Any, Any, Array, Array], Any] | None = None
    unpenalised: Callable[[Any], Array] | None = None

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    def max_automatic_refits(self) -> int:
        """As many as the adapter affords: a fit from scratch each."""
        return self.automatic

    @cached_property
    def data(self) -> Batch:
        """All training examples."""
        return self.examples.take(np.arange(len(self.examples)))

    @cached_property
    def _refitted(self) -> Any:
        """A clone fitted with all rows, beside which those without some are put."""
        return self.fitted_without(np.empty(0, dtype=np.intp))

    def fitted_without(self, removed: Array) -> Any:
        """A clone fitted without some rows; those of weight zero are no rows.

        Raises
        ------
        ValueError
            A class has no example left.
        """
        data, weight = self.data, _weight(self.data)
        weight[removed] = 0.0
        _require_classes(self.estimator, np.asarray(data.target)[weight > 0])
        fresh = clone(self.estimator).set_params(**self.settings)
        fresh.set_params(**seeds(fresh))
        if self.by_weight:
            return fresh.fit(plain_inputs(data.inputs), np.asarray(data.target), sample_weight=weight)
        kept = np.flatnonzero(weight > 0)
        x, y = take_rows(plain_inputs(data.inputs), kept), np.asarray(data.target)[kept]
        fresh = fresh.fit(x, y) if data.weight is None else fresh.fit(x, y, sample_weight=weight[kept])
        return fresh if self.finish is None else self.finish(fresh, x, y, weight[kept])

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, and infinity if the fit used all its iterations.

        NaN and infinity where the other rows and the penalty do not determine the model.
        """
        rows = np.asarray(removed, dtype=np.intp)
        if not self._is_determined(rows):
            return np.full_like(self._outputs(self._refitted, wanted)[0], np.nan), np.inf
        return self._outputs(self.fitted_without(rows) if len(rows) else self._refitted, wanted)

    def _is_determined(self, removed: Array) -> bool:
        """Whether the other rows of weight have the rank of all, of the columns without a penalty."""
        if self.unpenalised is None or not len(removed):
            return True
        x, weight = self.unpenalised(plain_inputs(self.data.inputs)), _weight(self.data)
        every = np.linalg.matrix_rank(x[weight > 0])
        weight[removed] = 0.0
        return bool(np.linalg.matrix_rank(x[weight > 0]) == every)

    def refit_with(
        self, coefficients_of: Callable[[Any], Array], removed: Array, wanted: Array, steps: int = 200,
        tolerance: float = 0.05,
    ) -> tuple[Array, float, Array]:  # fmt: skip
        """`refit`, and what `coefficients_of` the fitted clone says: `posteriors.capabilities.CoefficientRefit`."""
        fresh = self.fitted_without(np.asarray(removed, dtype=np.intp))
        return *self._outputs(fresh, wanted), coefficients_of(fresh)

    def _outputs(self, fresh: Any, wanted: Array) -> tuple[Array, float]:
        f = np.asarray(self.outputs(fresh, take_rows(plain_inputs(self.data.inputs), wanted)), dtype=float)
        return f.reshape(len(f), -1), np.inf if self._is_stopped_early(fresh) else 0.0

    def _is_stopped_early(self, fresh: Any) -> bool:
        """Whether a fit to the tolerance of `settings` used all its iterations; other fits stop by their own rule."""
        used = getattr(fresh, "n_iter_", None)
        if used is None or not {"tol", "max_iter"} <= self.settings.keys():
            return False
        return bool(np.max(used) >= self.settings["max_iter"])


def seeds(estimator: Any) -> dict[str, int]:
    """Zero for every `random_state` that is None, also of nested estimators: refits leave `numpy.random` as it was."""
    parameters = estimator.get_params(deep=True).items()
    return {key: 0 for key, value in parameters if key.split("__")[-1] == "random_state" and value is None}


def _weight(data: Batch) -> Array:
    """A copy of the weights `[n]`."""
    return np.ones(len(data)) if data.weight is None else np.array(data.weight, dtype=float)


def _require_classes(estimator: Any, y: Array) -> None:
    classes, present = getattr(estimator, "classes_", None), np.unique(y)
    if classes is not None and len(present) < len(classes):
        missing = sorted(set(range(len(classes))) - set(present.astype(int).tolist()))
        raise ValueError(
            f"without these rows no example of class {np.asarray(classes)[missing].tolist()} is left, and the "
            "estimator cannot be fitted: leave fewer rows out"
        )


def without_class_weight(estimator: Any) -> dict[str, Any]:
    """Settings of a clone whose examples carry their class's weight already."""
    return {"class_weight": None} if getattr(estimator, "class_weight", None) is not None else {}
