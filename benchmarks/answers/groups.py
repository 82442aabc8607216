"""Groups left out, and coefficients that flip: estimates against refits of the library itself.

Groups: half a class at random, the larger of two clusters of a class, clusters of inputs (k-means), random tenths.
Slope and relative error of the changes of the members' mean loss, and of all predicted means (Σ|Δ| of members and of
the others), against clones fitted without the group. Networks: fitted again from the fitted weights by scikit-learn and
by torch's L-BFGS; of the two the one with the lower loss. Groups where these losses differ by more than 0.1 nats have a
row of their own, "two minima": a refit without them has no one answer.

Flips: the number of examples found by `smallest_flip`, and by adding up influences at the full fit without refits
(AMIP), with the sign or significance of the coefficient in a refit without them.

    MEMORYMAPS_DATA=… python benchmarks/answers/groups.py [--seeds 3] [--only TEXT] [--n 2000]
        [--kinds KIND …] [--groups]
"""

from __future__ import annotations

import argparse
import copy
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
import torch
from data import bikes, fashion, spambase
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.analysis.answers.flips import CoefficientTest
from memorymaps.analysis.answers.local_objective import LocalObjective
from memorymaps.posteriors.capabilities import capabilities_of

_TWO_MINIMA = 0.1  # nats

DATA = Path(os.environ.get("MEMORYMAPS_DATA", ""))
MODELS = {
    "digits, softmax C = 0.1": LogisticRegression(C=0.1, tol=1e-8, max_iter=5000),
    "digits, softmax C = 10": LogisticRegression(C=10.0, tol=1e-8, max_iter=5000),
    "digits, MLP of 8 tanh units": MLPClassifier(
        (8,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=5000, tol=1e-9, random_state=0
    ),
    "digits 0 to 4 or 5 to 9, SVC": SVC(C=1.0, tol=1e-6),
    "diabetes, ridge": Ridge(alpha=0.01),
    "spambase, logistic C = 1": LogisticRegression(tol=1e-8, max_iter=10_000),
    "Fashion-MNIST, softmax C = 1": LogisticRegression(tol=1e-8, max_iter=10_000),
    "bicycles, ridge": Ridge(alpha=1.0),
    "spambase, SVC": SVC(C=1.0, gamma=0.02, tol=1e-6),
    "Fashion-MNIST, MLP of 8 tanh units": MLPClassifier(
        (8,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=10_000, tol=1e-9, random_state=0
    ),
}
LARGE = {"spambase": spambase, "Fashion-MNIST": fashion, "bicycles": bikes}


def data_of(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a case: digits of 4 × 4 pixels; of the larger data `n` examples drawn by the seed."""
    kind = name.split(",")[0]
    if kind in LARGE:
        X, y = LARGE[kind]()
        rows = np.random.default_rng(seed).permutation(len(y))[:n]
        return X[rows], y[rows]
    if name.startswith("diabetes"):
        return load_diabetes(return_X_y=True)
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(X), -1) / 16
    return X, (y >= 5).astype(int) if "5 to 9" in name else y


def groups_of(X: np.ndarray, y: np.ndarray, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Kinds of groups, each with its members by name."""
    rng = np.random.default_rng(seed)
    label = KMeans(10, n_init=1, random_state=seed).fit_predict(X)
    tenth = rng.permutation(np.arange(len(y)) % 10)
    found = {"cluster": {str(k): np.flatnonzero(label == k) for k in range(10)}}
    found["random tenth"] = {str(k): np.flatnonzero(tenth == k) for k in range(3)}
    if len(np.unique(y)) <= 10:
        halves = {str(k): rng.permutation(np.flatnonzero(y == k)) for k in np.unique(y)}
        found["half a class"] = {name: rows[: len(rows) // 2] for name, rows in halves.items()}
        found["half a class, a cluster"] = {name: larger_half(X, np.sort(rows), seed) for name, rows in halves.items()}
    return found


def larger_half(X: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """The larger of two clusters (k-means) of a class."""
    label = KMeans(2, n_init=1, random_state=seed).fit_predict(X[rows])
    return rows[label == np.bincount(label).argmax()]


def fresh(fitted: object) -> object:
    """An estimator to fit again: a network from the fitted weights, as another start ends in another minimum."""
    if isinstance(fitted, MLPClassifier):
        return copy.deepcopy(fitted).set_params(warm_start=True)
    return clone(fitted)


def summed_loss(net: MLPClassifier, X: np.ndarray, y: np.ndarray) -> float:
    """What the network's training minimises, times the number of examples: nats."""
    p = net.predict_proba(X)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(p, 1e-300)).sum() + net.alpha / 2 * sum((w**2).sum() for w in net.coefs_))


def fitted_by_torch(fitted: MLPClassifier, X: np.ndarray, y: np.ndarray) -> MLPClassifier:
    """The network of one hidden layer at the minimum that torch's L-BFGS reaches from the fitted weights."""
    x, labels = torch.as_tensor(X), torch.as_tensor(y)
    values = [torch.as_tensor(v).clone().requires_grad_() for v in (*fitted.coefs_, *fitted.intercepts_)]
    optimizer = torch.optim.LBFGS(
        values, max_iter=5000, max_eval=20_000, history_size=50, tolerance_grad=1e-4, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = torch.tanh(x @ values[0] + values[2]) @ values[1] + values[3]
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        loss = loss + fitted.alpha / 2 * sum((w**2).sum() for w in values[:2])
        loss.backward()
        return loss

    optimizer.step(closure)
    found = copy.deepcopy(fitted)
    found.coefs_ = [v.detach().numpy() for v in values[:2]]
    found.intercepts_ = [v.detach().numpy() for v in values[2:]]
    return found


def refitted(fitted: object, X: np.ndarray, y: np.ndarray) -> tuple[object, float]:
    """The model without a group, and by how much the losses of two refits of a network differ."""
    model = fresh(fitted).fit(X, y)
    if not isinstance(model, MLPClassifier):
        return model, 0.0
    models = [model, fitted_by_torch(fitted, X, y)]
    losses = [summed_loss(each, X, y) for each in models]
    return models[int(np.argmin(losses))], abs(losses[1] - losses[0])


def means_of(model: object, X: np.ndarray) -> np.ndarray:
    """Predicted means `[n, c]` as in the map."""
    if isinstance(model, SVC):
        return model.decision_function(X)[:, None]
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)[:, None]


def loss_of(model: object, mean: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Losses `[n]`: nats for classes, half squared errors, hinge losses."""
    if isinstance(model, SVC):
        return np.maximum(0, 1 - np.where(y == 1, 1, -1) * mean[:, 0])
    if mean.shape[1] == 1:
        return 0.5 * (mean[:, 0] - y) ** 2
    return -np.log(np.maximum(mean[np.arange(len(y)), y], 1e-300))


def agreement(name: str, n: int, seed: int, kinds: list[str]) -> Iterator[dict[str, object]]:
    """A row for each group: changes estimated and refitted."""
    model, (X, y) = MODELS[name], data_of(name, n, seed)
    fitted = clone(model).fit(X, y)
    m, before = mm.memory_map(fitted, X, y), means_of(fitted, X)
    unit = m.provenance.description.dispersion or 1.0
    for kind, groups in groups_of(X, y, seed).items():
        if kinds and kind not in kinds:
            continue
        found = m.leave_out(groups)
        for k, rows in enumerate(groups.values()):
            rest = np.setdiff1d(np.arange(len(y)), rows)
            left, gap = refitted(fitted, X[rest], y[rest])
            after = means_of(left, X)
            change = np.abs(after - before)[:, int(after.shape[1] == 2) :].sum(axis=1)
            loss = (loss_of(model, after, y) - loss_of(model, before, y))[rows].mean() / unit
            yield {
                "case": name, "groups": kind + ", two minima" * (gap > _TWO_MINIMA),
                "members": (found["sensitivity"][k], change[rows].sum()),
                "others": (found["rest_sensitivity"][k], change[rest].sum()),
                "loss": (found["leave_out_loss"][k] - found["loss"][k], loss), "warning": found["warning"][k],
                "group": f"{seed} {list(groups)[k]}", "gap": gap,
            }  # fmt: skip


def compared(pairs: list[tuple[float, float]]) -> str:
    """Slope of the estimates on the truth, and relative error."""
    estimate, truth = np.asarray(pairs, dtype=float).T
    slope, error = estimate @ truth / (truth @ truth), np.linalg.norm(estimate - truth) / np.linalg.norm(truth)
    return f"{slope:.2f}, {error:.3f}"


def fits() -> Iterator[tuple[str, object, str]]:
    """Models on real data, with a coefficient each."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    yield from (("diabetes, OLS", sm.OLS(y, sm.add_constant(X)).fit(), name) for name in ("bmi", "sex", "s1", "s6"))
    firms = sm.datasets.grunfeld.load_pandas().data
    ols = sm.OLS(firms["invest"], sm.add_constant(firms[["value", "capital"]])).fit()
    yield from (("Grunfeld, OLS", ols, name) for name in ("value", "capital"))
    affairs = sm.datasets.fair.load_pandas().data
    X = sm.add_constant(affairs.drop(columns="affairs"))
    logit = sm.Logit((affairs["affairs"] > 0).astype(float), X).fit(disp=0)
    yield from (("Fair's affairs, logit", logit, name) for name in ("children", "educ", "occupation_husb"))
    star = sm.datasets.star98.load_pandas()
    poisson = sm.GLM(star.endog["NABOVE"], sm.add_constant(star.exog.iloc[:, :6]), family=sm.families.Poisson()).fit()
    yield from (("star98, Poisson", poisson, name) for name in ("PERASIAN", "PERBLACK"))
    if not DATA.name:
        return
    bikes = pd.read_parquet(DATA / "tabular" / "bike_sharing_hour.parquet")
    hours = pd.get_dummies(bikes["hr"], prefix="hr", drop_first=True).astype(float)
    X = sm.add_constant(pd.concat([hours, bikes[["temp", "hum", "windspeed", "holiday", "yr"]].astype(float)], axis=1))
    ols = sm.OLS(bikes["cnt"].astype(float), X).fit()
    yield from (("bike sharing, OLS", ols, name) for name in ("windspeed", "holiday", "temp"))
    mail = pd.read_parquet(DATA / "tabular" / "spambase.parquet")
    X = np.log1p(mail.drop(columns=["spam", "esl_test"]).iloc[:, :12].astype(float))
    logit = sm.Logit(mail["spam"].astype(float), sm.add_constant(X)).fit(disp=0)
    yield from (("spambase, logit", logit, name) for name in X.columns[:3])


def at_once(m: mm.MemoryMap, name: str, change: str) -> str:
    """How many examples the influences at the full fit say, and whether a refit without them has the change."""
    place = list(m.provenance.description.parameters).index(name)
    objective, able = LocalObjective.of(m), capabilities_of(m.origin.posterior)
    test = CoefficientTest.of(m.origin, able, objective, place, change, 0.05)
    full, rows = objective.full_fit, np.arange(len(m))
    effect = test.with_held_error(full, rows)
    order = np.argsort(effect)
    total = np.cumsum(np.minimum(effect[order], 0))
    number = int(np.searchsorted(-total, test.distance(full))) + 1
    if number > len(m):
        return "no number is predicted to suffice"
    kept = np.ones(len(m), dtype=bool)
    kept[order[:number]] = False
    fit = objective.minimum(kept, full.u)
    return f"{number}{'' if fit is not None and test.has_changed(fit) else ', does not flip'}"


def flips() -> Iterator[dict[str, object]]:
    """A row for each coefficient and change."""
    for case, results, name in fits():
        m = mm.memory_map(results)
        for change in ("sign", "significance"):
            found = mm.smallest_flip(m, name, change)
            yield {
                "case": f"{case}: {name}", "changes": change, "before": str(found.before), "n": found.examples,
                "found": len(found), "share": f"{found.share:.2%}", "confirmed": found.confirmed,
                "after": str(found.refitted), "predicted": f"{found.predicted:.4g}",
                "at once": at_once(m, name, change),
            }  # fmt: skip


def write(rows: Iterator[dict[str, object]]) -> None:
    """Print a table, a row as soon as it is there."""
    for k, row in enumerate(rows):
        if k == 0:
            print(f"| {' | '.join(row)} |\n{'|---' * len(row)}|")
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--kinds", nargs="*", default=[], help="of groups; default: all")
    parser.add_argument("--groups", action="store_true", help="print a row for each group, too")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.only in "flips":
        write(flips())
        print()

    def summaries() -> Iterator[dict[str, object]]:
        for name in MODELS:
            if args.only not in name:
                continue
            table = pd.DataFrame(
                [row for seed in range(args.seeds) for row in agreement(name, args.n, seed, args.kinds)]
            )
            if args.groups:
                print(table.to_string(), flush=True)
            for kind, part in table.groupby("groups", sort=False):
                columns = {column: compared(part[column].tolist()) for column in ("members", "others", "loss")}
                yield {"case": name, "groups": kind, "number": len(part), **columns}

    write(summaries())


if __name__ == "__main__":
    main()
