"""Cox regression and ordered logit against refitting without *every* subject, on real data.

Cox: `lung_ncctg` (age, sex, ph.ecog), `veteran` (trt, karno, diagtime, age, prior), and simulated subjects without
ties. Truth: statsmodels' own fit without the subject, expected events by Breslow's hazard. Coefficient moves in units
of their spread over subjects. A map refits its largest sizes unasked; `one step` is what they were before. Ordered
logit: Duncan's prestige in four grades, and the first 400 diamonds by cut.

    MEMORYMAPS_DATA=… python benchmarks/fidelity/survival.py
"""

from __future__ import annotations

import os
import pathlib
import warnings

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps.core.perturbation.estimators import perturb

DATA = pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / "tabular"
Trial = tuple[np.ndarray, np.ndarray, np.ndarray]  # times, covariates, events
COX = {"lung_ncctg": ["age", "sex", "ph.ecog"], "veteran": ["trt", "karno", "diagtime", "age", "prior"]}


def line(name: str, score: str, estimate: np.ndarray, truth: np.ndarray) -> None:
    a, b = np.ravel(estimate), np.ravel(truth)
    rank = spearmanr(np.abs(a), np.abs(b)).statistic
    print(
        f"| {name} | {score} | {np.linalg.norm(a - b) / np.linalg.norm(b):.3f} | {a @ b / (b @ b):.3f} | {rank:.3f} |"
    )


def patients(name: str) -> Trial:
    """Times, covariates and events of a trial."""
    frame = pd.read_csv(DATA / f"{name}.csv").dropna(subset=COX[name])
    x, time = frame[COX[name]].to_numpy(float), frame["time"].to_numpy(float)
    return time, x - x.mean(0), (frame["status"] == frame["status"].max()).to_numpy().astype(int)


def simulated(n: int) -> Trial:
    """Exponential times of four covariates, a third censored."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return rng.exponential(size=n) * np.exp(-x[:, 0]), x, (rng.random(n) < 0.7).astype(int)


def expected_events(beta: np.ndarray, trial: Trial, time: float, x: np.ndarray) -> float:
    """`H₀(t) exp(xᵀβ)` with Breslow's baseline hazard (that of statsmodels is of the times before)."""
    times, others, events = trial
    risk = np.exp(others @ beta)
    jumps = [1 / risk[times >= event].sum() for event in times[(events == 1) & (times <= time)]]
    return float(np.sum(jumps) * np.exp(x @ beta))


def one_step(m: mm.MemoryMap) -> np.ndarray:
    """Sensitivities by the map's Newton step, before any refit."""
    at = m.origin.batch_statistics(m.origin.examples.take(m["row"]))
    return perturb(at, m.provenance.estimator).sensitivity


def cox(name: str, time: np.ndarray, x: np.ndarray, status: np.ndarray) -> None:
    whole = PHReg(time, x, status).fit()
    m = mm.memory_map(whole)
    truth, events = [], []
    for i in range(len(time)):
        rest = (np.delete(time, i), np.delete(x, i, axis=0), np.delete(status, i))
        again = PHReg(*rest).fit(start_params=whole.params)
        truth.append(again.params - whole.params)
        events.append(abs(expected_events(again.params, rest, time[i], x[i]) - m["mean"][i]))
    moves = np.asarray(truth)
    classical = -whole.score_residuals @ whole.cov_params()
    known = np.isfinite(classical).all(axis=1)
    scale = moves.std(axis=0)
    title = f"{name}, {len(time)} subjects, {status.sum()} events"
    line(title, "coefficient_shift", m["coefficient_shift"] / scale, moves / scale)
    line(title, "score residual × covariance", classical[known] / scale, moves[known] / scale)
    line(title, f"sensitivity, {np.count_nonzero(m['refitted'])} refitted", m["sensitivity"], np.asarray(events))
    line(title, "sensitivity, one step", one_step(m), np.asarray(events))


def fitted(y: np.ndarray, x: np.ndarray, start=None):
    return OrderedModel(y, x, distr="logit").fit(start, method="bfgs", maxiter=2000, gtol=1e-7, disp=False)


def ordered(title: str, y: np.ndarray, x: np.ndarray, rows: np.ndarray | None = None) -> None:
    x = (x - x.mean(0)) / x.std(0)
    whole = fitted(y, x)
    m = mm.memory_map(whole)
    rows = np.arange(len(y)) if rows is None else np.unique(np.r_[m.top(40)["row"], rows])
    truth = []
    for i in rows:
        again = fitted(np.delete(y, i), np.delete(x, i, axis=0), np.asarray(whole.params))
        truth.append(again.model.predict(again.params, x[[i]])[0] - m["mean"][i])
    line(title, "change of probabilities", (m["loo_mean"] - m["mean"])[rows], np.asarray(truth))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("| data | score | relative error | slope | Spearman ρ of sizes |\n|---|---|---|---|---|")
    for trial in COX:
        cox(trial, *patients(trial))
    for n in (60, 300):
        cox("simulated", *simulated(n))
    duncan = pd.read_csv(DATA / "duncan.csv")
    grade = pd.qcut(duncan["prestige"], 4, labels=False).to_numpy()
    ordered("duncan, prestige in 4 grades, 45", grade, duncan[["income", "education"]].to_numpy(float))
    diamonds = pd.read_parquet(DATA / "diamonds.parquet")[:400]
    cut = diamonds["cut"].map({"Fair": 0, "Good": 1, "Very Good": 2, "Premium": 3, "Ideal": 4}).to_numpy(int)
    x = diamonds[["carat", "depth", "table", "price"]].to_numpy(float)
    ordered("diamonds, cut in 5 grades, 400 (80 left out)", cut, x, np.arange(0, 400, 10))
