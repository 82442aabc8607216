"""Whether maps by sampled rows keep a budget in epochs, on networks of several kinds.

Each network is trained for some epochs of Adam before and after its map; the epochs that the map took are stated by
both. An error is asked for that is not reached, so that all of the budget is used. Processor time, one process a case.

    MEMORYMAPS_DATA=… python benchmarks/networks/budgets.py --net 3c3d --n 2000 --epochs 12
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from sampled import Transformer, resnet
from sampled_large import DELTA, NETS, data, train
from torch import nn

import memorymaps as mm
from memorymaps.nets.sampled.structure import Sampled

sys.path.insert(0, str(Path(__file__).parents[1] / "papers"))
from setting import resnet20

MAKERS = {
    "mlp": ("mnist", NETS["MLP 784-500-300-10"][0]), "lenet": ("mnist", NETS["LeNet5"][0]),
    "3c3d": ("cifar10", NETS["3c3d CNN"][0]), "resnet": ("mnist", lambda: resnet(10)),
    "transformer": ("mnist", lambda: Transformer(10)), "resnet20": ("cifar10", resnet20),
}  # fmt: skip


def mapped(net: nn.Module, x: torch.Tensor, y: torch.Tensor, structure: object) -> mm.MemoryMap:
    recipe = mm.Laplace(structure, prior=DELTA, probes=0)
    return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=MAKERS, required=True)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--epochs", type=float, default=30, help="the budget; 0: EKFAC instead")
    parser.add_argument("--error", type=float, default=0.02)
    a = parser.parse_args()
    torch.manual_seed(0)
    name, make = MAKERS[a.net]
    x, y = data(a.n, name)
    net = make()
    before = train(net, x, y, "cpu")
    mapped(nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 10)), x[:50], y[:50], "ekfac")  # modules are imported
    structure = Sampled(budget=f"{a.epochs:g} epochs", error=a.error, share=1.0) if a.epochs else "ekfac"
    start = time.process_time()
    m = mapped(net, x, y, structure)
    spent = time.process_time() - start
    after = train(net, x, y, "cpu")
    rows = len(m.origin.posterior.covariance.q) if a.epochs else 0
    print(
        f"| {a.net} | {a.n:,} | {rows:,} | {spent / before:.1f}, {spent / after:.1f} of {a.epochs:g} | "
        f"{before:.2f}, {after:.2f} s |"
    )
    print(*m.provenance.description.notes, sep="\n")


if __name__ == "__main__":
    main()
