"""Tree ensembles: leverage's cost, its agreement with fixed-structure deletion and with full retraining.

MEMORYMAPS_DATA=… python benchmarks/models/trees.py speed          # 50,000 rows × 500 trees, ratio to training time
MEMORYMAPS_DATA=… python benchmarks/models/trees.py libraries      # the same model by LightGBM, XGBoost, scikit-learn
MEMORYMAPS_DATA=… python benchmarks/models/trees.py retraining     # 100 examples really left out
MEMORYMAPS_DATA=… python benchmarks/models/trees.py probes         # replays on noise against random signs (Hutchinson)
"""

from __future__ import annotations

import os
import pathlib
import sys
import time

import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from memorymaps import memory_map
from memorymaps.models.trees.boosting import FixedStructureBoosting, leaf_indicators, refit_leaf_values
from memorymaps.models.trees.boosting_posterior import BoostedTrees
from memorymaps.models.trees.boosting_variance import leaf_space_variance, sampled_variance

TARGETS = {"california_housing": "median_house_value", "bike_sharing_hour": "cnt", "diamonds": "price"}
LEAKS = ("casual", "registered", "instant", "dteday")


def table(name: str, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features as numbers, and the target: 100,000 dollars, or the logarithm of counts and prices."""
    folder = pathlib.Path(os.environ["MEMORYMAPS_DATA"]) / "tabular"
    frame = pd.read_parquet(folder / f"{name}.parquet")
    frame = frame if rows is None else frame.sample(rows, random_state=0)
    target = TARGETS[name]
    y = frame[target].to_numpy(float)
    x = frame.drop(columns=[target, *(column for column in LEAKS if column in frame)])
    coded = x.apply(lambda c: c if c.dtype.kind in "fiu" else c.astype("category").cat.codes)
    return coded.to_numpy(float), y / 1e5 if name == "california_housing" else np.log(y)


def models(trees: int, rate: float = 0.05) -> dict[str, object]:
    return {
        "LightGBM": lgb.LGBMRegressor(n_estimators=trees, learning_rate=rate, n_jobs=1, verbose=-1),
        "XGBoost": xgb.XGBRegressor(
            n_estimators=trees, learning_rate=rate, n_jobs=1, max_leaves=31, grow_policy="lossguide", max_depth=0
        ),
        "scikit-learn Hist": HistGradientBoostingRegressor(
            max_iter=trees, learning_rate=rate, early_stopping=False, random_state=0
        ),
        "scikit-learn forest": RandomForestRegressor(trees, min_samples_leaf=3, n_jobs=1, random_state=0),
    }


def clocked(work):
    wall, cpu = time.perf_counter(), time.process_time()
    return work(), time.perf_counter() - wall, time.process_time() - cpu


def speed() -> None:
    """CPU seconds of one thread; ratios hang on how fast the library trains."""
    x, y = table("diamonds", 50_000)
    print("| model, 50,000 rows × 500 trees | training, CPU s | map, CPU s | ratio | leverage |\n|---|---|---|---|---|")
    classes = {"LightGBM, log loss": lgb.LGBMClassifier(n_estimators=500, learning_rate=0.05, n_jobs=1, verbose=-1)}
    for name in sys.argv[2:] or [*models(1), *classes]:
        model = (models(500) | classes)[name]
        target = y > np.median(y) if name in classes else y
        _, _, training = clocked(lambda model=model, target=target: model.fit(x, target))
        m, _, mapping = clocked(lambda model=model, target=target: memory_map(model, x, target, progress=False))
        how = m.provenance.description.coverage[-1]
        print(f"| {name} | {training:.1f} | {mapping:.1f} | {mapping / training:.1f} | {how} |", flush=True)


def libraries() -> None:
    """Features in 100 levels, so that all libraries see the same bins, and the same stopping rule: the same trees."""
    x, y = table("california_housing", 5_000)
    x = np.column_stack([np.searchsorted(np.quantile(c, np.linspace(0, 1, 100)), c) for c in x.T]).astype(float)
    light, extreme, hist = list(models(100, 0.1).values())[:3]
    light.set_params(min_data_in_bin=1)
    extreme.set_params(min_child_weight=20, reg_lambda=0)
    chosen = {"LightGBM": light, "XGBoost": extreme, "scikit-learn Hist": hist}
    found = {name: memory_map(model.fit(x, y), x, y) for name, model in chosen.items()}
    first = found["LightGBM"]
    print("| library | Σh | f: median and largest relative difference from LightGBM | h: the same |\n|---|---|---|---|")
    for name, m in found.items():
        gaps = [np.abs(m[column] / first[column] - 1) for column in ("prediction", "leverage")]
        words = [f"{np.median(gap):.1g}, {np.max(gap):.1g}" for gap in gaps]
        print(f"| {name} | {m['leverage'].sum():.2f} | {words[0]} | {words[1]} |")


def scores(estimate: np.ndarray, truth: np.ndarray) -> str:
    slope = estimate @ truth / (truth @ truth)
    error = np.linalg.norm(estimate - truth) / np.linalg.norm(truth)
    rank = spearmanr(np.abs(estimate), np.abs(truth)).statistic
    return f"{slope:.2f} | {error:.2f} | {rank:.2f}"


def retraining(rows: int = 3_000, k: int = 100) -> None:
    """Signed changes of the left-out example's own output: half the most sensitive, half at random."""
    print("| data | model | truth | slope | relative error | rank correlation |\n|---|---|---|---|---|---|")
    for data in TARGETS:
        x, y = table(data, rows)
        for name in sys.argv[2:] or list(models(1)):
            compare(data, name, models(50 if "forest" in name else 100, 0.1)[name].fit(x, y), x, y, k)


def compare(data: str, name: str, model, x: np.ndarray, y: np.ndarray, k: int) -> None:
    m = memory_map(model, x, y)
    ranked = m.top(len(m))["row"]
    chosen = np.r_[ranked[: k // 2], np.random.default_rng(0).permutation(ranked[k // 2 :])[: k - k // 2]]
    estimate = m["deviation"].ravel()[chosen]
    fixed = np.array([removed(m, row) for row in chosen])
    full = np.array([left_out(model, x, y, row) for row in chosen])
    print(f"| {data} | {name} | same leaves | {scores(estimate, fixed)} |")
    print(f"| | | retrained | {scores(estimate, full)} |")
    print(f"| | | retrained, estimate = replay | {scores(fixed, full)} |", flush=True)


def removed(m, row: int) -> float:
    """The replay on the same leaves."""
    source = m.origin.posterior
    moves, _ = source.parameter_change([np.array([row])])
    return float(source.output_change(m.origin.examples.take([row]).inputs, moves)[0, 0, 0])


def left_out(model, x: np.ndarray, y: np.ndarray, row: int) -> float:
    again = clone(model).fit(np.delete(x, row, axis=0), np.delete(y, row))
    return float(again.predict(x[[row]])[0] - model.predict(x[[row]])[0])


def probes() -> None:
    """Relative error of single leverages, in the root mean square over examples."""
    x, y = table("california_housing", 5_000)
    m = memory_map(models(100, 0.1)["LightGBM"].fit(x, y), x, y, posterior=BoostedTrees())
    model = m.origin.posterior.leaf_model.model
    run = refit_leaf_values(model)
    exact = leaf_space_variance(model, run)[:, 0, 0]
    print("| probes | replays on noise | predicted √(2/probes) | random signs on targets |\n|---|---|---|---|")
    for count in (16, 64, 256):
        noise = sampled_variance(model, run, count, seed=0)[:, 0, 0]
        signs = hutchinson(model, run.steps.diagonal(), count)
        errors = [np.sqrt(np.mean((found / exact - 1) ** 2)) for found in (noise, signs)]
        print(f"| {count} | {errors[0]:.2f} | {np.sqrt(2 / count):.2f} | {errors[1]:.2f} |")


def hutchinson(model: FixedStructureBoosting, steps: np.ndarray, count: int) -> np.ndarray:
    """`mean z ∘ Hz` for squared error and unit weights."""
    z = np.random.default_rng(0).choice([-1.0, 1.0], (model.shape[0], count))
    moved = np.full_like(z, steps[0]) * z.sum(axis=0)
    for t in range(model.shape[1]):
        leaf, first = model.leaves[:, t, 0], model.first_leaf[t, 0]
        width = int(leaf.max()) + 1
        move = steps[first : first + width, None] * (leaf_indicators(leaf, width).T @ (z - moved))
        moved += move[leaf]
    return np.mean(z * moved, axis=1)


if __name__ == "__main__":
    {"speed": speed, "libraries": libraries, "retraining": retraining, "probes": probes}[sys.argv[1]]()
