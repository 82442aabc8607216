"""Sampled rows at many examples against the exact posterior, whose `P × P` matrix can still be held.

MNIST, 2 % of the labels drawn at random, a CNN of 3,146 parameters after five epochs of Adam. The exact answer is
computed here, without the package: rows of all examples by `torch.func`, sums in double precision. Network and answer
are kept in `--folder` from run to run. Cells as in `networks/sampled.py`; cost in processor seconds and in training
epochs of that network. `few:2` is two rows for each unit of Σh with so short a budget that each example has its leading
directions, in single precision; `all:2` all outputs in double precision; `30 epochs` a map within this budget.

    MEMORYMAPS_DATA=… python benchmarks/networks/sampled_exact.py --folder kept --n 12000 few:2 all:2 "30 epochs"
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sampled_large as large
import torch
from sampled import compared
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.nets.sampled.structure import Sampled

EPOCHS, SOME, OUTPUTS = 5, 200, 10
COLUMNS = {"leverage": "h", "sensitivity": "s", "loo_loss": "l"}


def network() -> nn.Module:
    """3,146 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2), nn.Tanh(), nn.Conv2d(4, 8, 5, stride=2), nn.Tanh(), nn.Flatten(),
        nn.Linear(128, 16), nn.Tanh(), nn.Linear(16, OUTPUTS),
    )  # fmt: skip


def trained(path: Path, x: Tensor, y: Tensor, delta: float) -> tuple[nn.Module, float]:
    """The network and the processor seconds of one of its epochs."""
    torch.manual_seed(0)
    net = network()
    if not path.exists():
        large.DELTA, large.EPOCHS = delta, EPOCHS
        torch.save({"epoch": large.train(net, x, y, "cpu"), "net": net.state_dict()}, path)
    state = torch.load(path)
    net.load_state_dict(state["net"])
    return net, float(state["epoch"])


def rows(net: nn.Module, x: Tensor, directions: Tensor) -> Iterator[Tensor]:
    """`d_ijᵀJ_i [n·k, P]` of some examples at a time, for directions `[N, k, c]`."""
    values = {name: value.detach() for name, value in net.named_parameters()}

    def one(image: Tensor, along: Tensor) -> Tensor:
        pull = vjp(lambda v: functional_call(net, v, (image[None],))[0], values)[1]
        found = vmap(lambda d: pull(d)[0])(along)
        return torch.cat([found[name].reshape(len(along), -1) for name in values], 1)

    for part in zip(x.split(SOME), directions.split(SOME), strict=True):
        yield vmap(one)(*part).flatten(0, 1)


def exact(path: Path, net: nn.Module, x: Tensor, y: Tensor, delta: float) -> dict[str, Any]:
    """Leverage, sensitivity and left-out loss by the whole matrix."""
    if path.exists():
        return dict(np.load(path))
    with torch.no_grad():
        f = torch.cat([net(some) for some in x.split(2000)]).double()
    roots = Categorical().fisher_root(f, y).float().mT
    total = sum((a.T @ a).double() for a in rows(net, x, roots))
    total.diagonal().add_(delta)
    whitened = torch.linalg.inv(torch.linalg.cholesky(total)).float().T
    units = torch.eye(OUTPUTS).expand(len(x), OUTPUTS, OUTPUTS)
    each = ((a @ whitened).double().unflatten(0, (-1, OUTPUTS)) for a in rows(net, x, units))  # not held: N·C·P numbers
    variance = torch.cat([z @ z.mT for z in each])
    p, target = f.softmax(1), nn.functional.one_hot(y, OUTPUTS)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    cavity = variance @ torch.linalg.inv(torch.eye(OUTPUTS, dtype=f.dtype) - curvature @ variance)
    moved = f + (cavity @ (p - target)[:, :, None])[:, :, 0]
    found = {
        "h": (curvature @ variance).diagonal(dim1=1, dim2=2).sum(1).numpy(),
        "s": (moved.softmax(1) - p).abs().sum(1).numpy(),
        "l": -moved.log_softmax(1)[torch.arange(len(y)), y].numpy(),
    }
    np.savez(path, **found)
    return found


def structure(name: str, total: float) -> Sampled:
    """As it is asked for on the command line."""
    kind, _, multiple = name.partition(":")
    if not multiple:
        return Sampled(budget=name, share=1.0)
    return Sampled(rows=round(float(multiple) * total), share=1.0, budget={"few": 1e-3, "all": 1e9}[kind])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--n", type=int, default=12_000)
    parser.add_argument("--delta", type=float, default=30.0)
    parser.add_argument("maps", nargs="+")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    x, y = large.data(a.n, "mnist")
    net, epoch = trained(a.folder / f"tiny_{a.n}.pt", x, y, a.delta)
    answer = exact(a.folder / f"exact_tiny_{a.n}.npz", net, x, y, a.delta)
    true = {column: answer[key] for column, key in COLUMNS.items()}
    print(f"N = {a.n:,}, Σh {true['leverage'].sum():.1f}, mean left-out loss {true['loo_loss'].mean():.4f}")
    print(
        "| map | rows | directions | leverage | sensitivity | left-out loss | its mean | seconds | epochs | peak, GB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in a.maps:
        recipe, start = (
            mm.Laplace(structure(name, true["leverage"].sum()), prior=a.delta, probes=0),
            time.process_time(),
        )
        m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)
        seconds, source = time.process_time() - start, m.origin.posterior
        cells = " | ".join(compared(m, true, column) for column in COLUMNS)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"| {name} | {len(source.covariance.q):,} | {source.directions.mean:.2f} | {cells} | "
            f"{m['loo_loss'].mean():.4f} | {seconds:.0f} | {seconds / epoch:.0f} | {peak:.1f} |", flush=True,
        )  # fmt: skip
        print(m.provenance.description.notes[1], flush=True)


if __name__ == "__main__":
    main()
