"""When one Newton step is too long: logistic regressions against refits, and the share of long steps that tells.

12 examples with the largest sensitivity and 12 at random are left out, one by one, by scikit-learn's own solver.

    python benchmarks/fidelity/long_steps.py
"""

from __future__ import annotations

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.maps.premises import long_step_share

CASES = {"breast_cancer": (0.1, 1, 10, 100), "iris": (0.1, 1, 10, 100, 1e4), "wine": (0.1, 1, 10, 100, 1e4)}


def compare(name: str, C: float) -> str:
    """One line of the table."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    model = LogisticRegression(C=C, tol=1e-9, max_iter=20_000, solver="newton-cg")
    m = mm.memory_map(model.fit(x, y), x, y, estimator="cavity")  # by default the longest steps are refitted
    rng, s = np.random.default_rng(0), m["sensitivity"]
    rows = np.unique([*np.argsort(-s)[:12], *rng.choice(len(s), 12, replace=False)])
    before = model.predict_proba(x[rows])
    after = []
    for i in rows:
        keep = np.arange(len(y)) != i
        left = LogisticRegression(**model.get_params()).fit(x[keep], y[keep])
        after.append(left.predict_proba(x[[i]])[0])
    change = np.abs(np.array(after) - before)
    truth = change.sum(axis=1) / (2 if change.shape[1] == 2 else 1)
    loss = float(np.mean(-np.log([p[label] for p, label in zip(after, y[rows], strict=True)])))
    slope = truth @ s[rows] / (truth @ truth)
    error = np.linalg.norm(s[rows] - truth) / np.linalg.norm(truth)
    verdict = m.trust["sensitivity"].level
    return (
        f"| {name}, C = {C:g} | {slope:.2f} | {error:.2f} | {m['loo_loss'][rows].mean():.2f}, {loss:.2f} | "
        f"{m['leverage'].max():.2f} | {long_step_share(m):.2f} | {verdict} |"
    )


def main() -> None:
    """Print the table."""
    print("| case | slope | error | left-out loss, refitted | largest leverage | share of long steps | verdict |")
    print("|---|---|---|---|---|---|---|")
    for name, strengths in CASES.items():
        for C in strengths:
            print(compare(name, C), flush=True)


if __name__ == "__main__":
    main()
