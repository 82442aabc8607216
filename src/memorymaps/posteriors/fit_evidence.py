"""Evidence that a model was fitted to these targets: the association of its outputs with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples

_ROUNDING = 1e-12  # of the largest value, a spread that is none
_RAN_AWAY = 3.0  # times the spread of the targets: predictions of no fit, whatever its targets were


def shows_other_targets(model: Any, examples: Examples, least: float) -> bool:
    """Whether the `association` of a linear model's outputs with the targets of the examples is below `least`.

    A fit that has run away (stochastic gradients on unscaled features) has nothing to do with its own targets either.
    """
    outputs, targets = [], []
    for batch in examples:
        f = np.asarray(model.design(batch.inputs) @ model.coefficients)
        outputs.append(f)
        targets.append(np.asarray(model.likelihood.encode(batch.target, f.shape[1]), dtype=float))
    f, y = np.concatenate(outputs), np.concatenate(targets)
    with np.errstate(over="ignore"):
        mean = model.likelihood.mean(f)
    spread = np.std(np.where(np.isfinite(y), y, 0.0), axis=0)
    return association(f, y) < least and not np.any(np.std(mean, axis=0) > _RAN_AWAY * spread)


def association(f: Array, y: Array) -> float:
    """`Σ (f − f̄)·(y − ȳ)` in standard deviations of its value under random permutations of `y`; both `[n, c]`.

    Standard normal for targets that have nothing to do with the outputs, negative for reversed ones, and far above 2
    for those of the fit. Infinite where either is constant, to rounding: nothing can be told.

    Examples
    --------
    >>> f = np.arange(100.0)[:, None]
    >>> association(f, f) > 9, association(f, -f) < -9
    (True, True)
    """
    y = np.where(np.isfinite(y), y, 0.0)  # outputs an example takes no part in
    f, y = _centred(f), _centred(y)
    variance = float(np.sum((f.T @ f) * (y.T @ y))) / (len(f) - 1) if len(f) > 1 else 0.0
    return float(np.sum(f * y) / np.sqrt(variance)) if variance > 0 else np.inf


def _centred(values: Array) -> Array:
    """Less the mean of each column; zero for columns that are constant to rounding."""
    constant = np.ptp(values, axis=0) <= _ROUNDING * np.max(np.abs(values), axis=0)
    return np.where(constant, 0.0, values - np.mean(values, axis=0))
