"""Planted wrong labels: average precision of `label_issues` beside 5-fold probabilities, training loss and neighbours.

`cleanlab`: its default score, self-confidence, of 5-fold probabilities of the same model (`get_label_quality_scores`,
computed here without the library). Costs are in fits of the model.

    MEMORYMAPS_DATA=… python benchmarks/answers/wrong_labels.py [--n 2000] [--seeds 3] [--only TEXT]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import memorymaps as mm

DATA = Path(os.environ.get("MEMORYMAPS_DATA", ""))
MODELS = {
    "logistic C = 0.1": LogisticRegression(C=0.1, tol=1e-6, max_iter=3000),
    "logistic C = 1": LogisticRegression(tol=1e-6, max_iter=3000),
    "forest": RandomForestClassifier(100, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=30, random_state=0),
    "MLP": MLPClassifier((20,), alpha=1.0, max_iter=1000, random_state=0, tol=1e-6),
    "SVC": SVC(),
}


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 8 × 8 digits."""
    X, y = load_digits(return_X_y=True)
    return X[:n] / 16, y[:n]


def spambase(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Spam or not, word frequencies on a logarithmic scale, standardised."""
    table = pd.read_parquet(DATA / "tabular" / "spambase.parquet")
    rows = np.random.default_rng(0).permutation(len(table))[:n]
    X = np.log1p(table.drop(columns=["spam", "esl_test"]).to_numpy(float))[rows]
    return (X - X.mean(axis=0)) / X.std(axis=0), table["spam"].to_numpy().astype(int)[rows]


def fashion(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST, averaged to 7 × 7 pixels."""
    with np.load(DATA / "fmnist.npz") as file:
        images = next(file[k] for k in file.files if file[k].ndim == 3)
        labels = next(file[k] for k in file.files if file[k].shape == images.shape[:1])
    return images[:n].reshape(n, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(n, -1) / 255, labels[:n].astype(int)


def planted(y: np.ndarray, share: float, confusable: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels some of which are another class (the next one, if confusable), and which."""
    rng, classes = np.random.default_rng(seed), len(np.unique(y))
    rows = rng.choice(len(y), int(share * len(y)), replace=False)
    noisy = y.copy()
    noisy[rows] = (y[rows] + (1 if confusable else rng.integers(1, classes, len(rows)))) % classes
    return noisy, np.isin(np.arange(len(y)), rows)


def out_of_fold(model: object, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """5-fold probabilities of the given labels."""
    model = SVC(probability=True, random_state=0) if isinstance(model, SVC) else clone(model)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(model, X, y, cv=folds, method="predict_proba")[np.arange(len(y)), y]


def issues(m: mm.MemoryMap) -> object:
    """`label_issues` as it comes; with five folds where it asks for them."""
    try:
        return mm.label_issues(m)
    except ValueError as error:
        if "folds=5" not in str(error):
            raise
        return mm.label_issues(m, folds=5)


def case(model: object, X: np.ndarray, noisy: np.ndarray, wrong: np.ndarray) -> dict[str, object]:
    """Average precisions, the count, and the seconds of the map with its issues and of the folds, in fits."""
    start = time.process_time()
    fitted = clone(model).fit(X, noisy)
    fit = time.process_time() - start
    m = mm.memory_map(fitted, X, noisy)
    found = issues(m)
    ours = time.process_time() - start
    score = np.full(len(noisy), -np.inf)
    score[found["id"]] = found["score"]
    start = time.process_time()
    own = out_of_fold(model, X, noisy)
    theirs = time.process_time() - start
    near = KNeighborsClassifier(10).fit(X, noisy).predict_proba(X)[np.arange(len(noisy)), noisy]
    values = {"label_issues": score, "cleanlab": -own, "training loss": m["loss"], "neighbours": -near}
    precision = {
        name: average_precision_score(wrong, np.nan_to_num(v, nan=-1e9, neginf=-1e9)) for name, v in values.items()
    }
    k = int(wrong.sum())
    return {
        "ranked by": found.ranked_by, **precision, "precision at k": wrong[np.argsort(-score)[:k]].mean(),
        "count": found.count, "wrong": k, "fits": ours / fit, "fits cleanlab": theirs / fit,
    }  # fmt: skip


def cases(n: int, seeds: int, only: str) -> Iterator[dict[str, object]]:
    """All combinations, a row each."""
    for data in (digits, spambase, fashion):
        X, y = data(n)
        for name, model in MODELS.items():
            for share, confusable in ((0.05, False), (0.15, False), (0.05, True), (0.15, True)):
                label = f"{data.__name__} {name} {share:.0%}{' confusable' if confusable else ''}"
                if only not in label or (confusable and len(np.unique(y)) == 2):
                    continue
                found = pd.DataFrame([case(model, X, *planted(y, share, confusable, s)) for s in range(seeds)])
                yield {"case": label, "ranked by": found["ranked by"][0], **found.mean(numeric_only=True)}


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for k, row in enumerate(cases(args.n, args.seeds, args.only)):
        if k == 0:
            print(f"| {' | '.join(row)} |\n{'|---' * len(row)}|")
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
