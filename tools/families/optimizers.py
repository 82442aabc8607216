"""Posteriors read from an optimiser's state, after five full-batch steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import memorymaps as mm
from families import data as d
from families.family import Call, Families, call
from families.lookup import find
from families.networks import CODE, X, mlp

Maker = Callable[[Iterator[nn.Parameter]], Any]
_OPTIONS = {"lr": 1e-2, "weight_decay": 0.01}
MAKERS: dict[str, Maker] = {
    "Adam": lambda p: torch.optim.Adam(p, **_OPTIONS),
    "Adam amsgrad": lambda p: torch.optim.Adam(p, **_OPTIONS, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, **_OPTIONS),
    "NAdam": lambda p: torch.optim.NAdam(p, **_OPTIONS),
    "RMSprop": lambda p: torch.optim.RMSprop(p, **_OPTIONS),
    "SGD": lambda p: torch.optim.SGD(p, **_OPTIONS, momentum=0.9),
    "VariationalNewton": lambda p: find("VariationalNewton")(p, lr=0.05, ess=40.0, weight_decay=0.02),
}


def trained(name: str) -> tuple[nn.Module, Any]:
    """A network and its optimiser after five steps on all the data."""
    net = mlp(3)
    optimizer = MAKERS[name](net.parameters())
    torch.manual_seed(1)
    for _ in range(5):
        step(net, optimizer)
    return net, optimizer


def step(net: nn.Module, optimizer: Any) -> None:
    """One full-batch step; at a draw of the weights where the optimiser is variational."""
    if not hasattr(optimizer, "sampled_params"):
        _backward(net, optimizer)
        optimizer.step()
        return
    with optimizer.sampled_params(train=True):
        _backward(net, optimizer)
    optimizer.step()


def _backward(net: nn.Module, optimizer: Any) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(X), CODE).backward()


def _made(name: str, **options: Any) -> Callable[[], Call]:
    def make() -> Call:
        net, optimizer = trained(name)
        recipe = mm.FromOptimizer(optimizer, n=d.N, **options)
        return call(net, X, CODE, likelihood="categorical", posterior=recipe)

    return make


def _prior_from(name: str, structure: str) -> Callable[[], Call]:
    def make() -> Call:
        net, optimizer = trained(name)
        recipe = mm.Laplace(structure, prior=mm.prior_from(optimizer, d.N))
        return call(net, X, CODE, likelihood="categorical", posterior=recipe)

    return make


FAMILIES: Families = {
    **{f"optimizer {name}": _made(name) for name in MAKERS},
    "optimizer Adam directions": _made("Adam", directions=0),
    "optimizer Adam prior": _made("Adam", prior=0.3),
    "optimizer Adam average": _made("Adam", average=True),
    "optimizer VariationalNewton at the mean": _made("VariationalNewton", average=False),
    "prior from Adam full": _prior_from("Adam", "full"),
    "prior from AdamW full": _prior_from("AdamW", "full"),
    "prior from AdamW kfac": _prior_from("AdamW", "kfac"),
    "prior from SGD dual": _prior_from("SGD", "dual"),
}
