"""The label errors that people confirmed in MNIST's test images: where `label_issues` ranks them.

Of 100 images that cleanlab chose by cross-validated probabilities of a network trained on MNIST, fewer than three of
five people kept the given label of 15 (Northcutt, Athalye & Mueller 2021): errors that it did not choose are unknown,
and it has these at its top by construction. Here models are trained on `n` of the 10,000 test images, the 100 among
them, at 14 × 14 pixels. One JSON line a model: how many of the 15 are among the first k, and CPU seconds.

    MEMORYMAPS_DATA=… python benchmarks/answers/real_label_errors.py --out errors.jsonl [--n 3000] [--models …]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from data import DATA
from noisy_models import mapped, model_for
from sklearn.base import clone
from wrong_labels import by_probabilities, neighbours, probabilities_out_of_fold, read

import memorymaps as mm

FIRST = (15, 30, 50, 100)


def images(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, given labels, and which are known to be wrong."""
    with np.load(DATA / "mnist.npz") as file:
        X, y = file["x_test"], file["y_test"].astype(int)
    with np.load(DATA / "mnist_test_label_errors.npz") as file:
        reviewed, wrong = file["index"], file["index"][file["votes_given"] < 3]
    others = np.setdiff1d(np.random.default_rng(0).permutation(len(y))[:n], reviewed)
    rows = np.random.default_rng(1).permutation(np.concatenate([reviewed, others[: n - len(reviewed)]]))
    X = X.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(X), -1) / 255
    return X[rows], y[rows], np.isin(rows, wrong)


def found_among_first(wrong: np.ndarray, score: np.ndarray) -> list[int]:
    """How many wrong labels have one of the k largest scores."""
    order = np.argsort(-score, kind="stable")
    return [int(wrong[order[:k]].sum()) for k in FIRST]


def result(family: str, X: np.ndarray, y: np.ndarray, wrong: np.ndarray) -> dict[str, object]:
    """Of one family."""
    start = time.process_time()
    model = model_for(family, X, y)
    fitted = clone(model).fit(X, y)
    fit = time.process_time() - start
    start = time.process_time()
    m = mapped(fitted, X, y)
    found = mm.label_issues(m)
    ours = time.process_time() - start
    start = time.process_time()
    p = probabilities_out_of_fold(model, X, y)
    folds = time.process_time() - start
    score = np.zeros(len(y))
    score[found["id"].astype(int)] = found["score"]
    scores = {"label_issues": score, "cleanlab": by_probabilities(p, y, "fold")["fold loss"]}
    scores |= {"training loss": m["loss"], "neighbours": neighbours(X, y)}
    first = {name: found_among_first(wrong, np.nan_to_num(values)) for name, values in scores.items()}
    return {
        "ranked by": found.ranked_by, "first": first,
        "count": found.count, "fit": fit, "ours": ours, "folds": folds,
    }  # fmt: skip


def main() -> None:
    """Run the models that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--models", nargs="+", default=["logistic", "MLP", "CNN", "forest", "LightGBM"])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y, wrong = images(args.n)
    done = {(row["model"], row["n"]) for row in read(args.out)}
    for family in args.models:
        if (family, args.n) not in done:
            row = {"model": family, "n": args.n, **result(family, X, y, wrong)}
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
