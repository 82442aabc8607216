"""Premises of a map's figures that can fail: stationarity of the fit, and one Newton step being long enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.maps.loo_averages import weights_of
from memorymaps.posteriors.approximation import Approximation

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable
    from memorymaps.posteriors.contract import Description

HIGH_LEVERAGE = 0.3  # mean leverage above which first-order sizes are too small
LONG_STEP = 0.18  # mean leverage above which one Newton step can be a fifth or more too long (benchmarks)
DISTANCE = 0.05  # posterior standard deviations per effective parameter above which the fit is not stationary
SUSPECT = 0.01  # … above which sizes are compared with those at the optimum, where that is affordable
FAR = 0.1  # … from which it is not, whatever its sizes are: perhaps other data than those of the fit
GAP_SLOPE, GAP_ERROR = 0.12, 0.25  # of sizes against those at the optimum, from which they are off
LONG_STEP_SHARE = 0.15  # of the sizes, as a root of squares, up to which marked examples are not warned of
ERROR_CHANGE = 0.15  # relative change of the errors in the step that remains, above which the fit is not stationary
LONG_STEP_EACH = 0.4  # leverage of one example above which its Newton step was found too long in convex models
_NAMED = 5  # parameters that a sentence names
VARIATIONAL_LEVERAGE = 0.13  # weighted by sensitivity, from which slopes were 0.7 to 0.86 (below: 0.81 to 0.96)
LONG_SHARE, LONG_SHARE_OF_ONE_OUTPUT = 0.3, 0.6  # their share of the sensitivity from which sizes were off


def newton_step_unreliable(m: ExampleTable) -> bool:
    """Whether cavity deviations (one Newton step) may be too large: nonlinear outputs and large mean leverage."""
    if not len(m) or not m.provenance.description.nonlinear or m.provenance.estimator.name == "first_order":
        return False
    return mean_leverage(m) >= LONG_STEP


def mean_leverage(m: ExampleTable) -> float:
    """Effective parameters per example, over the examples with a weight; 0 if there are none."""
    counts = weights_of(m) > 0
    return float(np.mean(m["leverage"][counts])) if np.any(counts) else 0.0


def stands_off_optimum(m: ExampleTable, limit: float = SUSPECT) -> bool:
    """Whether `Description.distance` from the minimum of the training loss reaches the limit."""
    distance = m.provenance.description.distance
    return distance is not None and not distance < limit


def not_stationary(m: ExampleTable) -> bool:
    """Whether the fit stands off its optimum and sizes are off for it, or may be: not known to be right."""
    d = m.provenance.description
    variational = Approximation.VARIATIONAL, Approximation.FACTORIZED
    stochastic = d.approximation in variational  # q(u) of minibatches, 0.3 and more from the optimum
    if d.optimum_gap is None or (stands_off_optimum(m, FAR) and not stochastic):
        changes = d.error_change is not None and not d.error_change < ERROR_CHANGE
        return changes or stands_off_optimum(m, DISTANCE)
    slope, error, loss_slope, loss_error = d.optimum_gap
    near = abs(slope - 1) <= GAP_SLOPE and abs(loss_slope - 1) <= GAP_SLOPE  # a NaN is not
    return not (near and error <= GAP_ERROR and loss_error <= GAP_ERROR)


def no_minimum(d: Description) -> str:
    """That the loss has no minimum, and along which parameters it falls, in words."""
    names, more = d.infinite_estimates[:_NAMED], len(d.infinite_estimates) - _NAMED
    which = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
    return (
        f"the loss has no minimum on these data: it falls on as estimates of {which} go to infinity, as where columns "
        "separate classes or a group has no event. Leverages and sizes along them are those of where the fit stopped. "
        "Fit again with a penalty, or without such columns"
    )


def remaining_distance(d: Description) -> str:
    """How far the parameters are from the optimum, in words."""
    words = "" if d.distance is None else f"{d.distance:.2g} posterior standard deviations (each)"
    if d.error_change is None or d.error_change < ERROR_CHANGE:
        return words
    return f"{words} and a step that changes the errors by {d.error_change:.0%}"


def variational_steps_too_long(m: ExampleTable) -> bool:
    """Whether one step from a variational posterior is too short for much of the sensitivity, without refitted rows.

    The others' expected losses change with its variance, too: deviations were about `1 − h` times those of refits.
    """
    d = m.provenance.description
    linear = m.provenance.estimator.name == "first_order" or d.likelihood.endswith("Gaussian")
    if d.approximation != Approximation.VARIATIONAL or linear:
        return False
    s = np.nan_to_num(m["sensitivity"], posinf=0.0)
    total = float(np.sum(s)) * max(1, m.provenance.outputs)
    return total > 0 and float(s @ (m["leverage"] * ~verified_rows(m))) / total >= VARIATIONAL_LEVERAGE


def long_steps_matter(m: ExampleTable) -> bool:
    """Whether examples marked `LONG_STEP` have so much of the sensitivity that sizes are off if theirs are."""
    marked = (m["warning"] & int(Warn.LONG_STEP)) != 0
    s = m["sensitivity"]
    if not np.all(np.isfinite(s[marked])):
        return True
    total = float(np.sum(s[np.isfinite(s)] ** 2))
    return float(np.sum(s[marked] ** 2)) > LONG_STEP_SHARE**2 * total


def verified_rows(m: ExampleTable) -> Array:
    """Examples whose deviation was computed by refitting, `[n]`."""
    return m["refitted"] if "refitted" in m.table.column_names else np.zeros(len(m), dtype=bool)


def largest_leverage(m: ExampleTable) -> float:
    """Per output, of examples that were neither refitted nor refined on the exact curvature; 0 if there are none."""
    refined = m["refined"] if "refined" in m.table.column_names else np.zeros(len(m), dtype=bool)
    left = m["leverage"][~(refined | verified_rows(m))] / _free_outputs(m)
    return float(np.max(left, initial=0.0))


def _free_outputs(m: ExampleTable) -> int:
    return max(1, m.provenance.outputs - (m.provenance.description.likelihood == "Categorical"))


def long_step_share(m: ExampleTable) -> float:
    """Share of the sensitivity in examples whose own leverage, per output, is too large for one Newton step."""
    sensitivity = np.nan_to_num(m["sensitivity"], posinf=0.0)
    high = (m["leverage"] / _free_outputs(m) > LONG_STEP_EACH) & ~verified_rows(m)
    total = float(np.sum(sensitivity))
    return float(np.sum(sensitivity[high])) / total if total > 0 else 0.0


def many_long_steps(m: ExampleTable) -> bool:
    """Whether `long_step_share` reaches what was off by more than 15 % in slope or 30 % in error or left-out loss.

    From 14 logistic regressions on bundled data (`benchmarks/fidelity/long_steps.py`): with one output probabilities
    saturate, and sizes stay right for longer.
    """
    return long_step_share(m) > (LONG_SHARE if m.provenance.outputs > 1 else LONG_SHARE_OF_ONE_OUTPUT)
