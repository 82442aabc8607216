"""All convex families and trees on real data against real refits: slope, relative error, ρ, left-out loss, warnings.

Truth: the library's own fit without the example, tolerances tightened, hyperparameters as they are; `k` examples a case
(half the most sensitive, half random). Trees, Gaussian process classes and Huber (scale held): `mm.refit`'s own refits.
A case is off where a slope misses 1 by more than 0.15, or a relative error exceeds 0.3, of sensitivities or of left-out
losses; `silent` marks one that carries no warning. Rows that the map itself refitted are in these figures, as they are
in the map; `rest-…` are the same of the chosen rows that it did not refit.

    MEMORYMAPS_DATA=… python benchmarks/fidelity/families.py [--only TEXT] [--k 30]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import scores
import statsmodels.api as sm
from scipy.stats import spearmanr
from sklearn import ensemble as en
from sklearn import linear_model as lm
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier
from tables import (
    Data,
    ames,
    bikes,
    births,
    bundled,
    diamonds,
    directors,
    flights,
    houses,
    positive_diabetes,
    spam,
    tiny,
)  # fmt: skip

import memorymaps as mm

# --- refits --------------------------------------------------------------------------------------------------------

EXACT = {"tol": 1e-10, "max_iter": 5000}
NEWTON = {"solver": "newton-cholesky", **EXACT}
GLMS = (lm.PoissonRegressor, lm.GammaRegressor, lm.TweedieRegressor)
TREES = (en.RandomForestClassifier, en.RandomForestRegressor, en.ExtraTreesClassifier, DecisionTreeClassifier)
TREES += (en.HistGradientBoostingClassifier, en.HistGradientBoostingRegressor, en.GradientBoostingRegressor)
OWN = (*TREES, GaussianProcessClassifier, lm.HuberRegressor)


def outputs(model, x: np.ndarray) -> np.ndarray:
    """Outputs on the scale of the map, up to a constant over classes."""
    if hasattr(model, "decision_function"):
        f = model.decision_function(x)
    else:
        f = np.log(model.predict(x)) if isinstance(model, GLMS) else model.predict(x)
    return np.reshape(f, (len(x), -1))


def estimator_without(model, x: np.ndarray, y: np.ndarray, i: int):
    kept, fresh = np.arange(len(x)) != i, clone(model)
    if isinstance(model, (SVC, SVR)) and model.gamma == "scale":
        fresh.set_params(gamma=1 / (x.shape[1] * x.var()))
    if isinstance(model, GaussianProcessRegressor):
        fresh.set_params(kernel=model.kernel_, optimizer=None)
    return fresh.fit(x[kept], y[kept])


def changes_of_estimator(model, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    after = [outputs(estimator_without(model, x, y, i), x[[i]]) for i in rows]
    return np.concatenate(after) - outputs(model, x[rows])


def changes_of_results(results, fit: Callable, rows: np.ndarray) -> np.ndarray:
    """Changes of the linear predictor `[k, 1]` of statsmodels results; `fit(y, x)` fits anew."""
    x, y, found = results.model.exog, results.model.endog, []
    for i in rows:
        kept = np.arange(len(y)) != i
        found.append(x[i] @ (np.asarray(fit(y[kept], x[kept]).params) - np.asarray(results.params)))
    return np.asarray(found)[:, None]


def own_changes(m, rows: np.ndarray) -> np.ndarray:
    source = m.origin.posterior.capabilities.refit
    after = [source.refit(rows[[k]], rows[[k]])[0] for k in range(len(rows))]
    return np.concatenate(after) - source.refit(rows[:0], rows)[0]


# --- the cases -------------------------------------------------------------------------------------------------------

CANCER, WINE, IRIS, DIABETES = (bundled(name) for name in ("breast_cancer", "wine", "iris", "diabetes"))


def smooth() -> Iterator[tuple[str, object, Data]]:
    for c in (0.01, 1.0, 100.0, 1e4):
        yield f"logistic cancer C={c:g}", lm.LogisticRegression(C=c, **NEWTON), CANCER
    for c in (1.0, 100.0):
        yield f"softmax wine C={c:g}", lm.LogisticRegression(C=c, **NEWTON), WINE
        yield f"softmax iris C={c:g}", lm.LogisticRegression(C=c, **NEWTON), IRIS
    yield "softmax digits C=0.1", lm.LogisticRegression(C=0.1, tol=1e-8, max_iter=5000), bundled("digits", 600)
    for c in (1.0, 1e4):
        for name, data in {"flights one-hot": flights, "ames one-hot": ames, "births": births, "spam": spam}.items():
            yield f"logistic {name} C={c:g}", lm.LogisticRegression(C=c, **NEWTON), data
    yield "logistic births L1", lm.LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", **EXACT), births
    yield (
        "logistic cancer L1",
        lm.LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=5000),
        CANCER,
    )
    yield "least squares diabetes", lm.LinearRegression(), DIABETES
    yield "ridge diabetes", lm.Ridge(10.0), DIABETES
    yield "ridge houses", lm.Ridge(1.0), houses()
    yield "least squares swiss", lm.LinearRegression(), tiny("swiss.csv", "Fertility")
    yield "least squares stackloss", lm.LinearRegression(), tiny("stackloss.csv", "stack.loss")
    yield "lasso diabetes", lm.Lasso(0.05, **EXACT), DIABETES
    yield "elastic net houses", lm.ElasticNet(0.01, **EXACT), houses()
    for a in (0.0, 1e-2):
        for name, data in {"bikes": bikes, "directors": directors}.items():
            yield f"Poisson {name} α={a:g}", lm.PoissonRegressor(alpha=a, **NEWTON), data
        for name, data in {"diabetes": positive_diabetes, "diamonds": diamonds}.items():
            yield f"gamma {name} α={a:g}", lm.GammaRegressor(alpha=a, **NEWTON), data
    yield "Tweedie bikes", lm.TweedieRegressor(power=1.5, alpha=1e-3, link="log", **NEWTON), bikes


def nonsmooth() -> Iterator[tuple[str, object, Data]]:
    for e in (1e3, 1.35, 1.01):
        yield f"Huber diabetes ε={e:g}", lm.HuberRegressor(epsilon=e, tol=1e-8, max_iter=5000), DIABETES
    yield "quantile ½ diabetes", lm.QuantileRegressor(alpha=0.0), DIABETES
    yield "quantile 0.9 houses", lm.QuantileRegressor(alpha=0.0, quantile=0.9), houses(100)
    yield "squared hinge cancer", LinearSVC(tol=1e-8, max_iter=10**6), CANCER
    yield "squared hinge births", LinearSVC(tol=1e-8, max_iter=10**6), births
    yield "hinge births", LinearSVC(loss="hinge", tol=1e-6, max_iter=10**6), births
    yield "ε-insensitive diabetes", LinearSVR(epsilon=0.1, tol=1e-6, max_iter=10**6), DIABETES


def kernels() -> Iterator[tuple[str, object, Data]]:
    for c in (1.0, 100.0):
        for name, data in {"cancer": CANCER, "wine": WINE, "iris": IRIS}.items():
            yield f"SVC {name} C={c:g}", SVC(C=c, tol=1e-5, decision_function_shape="ovo"), data
    yield "SVC births", SVC(tol=1e-5), births
    yield "SVC digits 0–2 C=10", SVC(C=10.0, tol=1e-5, decision_function_shape="ovo"), bundled("digits", 400, 3)
    yield "SVR diabetes", SVR(tol=1e-5), DIABETES
    yield "SVR houses", SVR(tol=1e-5), houses()
    yield "kernel ridge diabetes", KernelRidge(alpha=1.0, kernel="rbf"), DIABETES
    yield "GP regression diabetes", GaussianProcessRegressor(RBF(5.0) + WhiteKernel(0.5)), DIABETES
    yield "GP classes cancer", GaussianProcessClassifier(RBF(5.0), optimizer=None), bundled("breast_cancer", 150)


def trees() -> Iterator[tuple[str, object, Data]]:
    yield "forest cancer", en.RandomForestClassifier(random_state=0), CANCER
    yield "forest wine", en.RandomForestClassifier(random_state=0, min_samples_leaf=3), WINE
    yield "forest diabetes", en.RandomForestRegressor(random_state=0, min_samples_leaf=5), DIABETES
    yield "extra trees wine", en.ExtraTreesClassifier(50, random_state=0, min_samples_leaf=3), WINE
    yield "one tree cancer", DecisionTreeClassifier(min_samples_leaf=5, random_state=0), CANCER
    yield "hist boosting cancer", en.HistGradientBoostingClassifier(max_iter=50), CANCER
    yield "hist boosting diabetes", en.HistGradientBoostingRegressor(max_iter=50), DIABETES
    yield "boosting diabetes", en.GradientBoostingRegressor(n_estimators=50, random_state=0), DIABETES


def newton_fit(kind) -> Callable:
    """Fits by Newton's method, started at the polished coefficients of a scoring fit."""

    def fit(y, x):
        scoring = sm.GLM(y, x, family=kind).fit(maxiter=300)
        start = mm.memory_map(scoring, polish=True).origin.posterior.coefficients[:, 0]
        return sm.GLM(y, x, family=kind).fit(start_params=start, method="newton", tol=1e-12, maxiter=300, disp=0)

    return fit


def glms() -> Iterator[tuple[str, Callable, Data]]:
    family, link = sm.families, sm.families.links
    for name, data, kind in (
        ("gamma log diamonds", diamonds, family.Gamma(link.Log())),
        ("inverse Gaussian log diamonds", diamonds, family.InverseGaussian(link.Log())),
        ("Gaussian log diamonds", diamonds, family.Gaussian(link.Log())),
        ("Tweedie log diamonds", diamonds, family.Tweedie(link.Log(), var_power=1.5)),
        ("gamma log diabetes", positive_diabetes, family.Gamma(link.Log())),
        ("Poisson directors", directors, family.Poisson()),
        ("negative binomial directors", directors, family.NegativeBinomial(alpha=0.6)),
        ("logit births", births, family.Binomial()),
        ("probit births", births, family.Binomial(link.Probit())),
        ("cloglog births", births, family.Binomial(link.CLogLog())),
    ):
        yield f"GLM {name}", lambda y, x, kind=kind: sm.GLM(y, x, family=kind).fit(tol=1e-12, maxiter=300), data
    # scoring does not converge for the inverse Gaussian with a log link on these data: the case above is warned of
    yield "GLM inverse Gaussian log diamonds, Newton's method", newton_fit(family.InverseGaussian(link.Log())), diamonds
    yield "OLS houses", lambda y, x: sm.OLS(y, x).fit(), houses()
    yield "Probit births", lambda y, x: sm.Probit(y, x).fit(disp=0, tol=1e-12, maxiter=300), births
    yield "Logit births", lambda y, x: sm.Logit(y, x).fit(disp=0, tol=1e-12, maxiter=300), births


# --- the table -------------------------------------------------------------------------------------------------------

COLUMNS = (
    "case", "n", "slope", "error", "ρ", "loss-slope", "loss-error", "rest-slope", "rest-error", "refitted", "undefined",
    "map-seconds", "verdict", "warnings",
)  # fmt: skip


def line_through_origin(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope through the origin and relative error."""
    size = float(truth @ truth)
    if not size > 0:
        return 1.0, float(np.linalg.norm(estimate))
    return float(estimate @ truth / size), float(np.linalg.norm(estimate - truth) / np.sqrt(size))


def report(name: str, m, rows: np.ndarray, change: np.ndarray, seconds: float) -> bool:
    """One line of the table; whether the case is off without a warning."""
    at = m.origin.batch_statistics(m.origin.examples.take(rows))
    mean, before = at.likelihood.mean, at.likelihood.mean(at.f)
    truth = np.abs(mean(at.f + change) - before).sum(1)
    true_loss = at.likelihood.example_loss(at.f + change, at.y, at.weight)
    found, loss = m["sensitivity"][rows], m["loo_loss"][rows]
    known = np.isfinite(found) & np.isfinite(truth)
    slope, error = line_through_origin(found[known], truth[known])
    loss_slope, loss_error = line_through_origin(loss[known], true_loss[known])
    rest = known & ~(m["refitted"][rows] if "refitted" in m else np.zeros(len(rows), bool))
    rest_slope, rest_error = line_through_origin(found[rest], truth[rest])
    off = max(abs(slope - 1), abs(loss_slope - 1)) > 0.15 or max(error, loss_error) > 0.3
    lines = m.summary().warnings
    verdict = ("off, warned" if lines else "silent") if off else ("warned" if lines else "")
    refits = int(m["refitted"].sum()) if "refitted" in m else 0
    rho = spearmanr(found[known], truth[known]).statistic
    figures = [f"{value:.3f}" for value in (slope, error, rho, loss_slope, loss_error, rest_slope, rest_error)]
    counts = [str(refits), str(int((~known).sum())), f"{seconds:.2f}"]
    cells = [name, str(len(m)), *figures, *counts, verdict, "; ".join(text[:60] for text in lines)]
    print("| " + " | ".join(cells) + " |", flush=True)
    return verdict == "silent"


def mapped(*given) -> tuple[object, float]:
    start = time.perf_counter()
    m = mm.memory_map(*given)
    return m, time.perf_counter() - start


def chosen(m, k: int) -> np.ndarray:
    return np.sort(scores.chosen(np.nan_to_num(m["sensitivity"], nan=np.inf), min(k, len(m))))


def study_estimator(name: str, model, data: Data, k: int) -> bool:
    x, y = data()
    m, seconds = mapped(model.fit(x, y), x, y)
    rows = chosen(m, k)
    change = own_changes(m, rows) if isinstance(model, OWN) else changes_of_estimator(model, x, y, rows)
    return report(name, m, rows, change, seconds)


def study_results(name: str, fit: Callable, data: Data, k: int) -> bool:
    x, y = data()
    results = fit(y, sm.add_constant(x))
    m, seconds = mapped(results)
    rows = chosen(m, k)
    return report(name, m, rows, changes_of_results(results, fit, rows), seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--k", type=int, default=30)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    cases = [(study_estimator, *each) for source in (smooth, nonsmooth, kernels, trees) for each in source()]
    cases += [(study_results, *each) for each in glms()]
    silent = [study(name, *given, options.k) for study, name, *given in cases if options.only in name]
    print(f"\n{len(silent)} cases, {sum(silent)} off without a warning")


if __name__ == "__main__":
    main()
