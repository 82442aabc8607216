"""How well estimated sensitivities agree with retraining: the same four figures for every study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

HEADER = "| case | form | relative error | slope | Spearman ρ | undefined |\n|---|---|---|---|---|---|"


def chosen(sensitivity: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Half of the `k` examples the most sensitive ones, half drawn at random from the rest."""
    order = np.argsort(-sensitivity, kind="stable")
    rest = np.random.RandomState(seed).permutation(order[k // 2 :])[: k - k // 2]
    return np.concatenate([order[: k // 2], rest])


def agreement(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Relative L2 error, slope of the regression through the origin, rank correlation, share without an estimate.

    `estimate`, `truth [k, c]`: changes of the mean; the score of an example is `Σ_c |Δμ_c|`.
    """
    s, t = np.abs(estimate).sum(1), np.abs(truth).sum(1)
    known = np.isfinite(s)
    s, t = s[known], t[known]
    return {
        "rel": float(np.linalg.norm(s - t) / np.linalg.norm(t)),
        "slope": float(s @ t / (t @ t)),
        "rho": float(spearmanr(s, t).statistic),
        "undefined": float(1 - known.mean()),
    }


def show(case: str, estimates: Mapping[str, np.ndarray], truth: np.ndarray) -> None:
    """One line of the table for each form."""
    for form, estimate in estimates.items():
        a = agreement(estimate, truth)
        print(
            f"| {case} | {form} | {a['rel']:.3f} | {a['slope']:.2f} | {a['rho']:.3f} | {a['undefined']:.0%} |",
            flush=True,
        )
