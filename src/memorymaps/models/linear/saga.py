"""Refits by saga that end with every coefficient at zero: its stopping rule does not look at the intercept.

scikit-learn's `saga` ends where coefficients no longer change. Where an L1 penalty holds all of them at zero that is
after its first pass, wherever the intercept is by then, whatever `tol` and `max_iter` are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array

_TRIES = 5  # fits that are gone on with from the best intercept
_EQUAL = 1e-9  # difference of intercepts that is none
_BEYOND = 1e-6  # relative excess of a gradient over the L1 penalty that is a solver's tolerance


def with_best_intercept(l1: float, model: Any, inputs: Any, target: Array, weight: Array) -> Any:
    """A fitted `LogisticRegression`; with all coefficients at zero its intercept is the minimum given these.

    Where zero is not the minimum at that intercept the fit goes on from there, a few times.
    `l1`: penalty of the sum of losses; `target`: class numbers.
    """
    for _ in range(_TRIES):
        if np.any(model.coef_) or not model.fit_intercept:
            return model
        share = np.bincount(target.astype(int), weight, minlength=len(model.classes_)) / np.sum(weight)
        best = np.log(share) - np.mean(np.log(share)) if len(share) > 2 else np.log(share[1:] / share[:1])
        at_best = np.allclose(model.intercept_, best, rtol=0, atol=_EQUAL)
        model.intercept_ = best
        if at_best or _zero_is_best(share, l1, inputs, target, weight):
            return model
        model.set_params(warm_start=True).fit(inputs, target, sample_weight=weight)
    model.n_iter_ = np.full_like(model.n_iter_, model.max_iter)  # not converged, whatever its own rule says
    return model


def _zero_is_best(share: Array, l1: float, inputs: Any, target: Array, weight: Array) -> bool:
    """Whether no coefficient's gradient at zero exceeds the penalty."""
    error = weight[:, None] * (share - np.eye(len(share))[target.astype(int)])
    gradient = np.asarray(inputs.T @ error)
    return bool(np.max(np.abs(gradient), initial=0.0) <= l1 * (1 + _BEYOND))
