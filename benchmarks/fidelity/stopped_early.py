"""Maps of logistic regressions whose solver was stopped early, against those at the optimum.

Error of the leverage, and how far the orders agree: rank correlation, and the share of the 5 % largest in common, for
leverage and sensitivity; grouped by the distance from the optimum that the map states, and by its trust in leverage.

    python benchmarks/fidelity/stopped_early.py
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import memorymaps as mm

DATA = {"cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits}
MOST = 400  # examples
STRENGTHS, STEPS = (0.1, 1.0, 100.0), (1, 3, 6, 12, 25, 50, 100, 200)
DISTANCES = (0.01, 0.1, 0.5, 1, 2, np.inf)  # posterior standard deviations each


def compared(m: mm.MemoryMap, best: mm.MemoryMap, figure: str) -> dict[str, float]:
    """Of one figure: relative error, rank correlation, and the share of the 5 % largest in common."""
    a, b, k = m[figure], best[figure], max(1, len(m) // 20)
    common = len(set(np.argsort(-a)[:k]) & set(np.argsort(-b)[:k])) / k
    error = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    return {f"{figure} error": error, f"{figure} ρ": spearmanr(a, b).statistic, f"{figure} top": common}


def stopped() -> Iterator[dict[str, Any]]:
    """One line for each fit that stands off its optimum."""
    for (name, load), scaled, strength in itertools.product(DATA.items(), (True, False), STRENGTHS):
        x, y = load(return_X_y=True)
        x, y = (StandardScaler().fit_transform(x) if scaled else x)[:MOST], y[:MOST]
        best = mm.memory_map(LogisticRegression(C=strength, max_iter=20_000, tol=1e-10).fit(x, y), x, y, polish=True)
        for steps in STEPS:
            m = mm.memory_map(LogisticRegression(C=strength, max_iter=steps).fit(x, y), x, y)
            d, trust = m.provenance.description, m.trust
            yield {"data": name, "distance": d.distance, "leverage is": str(trust["leverage"].level),
                   "ranks are": str(trust["ranks"].level), **compared(m, best, "leverage"),
                   **compared(m, best, "sensitivity")}  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    found = pd.DataFrame(stopped())
    columns = [name for name in found.columns if name.startswith(("leverage ", "sensitivity ")) and "is" not in name]
    found["from"] = pd.cut(found["distance"], (0, *DISTANCES))
    for by in ("from", "leverage is", "ranks are"):
        groups = found.groupby(by, observed=True)[columns]
        print(
            pd.concat(
                {"maps": groups.size(), **{q: groups.quantile(q).round(2) for q in (0.1, 0.5, 0.9)}}, axis=1
            ).to_string()
        )


if __name__ == "__main__":
    main()
