"""Planted wrong labels: `label_issues` beside 5-fold probabilities, training loss, AUM and nearest neighbours.

`cleanlab`: its default score, self-confidence, of 5-fold probabilities of the same model (`get_label_quality_scores`,
computed here without the library); for numbers the 5-fold residual. AUM: mean margin over the epochs of a network, or
the trees of LightGBM. `fit`, `ours` and `folds` are CPU seconds: of one fit, of the map with its issues, of the five
fits. `columns` has the average precision of every column that could rank. One JSON line a cell; cells that a file has
already are skipped, so that an interrupted run is continued by the same command.

    MEMORYMAPS_DATA=… python benchmarks/answers/wrong_labels.py --out cells.jsonl [--n 1000] [--seeds 0 1 2]
        [--data digits …] [--models logistic …] [--noise "5%" "15%" "5% confusable" "15% confusable"]
    python benchmarks/answers/wrong_labels.py --out cells.jsonl --table
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from noisy_data import SOURCES, nearest_class, planted, some
from noisy_models import Network, mapped, margin, model_for
from sklearn.base import clone
from sklearn.metrics import average_precision_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC

import memorymaps as mm

NOISE = {"15%": (0.15, False), "5%": (0.05, False), "15% confusable": (0.15, True), "5% confusable": (0.05, True)}
MODELS = ("logistic", "forest", "LightGBM", "SVC", "MLP", "CNN", "GP")
RUNS = ("MLP", "CNN")  # whose epochs are recorded
IMAGES = ("digits", "MNIST", "Fashion-MNIST")


def probabilities_out_of_fold(model: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """5-fold probabilities `[n, c]`, or predictions `[n]` of numbers."""
    if y.dtype.kind == "f":
        return cross_val_predict(model, X, y, cv=KFold(5, shuffle=True, random_state=0))
    model = SVC(probability=True, random_state=0) if isinstance(model, SVC) else clone(model)
    return cross_val_predict(model, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=0), method="predict_proba")


def by_probabilities(p: np.ndarray, y: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Scores from out-of-sample predictions: loss (the order of self-confidence), margin."""
    if y.dtype.kind == "f":
        return {f"{name} loss": np.abs(p - y)}
    error, log_margin = np.linalg.norm(p - np.eye(p.shape[1])[y], axis=1), -margin(np.log(np.maximum(p, 1e-12)), y)
    return {f"{name} loss": -p[np.arange(len(y)), y], f"{name} margin": log_margin, f"{name} error": error}


def area_under_margin(model: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Mean margin over training, or None where there are no epochs and no trees one after another."""
    if isinstance(model, Network):
        return np.asarray(model.margins_)
    if not type(model).__name__.startswith("LGBM"):
        return None
    numbers, total = y.dtype.kind == "f", np.zeros(len(y))
    for k in range(1, model.n_estimators + 1):
        f = model.predict(X, num_iteration=k, raw_score=True)
        f = f if numbers or f.ndim == 2 else np.stack([-f / 2, f / 2], axis=1)
        total += -np.abs(f - y) if numbers else margin(f, y)
    return total


def training_loss(model: Any, m: mm.MemoryMap, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the fitted model."""
    return np.abs(model.predict(X) - y) if y.dtype.kind == "f" else np.asarray(m["loss"])


def case(model: Any, X: np.ndarray, noisy: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Average precisions, precisions at the number of wrong labels, the count, and CPU seconds."""
    start = time.process_time()
    fitted = clone(model).fit(X, noisy)
    fit = time.process_time() - start
    start = time.process_time()
    m = mapped(fitted, X, noisy)
    found = mm.label_issues(m)
    ours = time.process_time() - start
    score = np.full(len(noisy), -np.inf)
    score[found["id"].astype(int)] = found["score"]
    start = time.process_time()
    p = probabilities_out_of_fold(model, X, noisy)
    folds = time.process_time() - start
    values = {"label_issues": score, "cleanlab": by_probabilities(p, noisy, "fold")["fold loss"]}
    values["training loss"] = training_loss(fitted, m, X, noisy)
    aum = area_under_margin(fitted, X, noisy)
    values |= {} if aum is None else {"AUM": -aum}
    values["neighbours"] = neighbours(X, noisy)
    columns = by_probabilities(p, noisy, "fold") | of_map(m, noisy)
    k = int(wrong.sum())
    return {
        "ranked by": found.ranked_by,
        "trust": str(m.trust["loo_loss"].level), "estimator": m.provenance.estimator.name,
        "precision": {name: precision(wrong, v) for name, v in values.items()},
        "at k": {name: float(wrong[np.argsort(-finite(v), kind="stable")[:k]].mean()) for name, v in values.items()},
        "columns": {name: precision(wrong, v) for name, v in columns.items()},
        "count": found.count, "wrong": k, "fit": fit, "ours": ours, "folds": folds,
    }  # fmt: skip


def of_map(m: mm.MemoryMap, y: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the map that could rank."""
    names = [name for name in ("error", "loo_loss", "loo_error") if name in m.table.column_names]
    found = {name: np.asarray(m[name], dtype=float) for name in names}
    found = {name: np.linalg.norm(v, axis=1) if v.ndim == 2 else v for name, v in found.items()}
    if y.dtype.kind != "f" and m.provenance.loss_is_density:
        from memorymaps.analysis.cleanlab import left_out_probabilities

        given, p = left_out_probabilities(m)
        found |= by_probabilities(np.nan_to_num(p), given, "left-out")
    if y.dtype.kind == "f":
        found["left-out residual"] = np.abs(m["loo_prediction"] - y)
    return found


def neighbours(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Share of the 10 nearest other examples with another label; for numbers the difference from their mean."""
    numbers = y.dtype.kind == "f"
    near = (KNeighborsRegressor if numbers else KNeighborsClassifier)(10).fit(X, y)
    rows = near.kneighbors(return_distance=False)
    return np.abs(y[rows].mean(axis=1) - y) if numbers else (y[rows] != y[:, None]).mean(axis=1)


def finite(v: np.ndarray) -> np.ndarray:
    """Undefined scores last."""
    return np.nan_to_num(v, nan=-1e300, neginf=-1e300, posinf=1e300)


def precision(wrong: np.ndarray, v: np.ndarray) -> float:
    """Average precision."""
    return float(average_precision_score(wrong, finite(v)))


def cells(args: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Any]]:
    """Keys of all cells, and what makes their data and model."""
    loaded: dict[str, Any] = {}
    for seed in args.seeds:
        for noise in args.noise:
            for data in args.data:
                for family in args.models:
                    if family == "CNN" and data not in IMAGES:
                        continue
                    if "confusable" in noise and data in ("spambase", "sms_spam"):
                        continue
                    key = {"data": data, "model": family, "noise": noise, "n": args.n, "seed": seed}
                    yield key, lambda data=data: loaded.setdefault(data, SOURCES[data]())


def main() -> None:
    """Run the cells that the file lacks, a line as soon as one is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--noise", nargs="+", default=list(NOISE), choices=list(NOISE))
    parser.add_argument("--table", action="store_true", help="print the means over seeds of the cells that are there")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.table:
        print_table(read(args.out))
        return
    done = {key_of(row) for row in read(args.out)}
    for key, make in cells(args):
        if key_of(key) in done:
            continue
        row = {**key, **one(key, make())}
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def one(key: dict[str, Any], data: Any) -> dict[str, Any]:
    """The result of a cell, or the error that refused it."""
    X, y = some(*data, key["n"], key["seed"])
    following = nearest_class(X, y) if y.dtype.kind != "f" else np.zeros(0)
    noisy, wrong = planted(y, *NOISE[key["noise"]], key["seed"], following)
    try:
        return case(model_for(key["model"], X, noisy), X, noisy, wrong)
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}", "at": traceback.format_exc(limit=-1)}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Means over seeds as Markdown; with the CPU time of map and issues over that of one fit and of the folds."""
    cells = pd.DataFrame([flat(row) for row in rows if "refused" not in row])
    keys = ["model", "data", "wrong labels"]
    cells["order"] = cells["model"].map(MODELS.index)
    groups = cells.sort_values("order", kind="stable").groupby(keys, sort=False)
    mean = groups.mean(numeric_only=True).drop(columns="order").assign(seeds=groups.size()).reset_index()
    print(f"| {' | '.join(mean)} |\n{'|---' * len(mean.columns)}|")
    for row in mean.itertuples(index=False):
        shown = [f"{v:.3f}" if isinstance(v, float) and v == v else "" if v != v else str(v) for v in row]
        print(f"| {' | '.join(shown)} |")


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """The cells of a row that the table shows."""
    found, at_k, is_run = row["precision"], row["at k"], row["model"] in RUNS and row["data"] != "bikes"
    return {
        "model": row["model"], "data": row["data"], "wrong labels": row["noise"],
        "label_issues(m)": found["label_issues"], "of a run (AUM)": found["AUM"] if is_run else np.nan,
        "cleanlab": found["cleanlab"], "training loss": found["training loss"], "neighbours": found["neighbours"],
        "at k": at_k["label_issues"], "cleanlab at k": at_k["cleanlab"],
        "CPU / fit": row["ours"] / row["fit"], "CPU / folds": row["ours"] / row["folds"],
    }  # fmt: skip


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What identifies a cell."""
    return tuple(row[name] for name in ("data", "model", "noise", "n", "seed"))


def read(path: Path) -> list[dict[str, Any]]:
    """The cells of a file; none if there is none."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
