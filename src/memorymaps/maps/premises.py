"""Premises of a map's figures that can fail: stationarity of the fit, and one Newton step being long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable

HIGH_LEVERAGE = 0.3  # mean leverage above which first-order sizes are too small
LONG_STEP = 0.18  # mean leverage above which one Newton step can be a fifth or more too long (benchmarks)
DISTANCE = 0.05  # posterior standard deviations per effective parameter above which the fit is not stationary
FAR = 1.0  # … above which it is not, whatever its sizes are: perhaps other data than those of the fit
GAP_SLOPE, GAP_ERROR = 0.12, 0.25  # of sizes against those at the optimum, from which they are off
LONG_STEP_EACH = 0.4  # leverage of one example above which its Newton step was found too long in convex models
LONG_SHARE, LONG_SHARE_OF_ONE_OUTPUT = 0.3, 0.6  # their share of the sensitivity from which sizes were off


def newton_step_unreliable(m: ExampleTable) -> bool:
    """Whether cavity deviations (one Newton step) may be too large: nonlinear outputs and large mean leverage."""
    if not len(m) or not m.provenance.description.nonlinear or m.provenance.estimator.name == "first_order":
        return False
    return float(np.mean(m["leverage"])) >= LONG_STEP


def stands_off_optimum(m: ExampleTable) -> bool:
    """Whether the parameters are not at the minimum of the training loss, by `Description.distance`."""
    distance = m.provenance.description.distance
    return distance is not None and not distance < DISTANCE


def not_stationary(m: ExampleTable) -> bool:
    """Whether the fit stands off its optimum and sizes are off for it, or may be: not known to be right."""
    d = m.provenance.description
    if not stands_off_optimum(m) or d.optimum_gap is None or d.distance is None or not d.distance < FAR:
        return stands_off_optimum(m)
    slope, error, loss_slope, loss_error = d.optimum_gap
    near = abs(slope - 1) <= GAP_SLOPE and abs(loss_slope - 1) <= GAP_SLOPE  # a NaN is not
    return not (near and error <= GAP_ERROR and loss_error <= GAP_ERROR)


def verified_rows(m: ExampleTable) -> Array:
    """Examples whose deviation was computed by refitting or on the exact curvature, `[n]`."""
    columns = [m[name] for name in ("refined", "refitted") if name in m.table.column_names]
    return np.any(columns, axis=0) if columns else np.zeros(len(m), dtype=bool)


def long_step_share(m: ExampleTable) -> float:
    """Share of the sensitivity in examples whose own leverage, per output, is too large for one Newton step."""
    outputs = max(1, m.provenance.outputs - (m.provenance.description.likelihood == "Categorical"))
    sensitivity = np.nan_to_num(m["sensitivity"], posinf=0.0)
    high = (m["leverage"] / outputs > LONG_STEP_EACH) & ~verified_rows(m)
    total = float(np.sum(sensitivity))
    return float(np.sum(sensitivity[high])) / total if total > 0 else 0.0


def many_long_steps(m: ExampleTable) -> bool:
    """Whether `long_step_share` reaches what was off by more than 15 % in slope or 30 % in error or left-out loss.

    From 14 logistic regressions on bundled data (`benchmarks/fidelity/long_steps.py`): with one output probabilities
    saturate, and sizes stay right for longer.
    """
    return long_step_share(m) > (LONG_SHARE if m.provenance.outputs > 1 else LONG_SHARE_OF_ONE_OUTPUT)
