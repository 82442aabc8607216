"""Linear-predictor models against retraining: every form, 120 examples a case (60 most sensitive, 60 random).

Truth: scikit-learn's own solver, to a gradient of 1e-10, without the example.

    python benchmarks/fidelity/linear.py
"""

from __future__ import annotations

import argparse

import numpy as np
import scores
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.core.perturbation.estimators import CODES, perturb


def digits(delta: float):
    """Softmax regression on 1,400 digits; the bias is a column of ones with a prior like every other."""
    x, y = load_digits(return_X_y=True)
    train = np.random.RandomState(0).permutation(len(x))[397:]
    x = np.column_stack([x[train] / 16, np.ones(len(train))])
    return (
        LogisticRegression(C=1 / delta, fit_intercept=False, tol=1e-10, max_iter=200, solver="newton-cg"),
        x,
        y[train],
    )


def cancer():
    """Binary logistic regression, standardised features."""
    x, y = load_breast_cancer(return_X_y=True)
    return LogisticRegression(tol=1e-10, max_iter=200, solver="newton-cholesky"), StandardScaler().fit_transform(x), y


def visits():
    """Poisson regression of doctor visits, 2,000 persons of the RAND health insurance experiment."""
    import statsmodels.api as sm

    data = sm.datasets.randhie.load_pandas().data.iloc[::10]
    x = StandardScaler().fit_transform(data.drop(columns="mdvis"))
    return PoissonRegressor(alpha=1e-3, tol=1e-10, max_iter=200, solver="newton-cholesky"), x, data["mdvis"].to_numpy()


CASES = {
    "softmax, digits, δ = 1": lambda: digits(1.0),
    "softmax, digits, δ = 0.01": lambda: digits(0.01),
    "logistic, breast cancer, δ = 1": cancer,
    "Poisson, doctor visits": visits,
}


def means(model, x: np.ndarray) -> np.ndarray:
    """Predicted means `[n, c]`; for two classes the second one's probability."""
    if hasattr(model, "predict_proba"):
        p = model.predict_proba(x)
        return p[:, 1:] if p.shape[1] == 2 else p
    return model.predict(x)[:, None]


def without(model, x: np.ndarray, y: np.ndarray, i: int):
    """The model refitted without example `i`, its prior unchanged."""
    kept = np.arange(len(x)) != i
    fresh = clone(model)
    if isinstance(model, PoissonRegressor):  # its penalty is per unit of weight
        fresh.set_params(alpha=model.alpha * len(x) / (len(x) - 1))
    return fresh.fit(x[kept], y[kept])


def study(name: str, k: int) -> None:
    model, x, y = CASES[name]()
    model.fit(x, y)
    m = mm.memory_map(model, x, y)
    rows = scores.chosen(m["sensitivity"], k)
    at = m.origin.batch_statistics(m.origin.examples.take(rows))
    truth = np.stack([(means(without(model, x, y, i), x[[i]]) - means(model, x[[i]]))[0] for i in rows])
    scores.show(name, {form: perturb(at, CODES[form]).change for form in CODES}, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=120)
    k = parser.parse_args().k
    print(scores.HEADER)
    for name in CASES:
        study(name, k)


if __name__ == "__main__":
    main()
