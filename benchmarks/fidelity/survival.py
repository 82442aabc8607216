"""Cox regression and ordered logit against refitting without *every* subject, on real data.

Cox: `lung_ncctg` (age, sex, ph.ecog), `veteran` (trt, karno, diagtime, age, prior). Truth: statsmodels' own fit
without the subject. Coefficient moves in units of their spread over subjects. Ordered logit: Duncan's prestige in four
grades, and the first 400 diamonds by cut.

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

DATA = pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / "tabular"
COX = {"lung_ncctg": ["age", "sex", "ph.ecog"], "veteran": ["trt", "karno", "diagtime", "age", "prior"]}


def line(name: str, score: str, estimate: np.ndarray, truth: np.ndarray) -> None:
    a, b = np.ravel(estimate), np.ravel(truth)
    rank = spearmanr(np.abs(a), np.abs(b)).statistic
    print(
        f"| {name} | {score} | {np.linalg.norm(a - b) / np.linalg.norm(b):.3f} | {a @ b / (b @ b):.3f} | {rank:.3f} |"
    )


def cox(name: str) -> None:
    frame = pd.read_csv(DATA / f"{name}.csv").dropna(subset=COX[name])
    x, time = frame[COX[name]].to_numpy(float), frame["time"].to_numpy(float)
    status = (frame["status"] == frame["status"].max()).to_numpy().astype(int)
    x = x - x.mean(0)
    whole = PHReg(time, x, status).fit()
    m = mm.memory_map(whole)
    truth = []
    for i in range(len(time)):
        rest = [np.delete(v, i, axis=0) for v in (time, x, status)]
        truth.append(PHReg(*rest).fit(start_params=whole.params).params - whole.params)
    moves = np.asarray(truth)
    one_step = -whole.score_residuals @ whole.cov_params()
    known = np.isfinite(one_step).all(axis=1)
    scale = moves.std(axis=0)
    title = f"{name}, {len(time)} subjects, {status.sum()} events"
    line(title, "coefficient_shift", m["coefficient_shift"] / scale, moves / scale)
    line(title, "score residual × covariance", one_step[known] / scale, moves[known] / scale)


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
    for data in COX:
        cox(data)
    duncan = pd.read_csv(DATA / "duncan.csv")
    grade = pd.qcut(duncan["prestige"], 4, labels=False).to_numpy()
    ordered("duncan, prestige in 4 grades, 45", grade, duncan[["income", "education"]].to_numpy(float))
    diamonds = pd.read_parquet(DATA / "diamonds.parquet")[:400]
    cut = diamonds["cut"].map({"Fair": 0, "Good": 1, "Very Good": 2, "Premium": 3, "Ideal": 4}).to_numpy(int)
    x = diamonds[["carat", "depth", "table", "price"]].to_numpy(float)
    ordered("diamonds, cut in 5 grades, 400 (80 left out)", cut, x, np.arange(0, 400, 10))
