"""What the gate costs: CPU time of its checks as a share of a map's, unasked refits apart.

Each check is wrapped by a clock (nested ones counted once). Maps of all cases are drawn in turn, `--repeats` times; the
share is the smallest time of the checks over the smallest time of the map without them, so that other work on the
machine matters little.

    python benchmarks/cost/gate.py [--only TEXT] [--repeats 15]
"""

from __future__ import annotations

import argparse
import functools
import importlib
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import statsmodels.api as sm
import torch
from sklearn import datasets
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

import memorymaps as mm

CHECKS = {  # module, names of its checks
    "memorymaps.posteriors.gate": (
        "Gate.check_posterior", "Gate.check_batch", "Gate.check_outputs", "Gate.check_curvature",
    ),
    "memorymaps.data.repeated": ("ContentHash.update", "ContentHash.hexdigest", "RepeatedExamples._compare_head"),
    "memorymaps.build.draw": ("ModelState.of", "check_unique"),
    "memorymaps.models.linear.glm.fit": ("check_stationary", "check_coefficients", "check_curved"),
    "memorymaps.models.trees.sklearn_forests": ("check_reproduced", "_check_rows", "own_outputs"),
    "memorymaps.models.kernels.sklearn_svm": ("check_rows", "check_labels", "check_bounds", "check_related"),
    "memorymaps.models.kernels.sklearn_gpr": ("check_regression_fit",),
    "memorymaps.nets.problem": (
        "check_network", "check_parameters", "check_gradient_sums", "looped_where_wrong", "example_count_notes",
    ),
    "memorymaps.nets.laplace.fitting": ("check_probabilities", "check_curvature"),
}  # fmt: skip


class Clock:
    """CPU seconds inside the functions that it wraps, in all and by name; nested calls are counted once."""

    def __init__(self) -> None:
        self.by_name: dict[str, float] = {}
        self.inside = False

    def wrap(self, name: str, function: Callable) -> Callable:
        """The function, its time added up under `name`."""

        @functools.wraps(function)
        def timed(*args, **kwargs):
            if self.inside:
                return function(*args, **kwargs)
            self.inside, start = True, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.inside = False
                self.by_name[name] = self.by_name.get(name, 0.0) + time.process_time() - start

        return timed

    def install(self) -> None:
        """Wrap all checks."""
        for module_name, names in CHECKS.items():
            for name in names:
                owner = importlib.import_module(module_name)
                *path, last = name.split(".")
                for part in path:
                    owner = getattr(owner, part)
                raw = vars(owner)[last]
                if isinstance(raw, classmethod):
                    setattr(owner, last, classmethod(self.wrap(name, raw.__func__)))
                else:
                    setattr(owner, last, self.wrap(name, raw))


# --- the maps --------------------------------------------------------------------------------------------------------


def _network(net: nn.Module, x: np.ndarray, y: np.ndarray, structure: str) -> Callable:
    torch.manual_seed(0)
    inputs, target = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), target).backward()
        optimizer.step()
    recipe = mm.Laplace(structure, prior=1.0)
    return lambda: mm.memory_map(
        net, inputs, target, likelihood="categorical", posterior=recipe, estimator="cavity", progress=False
    )


def _estimator(model, x: np.ndarray, y: np.ndarray, estimator: str | None = "cavity") -> Callable:
    model.fit(x, y)
    return lambda: mm.memory_map(model, x, y, estimator=estimator, progress=False)


def maps() -> Iterator[tuple[str, Callable]]:
    """Names and functions that draw a map, without unasked refits."""
    x, y = datasets.load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    long = rng.normal(size=(100_000, 20))
    wide = rng.normal(size=(4000, 300))
    yield "least squares 442 × 10", _estimator(LinearRegression(), x, y)
    yield "ridge 100,000 × 20", _estimator(Ridge(), long, long[:, 0] + rng.normal(size=len(long)))
    yield "ridge 4,000 × 300", _estimator(Ridge(), wide, wide[:, 0] + rng.normal(size=len(wide)))
    yield "GP regression 442 × 10", _estimator(GaussianProcessRegressor(RBF() + WhiteKernel(), optimizer=None), x, y)
    yield "forest 442 × 10", _estimator(RandomForestRegressor(50, random_state=0, n_jobs=1), x, y)
    results = sm.OLS(y, sm.add_constant(x)).fit()
    yield "statsmodels OLS 442 × 10", lambda: mm.memory_map(results, estimator="cavity", progress=False)
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    yield "logistic 569 × 30", _estimator(LogisticRegression(tol=1e-8), x, y)
    yield "pipeline 569 × 30", _estimator(make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8)), x, y)
    yield "SVC 569 × 30", _estimator(SVC(), x, y)
    x, y = datasets.load_digits(return_X_y=True)
    yield "softmax digits 1,797 × 64", _estimator(LogisticRegression(tol=1e-6, max_iter=1000), x / 16, y)
    for structure in ("full", "kfac", "diag"):
        net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
        yield f"MLP 64-16-10 digits {structure}", _network(net, x / 16, y, structure)
    cnn = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    yield "CNN digits kfac", _network(cnn, x / 16, y, "kfac")
    small = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = datasets.load_iris(return_X_y=True)
    yield "MLP 4-8-3 iris full", _network(small, x, y, "full")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = [(name, draw) for name, draw in maps() if options.only in name]
    clock, rest, checks = Clock(), {}, {}
    clock.install()
    for _ in range(options.repeats):
        for name, draw in cases:
            clock.by_name, start = {}, time.process_time()
            draw()
            spent, found = time.process_time() - start, clock.by_name
            rest[name] = min(rest.get(name, np.inf), spent - sum(found.values()))
            known = checks.setdefault(name, found)
            checks[name] = {key: min(known.get(key, np.inf), value) for key, value in found.items()}
    print("| map | without checks, ms | checks, ms | share | most |\n|---|---|---|---|---|")
    for name, _ in cases:
        parts = sorted(checks[name].items(), key=lambda pair: -pair[1])
        total = sum(checks[name].values())
        words = ", ".join(f"{key} {value * 1e3:.2f}" for key, value in parts[:3])
        share = total / (rest[name] + total)
        print(f"| {name} | {rest[name] * 1e3:.1f} | {total * 1e3:.2f} | {share:.0%} | {words} |")


if __name__ == "__main__":
    main()
