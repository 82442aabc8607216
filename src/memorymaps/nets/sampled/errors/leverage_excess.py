"""What examples have of leverage beyond what the drawn rows stand for: a sign of directions without any drawn row.

The effective parameters are the sum of all leverages. A sample of examples estimates it, `Σ share_i h_i`, and the drawn
rows another time, `Σ h_j/q_j` [Horvitz & Thompson 1952]. Of a direction in which no row was drawn the second knows
nothing, and by the first all examples that have a part in it have nearly the prior's variance. The excess beyond two
standard errors of both, as a part of the first, is by how much values may be too large.
"""

from __future__ import annotations

import math

from torch import Tensor

from memorymaps.nets.sampled.covariance import SampledCovariance

_ERRORS = 2.0  # standard errors that chance explains
_ROUNDING = 1e-9  # of the sum of leverages: no excess


def excess(leverage: Tensor, share: Tensor, covariance: SampledCovariance) -> float:
    """The part of the leverages `[n]` of examples, each of which stands for `share [n]`, that no drawn row stands for.

    Examples that stand for themselves are all there are; others were drawn with replacement.
    """
    each, (stood_for, error) = leverage * share, covariance.effective_parameters_and_error
    total, count = float(each.sum()), len(each)
    of_examples = float(each.var()) * count if count > 1 and bool((share != 1).any()) else 0.0
    beyond = total - stood_for - _ERRORS * math.sqrt(of_examples + error**2)
    return beyond / total if math.isfinite(beyond) and beyond > _ROUNDING * total else 0.0
