"""Does the left-out loss say when to stop, under label noise? Held-out loss against it, by optimiser and posterior.

Digits, an MLP with one hidden layer, a fifth of the labels (of training and of held-out examples) drawn at random, 60
epochs, a map after 1, 2 and every fifth. For each optimiser and posterior: Spearman's ρ between left-out and held-out
loss over the checkpoints, the epochs at which they are lowest, what stopping there costs in held-out loss (nats above
its lowest), and the trust verdicts on the left-out loss. Full command (the digits are scikit-learn's):

    python benchmarks/papers/early_stopping.py --seeds 2

Shortened, for the figure: `--seeds 1 --every 10`. Curves are kept, one Parquet file a run, and drawn from there.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from scipy.stats import spearmanr
from setting import Data, parser, train_epoch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.optimizers.variational_newton import VariationalNewton
from memorymaps.viz.displays.style import PALETTE, style_context

Recipe = Callable[[Any, int], Any]  # optimiser, number of examples → recipe of the posterior


@dataclass(frozen=True)
class Algorithm:
    """An optimiser and the posteriors of its checkpoints."""

    optimizer: Callable[[nn.Module, argparse.Namespace], Any]
    posteriors: dict[str, Recipe]


def _laplace(structure: Any) -> Recipe:
    return lambda optimizer, n: mm.Laplace(structure, prior=mm.prior_from(optimizer, n))


def _state(optimizer: Any, n: int) -> Any:
    return mm.FromOptimizer(optimizer, n)


LAPLACE: dict[str, Recipe] = {
    "Laplace diag": _laplace("diag"),
    "Laplace kfac": _laplace("kfac"),
    "Laplace sampled": _laplace(mm.nets.Sampled(rows=1_500)),
    "Laplace full": _laplace("full"),
    "Laplace full, evidence": lambda optimizer, n: mm.Laplace("full", prior="evidence"),
}
ALGORITHMS = {
    "Adam": Algorithm(
        lambda net, a: torch.optim.Adam(net.parameters(), lr=a.rate, weight_decay=a.delta / a.examples),
        {"FromOptimizer": _state, **LAPLACE},
    ),
    "SGD": Algorithm(
        lambda net, a: torch.optim.SGD(
            net.parameters(), lr=10 * a.rate, momentum=0.9, weight_decay=a.delta / a.examples
        ),
        {"FromOptimizer": _state, **LAPLACE},
    ),
    "VariationalNewton": Algorithm(
        lambda net, a: VariationalNewton(
            net.parameters(), lr=0.1, ess=a.examples, hess_init=0.1, betas=(0.9, 1 - 5 / a.examples),
            weight_decay=a.delta / a.examples,
        ),
        {"FromOptimizer": _state},
    ),
}  # fmt: skip


def noisy_digits(seed: int, examples: int, noise: float) -> Data:
    """Digits with a share of the labels of all examples drawn at random."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order, drawn = rng.permutation(len(y)), rng.random(len(y)) < noise
    y = np.where(drawn, rng.integers(0, 10, len(y)), y)
    inputs, labels = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    classes = tuple(map(str, range(10)))
    return Data(inputs[:examples], labels[:examples], inputs[examples:], labels[examples:], classes)


def checkpoints(name: str, seed: int, a: argparse.Namespace) -> Iterator[tuple[int, str, float, float, str]]:
    """Epoch, posterior, left-out loss, held-out loss and verdict of every checkpoint of one run."""
    data = noisy_digits(seed, a.examples, a.noise)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, a.width), nn.ReLU(), nn.Linear(a.width, 10))
    algorithm = ALGORITHMS[name]
    optimizer = algorithm.optimizer(net, a)
    for epoch in range(1, a.epochs + 1):
        train_epoch(net, optimizer, data, 32, 1_000 * seed + epoch)
        if epoch % a.every and epoch > 2:
            continue
        for which, recipe in algorithm.posteriors.items():
            m = mm.memory_map(
                net, data.x, data.y, likelihood="categorical", posterior=recipe(optimizer, a.examples), progress=False
            )
            held_out = _held_out(m, data)
            yield epoch, which, m.leave_one_out().loo_loss, held_out, str(m.trust["loo_loss"].level)


def _held_out(m: Any, data: Data) -> float:
    """Mean loss of the held-out examples, averaged over the posterior if the training loss is."""
    source, batch = m.origin.posterior, ArrayExamples.of(data.test_x, data.test_y).whole
    if not isinstance(source.likelihood, ExpectedLikelihood):
        return float(np.mean(source.likelihood.nll(source.outputs(batch.inputs), np.asarray(data.test_y))))
    at = m.origin.batch_statistics(batch)
    return float(np.mean(at.likelihood.nll(at.f, at.y)))


COLUMNS = ("epoch", "posterior", "left_out", "held_out", "verdict")


def curves(name: str, seed: int, a: argparse.Namespace) -> pd.DataFrame:
    """One run's checkpoints, read from its file where there is one."""
    settings = f"{a.examples}-{a.width}-{a.noise:g}-{a.epochs}-{a.every}"
    file = a.out / f"early_stopping-{settings}" / f"{name}-{seed}.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(list(checkpoints(name, seed, a)), columns=COLUMNS).to_parquet(file)
    return pd.read_parquet(file)


def main() -> None:
    numbers = {"epochs": 60, "every": 5, "examples": 600, "width": 24, "seeds": 2}
    made = parser(__doc__, **numbers, noise=0.2, delta=0.1, rate=3e-3)
    made.add_argument("--only", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    a = made.parse_args()
    torch.set_num_threads(1)
    print("| optimiser | posterior | seed | ρ | lowest left out | lowest held out | cost, nats | verdicts |")
    print("|---|---|---|---|---|---|---|---|")
    for name in a.only:
        for seed in range(a.seeds):
            report(name, seed, [tuple(row) for row in curves(name, seed, a).itertuples(index=False)])
    draw({name: curves(name, 0, a) for name in a.only}, a)


def draw(runs: dict[str, pd.DataFrame], a: argparse.Namespace) -> None:
    """A panel an optimiser and posterior; the dots are the lowest of each curve."""
    panels = [(name, *group) for name, run in runs.items() for group in run.groupby("posterior", sort=False)]
    with style_context():
        figure, axes = plt.subplots(
            -(-len(panels) // 4), 4, figsize=(9.6, 2.1 * -(-len(panels) // 4)), layout="constrained", sharex=True
        )
        for ax in axes.flat:
            ax.axis("off")
        for (name, which, run), ax in zip(panels, axes.flat, strict=False):
            ax.axis("on")
            for column, color, dash in (("left_out", PALETTE[1], "-"), ("held_out", PALETTE[0], "--")):
                ax.plot(run["epoch"], run[column], dash, color=color, label=column.replace("_", " "))
                low = run[column].idxmin()
                ax.plot(run["epoch"][low], run[column][low], "o", ms=4, color=color)
            rho = spearmanr(run["left_out"], run["held_out"]).statistic
            ax.set_title(f"{name}\n{which}, ρ {rho:.2f}", loc="left", fontsize=8)
        axes.flat[0].legend(fontsize=7)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel("mean loss (nats)", fontsize=9)
        figure.savefig(a.out / "early_stopping.png", dpi=100)


def report(name: str, seed: int, found: list[Any]) -> None:
    """One row a posterior, its curves under it."""
    for which in dict.fromkeys(row[1] for row in found):
        epochs, left_out, held_out, verdicts = zip(
            *((e, left, held, verdict) for e, w, left, held, verdict in found if w == which), strict=True
        )
        rho = spearmanr(left_out, held_out).statistic
        stop, best = int(np.argmin(left_out)), int(np.argmin(held_out))
        counted = ", ".join(f"{word} {k}×" for word, k in collections.Counter(verdicts).items())
        print(
            f"| {name} | {which} | {seed} | {rho:.2f} | {epochs[stop]} | {epochs[best]} | "
            f"{held_out[stop] - held_out[best]:.3f} | {counted} |",
            flush=True,
        )
        print(f"# epochs {epochs} left out {_short(left_out)} held out {_short(held_out)}", flush=True)


def _short(losses: Any) -> str:
    return " ".join(f"{loss:.2f}" for loss in losses)


if __name__ == "__main__":
    main()
