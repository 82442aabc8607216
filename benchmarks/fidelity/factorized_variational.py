"""Variational posteriors without correlations: maps against training without each of some examples.

Mean-field `q(u)` of one process, and softmax of independent or mixed (LMC) processes with a full `q(u)` for each.
Truth: L-BFGS on GPyTorch's ELBO from the trained `q(u)`, the example's term left out, everything else held, for the `k`
examples with the largest sensitivity and `k` at random. Expectations of softmax are means of the same `--samples` draws
at every step and with every example left out.

    python benchmarks/fidelity/factorized_variational.py [--k 10]
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import gpytorch
import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn import datasets
from variational_refits import components, score, two_classes

import memorymaps as mm
from memorymaps.nets import Variational

gv = gpytorch.variational
Builder = Callable[[Any, torch.Tensor], Any]


class Processes(gpytorch.models.ApproximateGP):
    """`tasks` processes with the kernel `9 RBF(2)` and `strategy` of `q(u)`."""

    def __init__(self, z: torch.Tensor, strategy: Builder, tasks: int):
        super().__init__(strategy(self, z))
        batch = torch.Size([tasks] if tasks > 1 else [])
        self.mean_module = gpytorch.means.ZeroMean(batch_shape=batch)
        kernel = gpytorch.kernels.RBFKernel(batch_shape=batch)
        self.covar_module = gpytorch.kernels.ScaleKernel(kernel, batch_shape=batch)
        self.covar_module.outputscale, kernel.lengthscale = 9.0, 2.0
        self.covar_module.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Any:
        """The prior."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def mean_field(model: Any, z: torch.Tensor) -> Any:
    return gv.VariationalStrategy(model, z, gv.MeanFieldVariationalDistribution(len(z)), False)


def correlated(model: Any, z: torch.Tensor) -> Any:
    return gv.VariationalStrategy(model, z, gv.CholeskyVariationalDistribution(len(z)), False)


def unwhitened(model: Any, z: torch.Tensor) -> Any:
    return gv.UnwhitenedVariationalStrategy(model, z, gv.MeanFieldVariationalDistribution(len(z)), False)


def full(model: Any, z: torch.Tensor, tasks: int) -> Any:
    q = gv.CholeskyVariationalDistribution(len(z), batch_shape=torch.Size([tasks]))
    return gv.VariationalStrategy(model, z, q, False)


def independent(model: Any, z: torch.Tensor) -> Any:
    return gv.IndependentMultitaskVariationalStrategy(full(model, z, 3), num_tasks=3)


def mixed(model: Any, z: torch.Tensor) -> Any:
    return gv.LMCVariationalStrategy(full(model, z, 2), num_tasks=3, num_latents=2, latent_dim=-1)


def expected(likelihood: Any, y: torch.Tensor, q: Any, samples: int) -> torch.Tensor:
    """`E_q[log p(y_i | f_i)] [n]`, by the same draws in every call."""
    torch.manual_seed(0)
    with gpytorch.settings.num_likelihood_samples(samples):
        return likelihood.expected_log_prob(y, q)


def train(model: Any, likelihood: Any, x: torch.Tensor, y: torch.Tensor, kept: torch.Tensor, samples: int) -> Any:
    """Minimise the negative ELBO of the examples `kept` in `q(u)`."""
    model.requires_grad_(False)
    parameters = [p.requires_grad_() for name, p in model.named_parameters() if "variational_distribution" in name]
    options = {"history_size": 60, "tolerance_grad": 1e-7, "tolerance_change": 1e-12}
    optimizer = torch.optim.LBFGS(parameters, max_iter=1000, line_search_fn="strong_wolfe", **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        fitted = kept @ expected(likelihood, y, model(x), samples)
        loss = model.variational_strategy.kl_divergence().sum() - fitted
        loss.backward()
        return loss

    model.train()
    for _ in range(2):
        optimizer.step(closure)
    return model.eval()


def predicted(model: Any, likelihood: Any, x: torch.Tensor, samples: int) -> np.ndarray:
    """Probabilities of the classes, `[n, c]`; of two, that of the class 1."""
    torch.manual_seed(0)
    with torch.no_grad(), gpytorch.settings.num_likelihood_samples(samples):
        probs = likelihood(model(x)).probs
    return (probs.mean(0) if probs.ndim == 3 else probs[:, None]).numpy()


def fitted(
    x: torch.Tensor, y: torch.Tensor, likelihood: Any, strategy: Builder, samples: int
) -> tuple[Any, mm.MemoryMap]:
    """The model with 25 inducing points, and its map."""
    torch.manual_seed(0)
    tasks = {independent: 3, mixed: 2}.get(strategy, 1)
    model = Processes(x[np.random.default_rng(0).permutation(len(x))[:25]], strategy, tasks)
    model(x)
    train(model, likelihood, x, y, torch.ones(len(x)), samples)
    recipe = Variational()
    return model, mm.memory_map(model, x.numpy(), y.numpy(), likelihood=likelihood, posterior=recipe, progress=False)


def leverages(name: str, x: np.ndarray, y: np.ndarray) -> str:
    """Of mean-field `q(u)`, whitened and not, against those of a full one: error and rank correlation."""
    data = torch.as_tensor(x), torch.as_tensor(y, dtype=torch.float64), gpytorch.likelihoods.BernoulliLikelihood()
    truth, *found = (fitted(*data, kind, 1)[1]["leverage"] for kind in (correlated, mean_field, unwhitened))
    return f"| {name} | " + " | ".join(f"{score(h, truth)} | {spearmanr(h, truth).statistic:.2f}" for h in found) + " |"


def compare(name: str, x: np.ndarray, y: np.ndarray, strategy: Builder, tasks: int, a: argparse.Namespace) -> str:
    """A line of the table."""
    rng, inputs = np.random.default_rng(0), torch.as_tensor(x)
    target = torch.as_tensor(y, dtype=torch.float64 if tasks == 1 else torch.long)
    softmax = gpytorch.likelihoods.SoftmaxLikelihood(num_classes=3, mixing_weights=False)
    likelihood = gpytorch.likelihoods.BernoulliLikelihood() if tasks == 1 else softmax
    model, m = fitted(inputs, target, likelihood, strategy, a.samples)
    s, before = m["sensitivity"], predicted(model, likelihood, inputs, a.samples)
    rows = np.unique([*np.argsort(-s)[: a.k], *rng.choice(len(s), a.k, replace=False)])
    truth, losses = [], []
    for row in rows:
        kept = torch.ones(len(x))
        kept[row] = 0
        left = train(copy.deepcopy(model), likelihood, inputs, target, kept, a.samples)
        truth.append(np.abs(predicted(left, likelihood, inputs, a.samples) - before)[row].sum())
        with torch.no_grad():
            losses.append(-float(expected(likelihood, target, left(inputs), a.samples)[row]))
    truth, losses = np.array(truth), np.array(losses)
    levels = ", ".join(str(m.trust[figure].level) for figure in ("sensitivity", "loo_loss"))
    sizes, both = score(s[rows], truth), score(m["loo_loss"][rows], losses)
    return f"| {name} | {sizes} | {spearmanr(s[rows], truth).statistic:.2f} | {both} | {levels} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--samples", type=int, default=400)
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    loads = datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer
    iris, wine, cancer = (load(return_X_y=True) for load in loads)
    print("| case | slope | error | ρ | loss: slope | loss: error | verdicts |")
    print("|---|---|---|---|---|---|---|")
    for case in (
        ("mean-field, wave", *two_classes(60, 2), mean_field, 1),
        ("mean-field, breast cancer", components(cancer[0]), cancer[1], mean_field, 1),
        ("softmax, iris", components(iris[0], 3), iris[1], independent, 3),
        ("softmax, wine", components(wine[0]), wine[1], independent, 3),
        ("LMC of two, iris", components(iris[0], 3), iris[1], mixed, 3),
        ("LMC of two, wine", components(wine[0]), wine[1], mixed, 3),
    ):
        print(compare(*case, a), flush=True)
    print("\n| leverage | slope | error | ρ | not whitened: slope | error | ρ |")
    print("|---|---|---|---|---|---|---|")
    print(leverages("mean-field, wave", *two_classes(60, 2)))
    print(leverages("mean-field, breast cancer", components(cancer[0]), cancer[1]))


if __name__ == "__main__":
    main()
