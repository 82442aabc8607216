"""Evidence that a model was fitted to these targets: the association of its outputs with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples


def target_association(model: Any, examples: Examples) -> float:
    """Association of a linear model's outputs with the targets of the examples; see `association`."""
    outputs, targets = [], []
    for batch in examples:
        f = np.asarray(model.design(batch.inputs) @ model.coefficients)
        outputs.append(f)
        targets.append(np.asarray(model.likelihood.encode(batch.target, f.shape[1]), dtype=float))
    return association(np.concatenate(outputs), np.concatenate(targets))


def association(f: Array, y: Array) -> float:
    """`Σ (f − f̄)·(y − ȳ)` in standard deviations of its value under random permutations of `y`; both `[n, c]`.

    Standard normal for targets that have nothing to do with the outputs, negative for reversed ones, and far above 2
    for those of the fit. Infinite where either is constant: nothing can be told.

    Examples
    --------
    >>> f = np.arange(100.0)[:, None]
    >>> association(f, f) > 9, association(f, -f) < -9
    (True, True)
    """
    y = np.where(np.isfinite(y), y, 0.0)  # outputs an example takes no part in
    f, y = f - np.mean(f, axis=0), y - np.mean(y, axis=0)
    variance = float(np.sum((f.T @ f) * (y.T @ y))) / (len(f) - 1) if len(f) > 1 else 0.0
    return float(np.sum(f * y) / np.sqrt(variance)) if variance > 0 else np.inf
