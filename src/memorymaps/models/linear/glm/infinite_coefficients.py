"""Coefficients of a linear predictor that go to infinity, as its loss has no minimum on the training data."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.model import LinearModel, linear_outputs
from memorymaps.models.linear.glm.objective_value import objective
from memorymaps.models.linear.glm.quadratic import LocalQuadratic
from memorymaps.models.linear.infinite_estimates import endless_descent, separating


@dataclass(frozen=True)
class LinearLoss:
    """The objective of a linear predictor over its training data, `Loss` of the coefficients `[p, c]`."""

    model: LinearModel
    examples: Examples

    def newton_step(self, parameters: Array) -> Array:
        """One pass over the data."""
        return LocalQuadratic.of(self._at(parameters), self.examples, observed=True).newton_step()

    def largest_change(self, step: Array) -> float:
        """Over examples with a weight; one pass over the data."""
        found = self.examples.fold(_nothing, functools.partial(_add_change, self._at(step)), np.maximum)
        return float(found[0])

    def value(self, parameters: Array) -> float:
        """One pass over the data."""
        return objective(self._at(parameters), self.examples)

    def _at(self, parameters: Array) -> LinearModel:
        return dataclasses.replace(self.model, coefficients=parameters)


def _nothing() -> Array:
    return np.zeros(1)


def _add_change(step: LinearModel, largest: Array, batch: Batch) -> None:
    """The largest of before and of the batch, whose offset does not change."""
    _, changes, weight = linear_outputs(step, dataclasses.replace(batch, offset=None))
    largest[0] = max(largest[0], np.max(np.abs(changes[weight > 0]), initial=0.0))


def names_of_infinite(model: LinearModel, step: Array, distance: float, examples: Examples) -> tuple[str, ...]:
    """Names of the coefficients of a linear predictor that go to infinity, by passes over the data where some may.

    `step [p, c]` is Newton's, `distance` that to the optimum in posterior standard deviations. Far from it, where no
    step can be relied on, only separated classes are looked for. What a penalty holds, however weak, is finite.
    """
    penalty = model.penalty(1.0) + (0.0 if model.l1 is None else model.l1(1.0))
    if np.all(penalty[model.free] > 0):
        return ()
    loss, here = LinearLoss(model, examples), model.coefficients
    found = endless_descent(loss, here, step) if distance < 1 else separating(loss, here)
    if found is None or np.any(penalty[found.direction != 0] > 0):
        return ()
    return found.names(model.parameters)
