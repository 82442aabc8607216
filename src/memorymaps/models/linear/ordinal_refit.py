"""Cumulative link models fitted again without some rows: damped scoring steps from the fitted optimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.models.linear.ordinal import OrdinalModel, derivatives, inverse_root
from memorymaps.posteriors.capabilities import RefitOnRequest

_STATIONARY = 1e-8  # scoring decrement, in posterior standard deviations, at which the iteration ends
_HALVINGS = 30
_ROUNDING = 1e-12  # of the loss: differences below are not decreases


@dataclass(frozen=True)
class OrdinalRefit(RefitOnRequest):
    """Refits of thresholds and slopes, `posteriors.capabilities.Refit`; `load` reads the training rows once."""

    model: OrdinalModel
    load: Callable[[], Batch]

    @cached_property
    def _data(self) -> Batch:
        return self.load()

    @cached_property
    def _rest(self) -> OrdinalModel:
        """The model at the minimum with all rows, which the fit may have missed by a little."""
        return self._minimised(self.model, np.ones(len(self._data), dtype=bool), 50)[0]

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, and 0 at the minimum, else 1.

        Raises
        ------
        ValueError
            A class has no example left: its threshold is not determined.
        """
        if not len(removed):
            return self._outputs(self._rest)[wanted], 0.0
        if not self._has_all_classes(removed):
            raise ValueError("without these rows a class has no example left: leave fewer rows out")
        found, moving = self._minimised(self._rest, self._without(removed), steps)
        return self._outputs(found)[wanted], moving

    def parameter_change(self, removed: Array, steps: int) -> tuple[Array, float]:
        """Changes of thresholds and slopes `[c + p]` from the optimum, and 0 at the minimum, else 1.

        NaN where a class has no example left: its threshold is not determined.
        """
        if not self._has_all_classes(removed):
            return np.full(len(self.model.parameters), np.nan), 1.0
        found, moving = self._minimised(self._rest, self._without(removed), steps)
        return found.parameters - self._rest.parameters, moving

    def _without(self, removed: Array) -> Array:
        kept = np.ones(len(self._data), dtype=bool)
        kept[removed] = False
        return kept

    def _has_all_classes(self, removed: Array) -> bool:
        left = np.unique(np.asarray(self._data.target)[self._without(removed)])
        return len(left) > len(self.model.thresholds)

    def _outputs(self, model: OrdinalModel) -> Array:
        f = model.outputs(np.asarray(self._data.inputs, dtype=float))
        offset = self._data.offset
        return f if offset is None else f + np.reshape(offset, (len(f), -1))

    def _minimised(self, model: OrdinalModel, kept: Array, steps: int) -> tuple[OrdinalModel, float]:
        for _ in range(steps):
            direction, decrement = self._direction(model, kept)
            if not np.isfinite(decrement):
                break
            if decrement <= _STATIONARY:
                return model.at(model.parameters + direction), 0.0
            better = self._line_search(model, direction, kept)
            if better is model:
                break
            model = better
        return model, 1.0

    def _direction(self, model: OrdinalModel, kept: Array) -> tuple[Array, float]:
        """`−S⁻¹∇L [c + p]`, and `√(∇LᵀS⁻¹∇L)`, infinite where `S` is singular."""
        x, y = np.asarray(self._data.inputs, dtype=float)[kept], np.asarray(self._data.target)[kept]
        rows, gradient = derivatives(model.likelihood, x, self._outputs(model)[kept], y)
        try:
            root, _ = inverse_root(np.linalg.qr(rows, mode="r"))
        except np.linalg.LinAlgError:  # the rows that are kept do not determine all parameters
            return np.full(len(gradient), np.nan), np.inf
        slope = gradient @ root
        return -root @ slope, float(np.linalg.norm(slope))

    def _loss(self, model: OrdinalModel, kept: Array) -> float:
        if np.any(np.diff(model.thresholds) <= 0):
            return np.inf
        return float(np.sum(model.likelihood.nll(self._outputs(model)[kept], np.asarray(self._data.target)[kept])))

    def _line_search(self, model: OrdinalModel, direction: Array, kept: Array) -> OrdinalModel:
        """The first of the halved steps that lowers the loss; the model itself if none does."""
        value = self._loss(model, kept)
        for halving in range(_HALVINGS):
            tried = model.at(model.parameters + direction / 2**halving)
            if self._loss(tried, kept) <= value + _ROUNDING * abs(value):
                return tried
        return model
