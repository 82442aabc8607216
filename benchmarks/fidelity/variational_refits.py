"""Variational Gaussian processes of classes: maps against GPyTorch's own training without each of some examples.

Truth: L-BFGS on GPyTorch's ELBO (60 points of quadrature, double precision) from the trained `q(u)`, hyperparameters
and inducing points fixed, for the `k` examples with the largest sensitivity and `k` at random. Of each case two maps:
one step only, and with the refits that a map makes unasked.

    python benchmarks/fidelity/variational_refits.py [--mnist mnist.npz] [--k 10]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.nets import Variational

gv = gpytorch.variational


class SparseGP(gpytorch.models.ApproximateGP):
    """`variance · RBF(scale)` with inducing points `z`."""

    def __init__(self, z, variance, scale, strategy):
        super().__init__(strategy(self, z, gv.CholeskyVariationalDistribution(len(z)), learn_inducing_locations=False))
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.covar_module.outputscale, self.covar_module.base_kernel.lengthscale = variance, scale
        self.covar_module.requires_grad_(False)

    def forward(self, x):
        """The prior."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def train(model, likelihood, x, y):
    """Minimise the negative ELBO in `q(u)`, until L-BFGS ends."""
    model.train()
    parameters = list(model.variational_parameters())
    objective = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(x))
    fit = torch.optim.LBFGS(
        parameters, max_iter=4000, history_size=60, tolerance_grad=1e-9, tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        fit.zero_grad()
        loss = -objective(model(x), y) * len(x)
        loss.backward()
        return loss

    for _ in range(2):  # the second starts with no curvature estimate
        fit.step(closure)
    return model.eval()


def predicted(model, likelihood, x, y) -> tuple[float, float]:
    """Probability of the class 1 and `E_q[ℓ]` of one example."""
    with torch.no_grad():
        q = model(x)
        return float(likelihood(q).probs), float(-likelihood.expected_log_prob(y, q).sum())


@dataclass(frozen=True)
class Case:
    """A name, data, a kernel's variance and scale, and the number of inducing points."""

    name: str
    x: np.ndarray
    y: np.ndarray
    variance: float
    scale: float
    inducing: int = 30
    strategy: Any = gv.VariationalStrategy


def two_classes(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """A wave in the first of `d` inputs, with two wrong labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) * 1.5
    y = (np.sin(x[:, 0]) + 0.3 * rng.normal(size=n) > 0).astype(float)
    y[:2] = 1 - y[:2]
    return x, y


def components(x: np.ndarray, k: int = 4) -> np.ndarray:
    """The first principal components, of unit variance."""
    return StandardScaler().fit_transform(PCA(k, random_state=0).fit_transform(StandardScaler().fit_transform(x)))


def cases(mnist: Path | None) -> Iterator[Case]:
    """All of the table."""
    yield Case("wave, 1 input, 9 RBF(1)", *two_classes(80, 1), 9, 1, 20)
    for variance, scale in ((1, 1), (9, 2), (25, 1), (25, 3), (100, 1)):
        yield Case(f"wave, 2 inputs, {variance} RBF({scale})", *two_classes(60, 2), variance, scale)
    yield Case("the same, 25 RBF(1), not whitened", *two_classes(60, 2), 25, 1, 30, gv.UnwhitenedVariationalStrategy)
    x, y = datasets.load_breast_cancer(return_X_y=True)
    yield Case("breast cancer, 4 components, 9 RBF(2)", components(x), y.astype(float), 9, 2)
    yield Case("breast cancer, 4 components, 100 RBF(3)", components(x), y.astype(float), 100, 3)
    yield Case("breast cancer, 10 components, 9 RBF(2)", components(x, 10), y.astype(float), 9, 2, 60)
    x, y = datasets.load_digits(return_X_y=True)
    pair = np.isin(y, (3, 8))
    yield Case("digits 3 and 8, 4 components, 9 RBF(2)", components(x[pair]), (y[pair] == 8).astype(float), 9, 2, 40)
    if mnist is not None:
        found = np.load(mnist)
        pair = np.flatnonzero(np.isin(found["y_train"], (4, 9)))[:1500]
        x = components(found["x_train"][pair].reshape(len(pair), -1).astype(float), 6)
        yield Case("MNIST 4 and 9, 6 components, 9 RBF(2)", x, (found["y_train"][pair] == 9).astype(float), 9, 2, 60)


def score(found: np.ndarray, truth: np.ndarray) -> str:
    """Slope and relative error, as two columns."""
    size = np.linalg.norm(truth)
    return f"{found @ truth / size**2:.2f} | {np.linalg.norm(found - truth) / size:.2f}"


def draw(model: SparseGP, case: Case, **options: Any) -> mm.MemoryMap:
    """The map of a case."""
    likelihood = gpytorch.likelihoods.BernoulliLikelihood()
    return mm.memory_map(model, case.x, case.y, likelihood=likelihood, posterior=Variational(), **options)


def retrained(model: SparseGP, case: Case, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes of the predicted probability, and left-out losses, of each of some rows after training without it."""
    likelihood, x, y = gpytorch.likelihoods.BernoulliLikelihood(), torch.as_tensor(case.x), torch.as_tensor(case.y)
    change, loss = [], []
    for i in rows:
        kept = np.arange(len(x)) != i
        left = train(copy.deepcopy(model), likelihood, x[kept], y[kept])
        (before, _), (after, without) = (predicted(each, likelihood, x[[i]], y[[i]]) for each in (model, left))
        change.append(abs(after - before))
        loss.append(without)
    return np.asarray(change), np.asarray(loss)


def compare(case: Case, k: int) -> Iterator[str]:
    """Two lines of the table."""
    rng = np.random.default_rng(0)
    x, y = torch.as_tensor(case.x), torch.as_tensor(case.y)
    model = SparseGP(x[rng.permutation(len(x))[: case.inducing]], case.variance, case.scale, case.strategy)
    model(x)
    train(model, gpytorch.likelihoods.BernoulliLikelihood(), x, y)
    step, start = draw(model, case, estimator="bounded_cavity"), time.process_time()
    m = draw(model, case)
    seconds = f"{time.process_time() - start:.1f}"
    s = m["sensitivity"]
    rows = np.unique([*np.argsort(-s)[:k], *rng.choice(len(s), k, replace=False)])
    truth, losses = retrained(model, case, rows)
    for kind, found in ((f"{case.name}, one step", step), ("with refits", m)):
        many = int(np.count_nonzero(found["refitted"])) if "refitted" in found else 0
        yield (
            f"| {kind} | {score(found['sensitivity'][rows], truth)} | {score(found['loo_loss'][rows], losses)} | "
            f"{found['loo_loss'][rows].mean():.2f}, {losses.mean():.2f} | {many} of {len(s)} | "
            f"{seconds if found is m else ''} | {found.trust['sensitivity'].level} |"
        )


def main() -> None:
    """Print the table."""
    torch.set_default_dtype(torch.float64)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, help="mnist.npz with x_train and y_train")
    parser.add_argument(
        "--k", type=int, default=10, help="examples with the largest sensitivity, and as many at random"
    )
    parser.add_argument("--only", default="", help="part of a case's name")
    args = parser.parse_args()
    print("| case | slope | error | loss: slope | loss: error | left-out loss, truth | refitted | s | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    with gpytorch.settings.num_gauss_hermite_locs(60):
        for case in cases(args.mnist):
            if args.only in case.name:
                for line in compare(case, args.k):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
