"""Leave-one-out loss against test loss while a network trains [MPE Figs. 1b, 5, 8–10], by five algorithms.

    variational   VariationalNewton, posterior from its state, averaged over q
    sgd-diag      SGD with momentum, Laplace with the diagonal of the GGN
    sgd-kfac      SGD with momentum, Laplace with KFAC
    adam-8        Adam at batch size 8, posterior from its state
    adam-32       the same at batch size 32

A table a run: Spearman's ρ between the two losses over the checkpoints, their mean absolute gap; a figure; resumable.

    MEMORYMAPS_DATA=… python benchmarks/papers/generalisation.py --data fmnist --net lenet5
    MEMORYMAPS_DATA=… python benchmarks/papers/generalisation.py --data mnist --net mlp-32-16
    MEMORYMAPS_DATA=… python benchmarks/papers/generalisation.py --data cifar10 --net resnet20 --epochs 6 \
        --examples 20000 --shrink 2 --delta 80 --subset 300 --tests 1000 --fisher mc --start 1 --rate 0.1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib import pyplot as plt
from scipy.stats import spearmanr
from setting import NETWORKS, load, parser, tracked
from torch import nn

from memorymaps.nets.optimizers.variational_newton import VariationalNewton
from memorymaps.nets.prior import prior_from
from memorymaps.nets.recipe import Laplace
from memorymaps.viz.displays.evolution import GeneralisationDisplay


@dataclass(frozen=True)
class Algorithm:
    """An optimiser, its batch size, and the posterior of its maps (none: from the optimiser's state)."""

    batch: int
    optimizer: Callable[[nn.Module, argparse.Namespace], Any]
    structure: str | None = None


def _variational(net: nn.Module, a: argparse.Namespace) -> Any:
    n = a.examples
    return VariationalNewton(
        net.parameters(), lr=a.rate, ess=n, hess_init=a.start, betas=(0.9, 1 - 5 / n), weight_decay=a.delta / n
    )


def _sgd(net: nn.Module, a: argparse.Namespace) -> Any:
    return torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=a.delta / a.examples)


def _adam(net: nn.Module, a: argparse.Namespace) -> Any:
    return torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=a.delta / a.examples)


ALGORITHMS = {
    "variational": Algorithm(32, _variational),
    "sgd-diag": Algorithm(64, _sgd, "diag"),
    "sgd-kfac": Algorithm(64, _sgd, "kfac"),
    "adam-8": Algorithm(8, _adam),
    "adam-32": Algorithm(32, _adam),
}


def main() -> None:
    defaults = {"data": "fmnist", "net": "lenet5", "epochs": 15, "examples": 5_000, "tests": 2_000, "delta": 20.0}
    made = parser(__doc__, **defaults, subset=2_000)
    made.add_argument("--start", type=float, default=0.1, help="curvature that the variational optimiser starts from")
    made.add_argument("--rate", type=float, default=0.3, help="learning rate of the variational optimiser")
    made.add_argument("--shrink", type=int, default=1, help="average so many pixels each way: for two cores")
    made.add_argument("--every", type=int, default=1, help="epochs between two checkpoints")
    made.add_argument("--fisher", default="exact", help="curvature of the Laplace posteriors: exact, or mc (one draw)")
    made.add_argument("--only", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    args = made.parse_args()
    data = load(args.data, args.examples, args.tests, args.shrink)
    figure, axes = plt.subplots(
        1, len(args.only), figsize=(2.9 * len(args.only), 2.6), layout="constrained", squeeze=False
    )
    print("| algorithm | Spearman ρ | mean gap, nats | LOO, last | test, last | maps/training time | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, ax in zip(args.only, axes[0], strict=True):
        start, algorithm = time.perf_counter(), ALGORITHMS[name]
        torch.manual_seed(0)
        net = NETWORKS[args.net]()
        optimizer = algorithm.optimizer(net, args)
        prior = prior_from(optimizer, args.examples)
        recipe = Laplace(algorithm.structure, prior=prior, fisher=args.fisher) if algorithm.structure else None
        run = args.out / f"generalisation-{args.data}-{args.net}-{args.examples}-{args.shrink}" / name
        tracker = tracked(
            run, net, optimizer, data, algorithm.batch, args.epochs, lambda epoch: epoch % args.every == 0,
            posterior=recipe, subset=args.subset,
        )  # fmt: skip
        losses = tracker.trajectory().losses()
        rho = spearmanr(losses["loo_loss"], losses["test_loss"]).statistic
        gap = (losses["loo_loss"] - losses["test_loss"]).abs().mean()
        last = losses.iloc[-1]
        spent = time.perf_counter() - start
        print(
            f"| {name} | {rho:.2f} | {gap:.3f} | {last.loo_loss:.3f} | {last.test_loss:.3f} | {tracker.overhead:.2f} | "
            f"{spent:.0f} |",
            flush=True,
        )
        GeneralisationDisplay.from_trajectory(tracker.trajectory(), unit="epoch", title=name, ax=ax)
    figure.savefig(args.out / f"generalisation-{args.data}-{args.net}.png", dpi=200)


if __name__ == "__main__":
    main()
