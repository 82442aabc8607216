"""Estimates that are infinite: of classes that columns separate, of groups without events.

The loss of a linear model without a penalty may have no minimum: along some direction of its parameters it falls for
ever, and a fit ends wherever its solver stops, with a gradient as small as one likes. Newton's steps tell it: near a
minimum they vanish, along that direction each changes outputs by about as much as the one before, and the loss is no
larger a hundred of them on. Source: Albert & Anderson 1984; Konis 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical

_CHANGED = 0.05  # change of an output by a Newton step, from which the minimum is not near (measured: 0.15 to 1)
_LONGEST = 2.0  # change of an output by a step that raises the loss, where hardly any curvature is left for Newton's
_FAR = 100.0  # such steps: by five and more, which losses of overlapping classes show
_STEPS = 6  # of Newton's method in which what else the fit had left is made up
_LIMIT_STEPS = 25  # further ones: losses of separated classes fall by e in each
_SHARE = 1e-5  # of a parameter: changes by less are those of rounding and of solvers' tolerances
_ROUNDING = 1e-12  # of the loss


class Loss(Protocol):
    """A loss of parameters, and its Newton steps."""

    def newton_step(self, parameters: Array) -> Array:
        """Newton's step, or that of scoring, in the parameters' shape."""

    def largest_change(self, step: Array) -> float:
        """The largest change of an example's output by a step, `max |x_i Δ|`."""

    def value(self, parameters: Array) -> float:
        """The loss; infinite where it is not finite."""


class Descent(NamedTuple):
    """Parameters from which the loss falls for ever along a direction, in their shape."""

    parameters: Array
    direction: Array

    def names(self, parameters: Sequence[str]) -> tuple[str, ...]:
        """Those of the parameters `[p]` or `[p, c]` that go to infinity, in some output."""
        goes = np.any(np.reshape(self.direction, (len(parameters), -1)) != 0, axis=1)
        return tuple(name for name, along in zip(parameters, goes.tolist(), strict=True) if along)


def endless_descent(loss: Loss, parameters: Array, step: Array) -> Descent | None:
    """Where the loss falls for ever, after a few of Newton's steps; none where it has a minimum.

    `step` is the first of them, at the parameters.
    """
    for _ in range(_STEPS):
        changing = np.abs(step) > _SHARE * np.abs(parameters)
        change = loss.largest_change(step) if np.all(np.isfinite(step)) and np.any(changing) else 0.0
        if not change >= _CHANGED:
            return None
        along = np.where(changing, step, 0.0)
        if _falls_for_ever(loss, parameters, along):
            return Descent(parameters, along)
        found = separating(loss, parameters)
        if found is not None:
            return found
        if change > _LONGEST and not loss.value(parameters + step) <= loss.value(parameters):
            step = _LONGEST / change * step
        parameters = parameters + step
        step = loss.newton_step(parameters)
    return None


def separating(loss: Loss, parameters: Array) -> Descent | None:
    """Where the loss falls for ever as all parameters grow in proportion: they separate all classes."""
    return Descent(parameters, parameters) if _falls_for_ever(loss, parameters, parameters) else None


def _falls_for_ever(loss: Loss, parameters: Array, direction: Array) -> bool:
    """Whether the loss is no larger a hundred steps on, each of which changes some output."""
    if not loss.largest_change(direction) >= _CHANGED:
        return False
    here = loss.value(parameters)
    return bool(np.isfinite(here) and loss.value(parameters + _FAR * direction) <= here + _ROUNDING * abs(here))


def followed(loss: Loss, descent: Descent) -> Descent:
    """Further on, where what is finite has come to its limit: it differs by about as much as the loss still falls."""
    parameters, direction = descent
    for _ in range(_LIMIT_STEPS):
        step = loss.newton_step(parameters)
        if not np.all(np.isfinite(step)) or not loss.largest_change(step) >= _CHANGED:  # no slope is left but rounding
            break
        parameters, direction = parameters + step, step
    return Descent(parameters, direction)


def limit_of_outputs(likelihood: Likelihood, f: Array, change: Array) -> Array:
    """Outputs `[n, c]` infinitely far along a direction that changes them by `change [n, c]`.

    Of softmax, which differences of outputs decide, those that do not change as far as the largest go to `−∞`.
    """
    if isinstance(likelihood, Categorical):
        change = np.minimum(change - np.max(change, axis=1, keepdims=True), 0.0)
    return np.where(np.abs(change) >= _CHANGED, np.copysign(np.inf, change), f)
