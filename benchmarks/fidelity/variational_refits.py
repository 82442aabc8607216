"""Variational Gaussian processes of classes: maps against GPyTorch's own training without each of some examples.

Truth: L-BFGS on GPyTorch's ELBO (60 points of quadrature, double precision) from the trained `q(u)`, hyperparameters and
inducing points fixed, for the `k` examples with the largest sensitivity and `k` at random. Of each case two maps: one
step only, and with the refits that a map makes unasked.

    python benchmarks/fidelity/variational_refits.py [--mnist mnist.npz] [--k 10]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
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
    """`variance · RBF(scale)` with inducing points `z`, of one process or of several independent ones."""

    def __init__(self, z, variance, scale, tasks=1, strategy=gv.VariationalStrategy):
        shape = torch.Size([tasks] if tasks > 1 else [])
        q = gv.CholeskyVariationalDistribution(len(z), batch_shape=shape)
        made = strategy(self, z, q, learn_inducing_locations=False)
        super().__init__(gv.IndependentMultitaskVariationalStrategy(made, num_tasks=tasks) if tasks > 1 else made)
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


def predicted(model, likelihood, x, y) -> tuple[np.ndarray, float]:
    """Predictive mean and `E_q[ℓ]` of one example."""
    with torch.no_grad():
        q = model(x)
        p = likelihood(q).probs
        mean = p if p.ndim == 1 else p.mean(0)
        return mean.reshape(-1).numpy(), float(-likelihood.expected_log_prob(y, q).sum())


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


def compare(case: Case, k: int) -> str:
    """Two lines of the table."""
    rng = np.random.default_rng(0)
    z = torch.as_tensor(case.x[rng.permutation(len(case.x))[: case.inducing]])
    x, y = torch.as_tensor(case.x), torch.as_tensor(case.y)
    model, likelihood = (
        SparseGP(z, case.variance, case.scale, 1, case.strategy),
        gpytorch.likelihoods.BernoulliLikelihood(),
    )
    model(x)
    train(model, likelihood, x, y)
    draw: Callable[..., mm.MemoryMap] = lambda **more: mm.memory_map(
        model, case.x, case.y, likelihood=likelihood, posterior=Variational(), **more
    )
    step, start = draw(estimator="bounded_cavity"), time.process_time()
    m = draw()
    seconds = time.process_time() - start
    s = m["sensitivity"]
    rows = np.unique([*np.argsort(-s)[:k], *rng.choice(len(s), k, replace=False)])
    change, loss = [], []
    for i in rows:
        kept = np.arange(len(x)) != i
        left = train(copy.deepcopy(model), likelihood, x[kept], y[kept])
        (before, _), (after, without) = (predicted(each, likelihood, x[[i]], y[[i]]) for each in (model, left))
        change.append(np.abs(after - before).sum())
        loss.append(without)
    truth, losses = np.asarray(change), np.asarray(loss)
    lines = []
    for kind, found in (("one step", step), ("map", m)):
        many = int(np.count_nonzero(found["refitted"])) if "refitted" in found else 0
        time_of = f"{seconds:.1f}" if kind == "map" else ""
        lines.append(
            f"| {case.name if kind == 'one step' else ''} | {kind} | {score(found['sensitivity'][rows], truth)} | "
            f"{score(found['loo_loss'][rows], losses)} | {found['loo_loss'][rows].mean():.2f}, {losses.mean():.2f} | "
            f"{many} of {len(s)} | {time_of} | {found.trust['sensitivity'].level} |"
        )
    return "\n".join(lines)


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
    print("| case | map | slope | error | loss: slope | loss: error | left-out loss, truth | refitted | s | verdict |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with gpytorch.settings.num_gauss_hermite_locs(60):
        for case in cases(args.mnist):
            if args.only in case.name:
                print(compare(case, args.k), flush=True)


if __name__ == "__main__":
    main()
