"""What a `retrain_check` found, as a fact of the map on which `MemoryMap.trust` rests."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from memorymaps.core.arrays import Array
from memorymaps.maps.provenance import Agreement, Retrained

if TYPE_CHECKING:
    from memorymaps.analysis.retraining import RetrainCheck
    from memorymaps.maps.memory_map import MemoryMap


def with_verdict(m: MemoryMap, check: RetrainCheck) -> MemoryMap:
    """The map with the agreement of its sensitivities and left-out losses with retraining in its provenance."""
    found = Retrained(
        examples=len(check),
        drift=check.drift,
        sensitivity=_agreement(check["estimate"], check["truth"]),
        loo_loss=_agreement(check["loo_loss"] - check["loss"], check["true_loo_loss"] - check["loss"]),
    )
    return dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, retrained=found))


def _agreement(estimate: Array, truth: Array) -> Agreement:
    """Slope, relative error and rank correlation over the pairs that are finite; NaN where they do not exist."""
    finite = np.isfinite(estimate) & np.isfinite(truth)
    s, t = estimate[finite], truth[finite]
    if len(t) < 2 or not np.any(t):
        return Agreement(float("nan"), float("nan"), float("nan"), float("nan"))
    varies = np.ptp(s) > 0 and np.ptp(t) > 0
    return Agreement(
        slope=float(s @ t / (t @ t)),
        relative_error=float(np.linalg.norm(s - t) / np.linalg.norm(t)),
        spearman=float(spearmanr(s, t).statistic) if varies else float("nan"),
        typical=float(np.sqrt(np.mean(t**2))),
    )
