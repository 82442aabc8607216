"""A sparse variational Gaussian process: its memory map, and left-out predictions against retraining [MPE App. H].

Two classes of MNIST or Fashion-MNIST, images of 14 × 14 pixels, inducing points among them. Full command, as in the
source:

    MEMORYMAPS_DATA=… python benchmarks/papers/variational_gp.py --examples 12000 --inducing 300 --steps 2000

Shortened, the default: 500 images, 40 inducing points. Without an example `q(u)` is optimised again, the kernel held,
as in the map; half of the examples retrained are the most sensitive, the others at random. Every retraining is kept.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gpytorch
import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.stats import spearmanr
from setting import kept, parser
from side_by_side import Pair, pair

import memorymaps as mm
from memorymaps.nets import Variational
from memorymaps.viz.displays.style import GREY, PALETTE, style_context


class Process(gpytorch.models.ApproximateGP):
    """Whitened `q(u)` at fixed inducing points, an RBF kernel."""

    def __init__(self, inducing: torch.Tensor):
        q = gpytorch.variational.CholeskyVariationalDistribution(len(inducing))
        super().__init__(gpytorch.variational.VariationalStrategy(self, inducing, q, learn_inducing_locations=False))
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.covar_module.base_kernel.lengthscale, self.covar_module.outputscale = 4.0, 9.0

    def forward(self, x: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
        """The prior at some inputs."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def fit(model: Process, x: torch.Tensor, y: torch.Tensor, steps: int) -> Process:
    """L-BFGS on the evidence lower bound over `q(u)` alone, in double precision."""
    loss = gpytorch.mlls.VariationalELBO(gpytorch.likelihoods.BernoulliLikelihood(), model, num_data=len(y))
    wanted = list(model.variational_parameters())
    optimizer = torch.optim.LBFGS(
        wanted, max_iter=steps, history_size=30, line_search_fn="strong_wolfe", tolerance_change=0, tolerance_grad=1e-7
    )
    model.train()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = -loss(model(x), y) * len(y)
        value.backward()
        return value

    optimizer.step(closure)
    return model


def probability(model: Process, x: torch.Tensor) -> Any:
    """Of class 1 under `q`: `[n]`."""
    model.eval()
    with torch.no_grad():
        return gpytorch.likelihoods.BernoulliLikelihood()(model(x)).probs.numpy()


def fitted(d: Pair, a: argparse.Namespace) -> tuple[Process, torch.Tensor, torch.Tensor]:
    x, y = torch.tensor(d.x), torch.tensor(d.y).double()
    inducing = x[np.random.default_rng(0).permutation(len(x))[: a.inducing]]
    return fit(Process(inducing).double(), x, y, a.steps), x, y


def changes(a: argparse.Namespace, d: Pair, rows: Any, file: Path) -> dict[str, float]:
    """Change of each row's probability by retraining without it, from the fitted `q(u)`."""
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    if all(str(row) in found for row in rows):
        return found
    model, x, y = fitted(d, a)
    before, state = probability(model, x), {k: v.clone() for k, v in model.state_dict().items()}
    for row in rows:
        if str(row) not in found:
            model.load_state_dict(state)
            keep = torch.arange(len(y)) != row
            after = probability(fit(model, x[keep], y[keep], a.steps), x[[row]])[0]
            found[str(row)] = float(abs(after - before[row]))
            file.write_text(json.dumps(found))
    return found


def draw(m: mm.MemoryMap, rows: Any, truth: list[float], file: Path) -> None:
    with style_context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
        for value, color in zip(np.unique(m["target"]), PALETTE, strict=False):
            of = m["target"] == value
            left.plot(m["leverage"][of], m["error"][of], "o", ms=2.5, mew=0, alpha=0.6, color=color)
        left.plot(m["leverage"][rows], m["error"][rows], "o", ms=6, mfc="none", mec="black", mew=0.7)
        left.set(xlabel="leverage (effective parameters)", ylabel="prediction error", xlim=(0, None), ylim=(0, None))
        right.plot(truth, m["sensitivity"][rows], "o", ms=4, color=PALETTE[0])
        right.axline((0, 0), slope=1, lw=0.7, color=GREY)
        right.set(xlabel="change of the probability, retrained", ylabel="sensitivity, from the map")
        figure.savefig(file, dpi=100)


def main() -> None:
    made = parser(__doc__, data="mnist", first=3, second=5, examples=500, inducing=40, steps=300, retrained=24)
    a = made.parse_args()
    out = a.out / f"variational_gp-{a.data}-{a.examples}-{a.inducing}"
    out.mkdir(parents=True, exist_ok=True)
    d = pair(a)
    spent: dict[str, float] = {}

    def mapped() -> mm.MemoryMap:
        start = time.process_time()
        model, x, y = fitted(d, a)
        spent["fit"] = time.process_time() - start
        likelihood = gpytorch.likelihoods.BernoulliLikelihood()
        m = mm.memory_map(model, x, y, likelihood=likelihood, posterior=Variational())
        spent["map"] = time.process_time() - start - spent["fit"]
        (out / "times.json").write_text(json.dumps(spent))
        return m

    m = kept(out / "map.parquet", mapped)
    order = np.argsort(-m["sensitivity"])
    others = np.random.default_rng(1).permutation(order[a.retrained // 2 :])[: a.retrained - a.retrained // 2]
    rows = np.concatenate([order[: a.retrained // 2], others])
    found = changes(a, d, rows, out / "retrained.json")
    truth, guess = [found[str(row)] for row in rows], m["sensitivity"][rows]
    slope = float(np.dot(truth, guess) / np.dot(truth, truth))
    error = float(np.linalg.norm(guess - truth) / np.linalg.norm(truth))
    print((out / "times.json").read_text())
    rho = spearmanr(truth, guess).statistic
    print(f"Σ leverage {m['leverage'].sum():.1f}; {len(rows)} retrained:")
    print(f"slope {slope:.2f}, relative error {error:.2f}, ρ {rho:.2f}")
    draw(m, rows, truth, out / "variational_gp.png")


if __name__ == "__main__":
    main()
