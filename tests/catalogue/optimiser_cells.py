"""Posteriors from the state of an optimiser, ensembles and dropout, by faults."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from network_cells import PRIOR, Around, data, trained
from torch import nn
from torch.nn import functional
from verdict import Case

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.nets import ensemble, mc_dropout, snapshots

N = 40
OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=PRIOR / N),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=PRIOR / N),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.02, weight_decay=PRIOR / N),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=PRIOR / N),
}


@functools.cache
def run(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A network and the optimiser that it was trained with for 30 steps."""
    x, y = data("classes")
    net = copy.deepcopy(trained("classes"))
    optimizer = OPTIMISERS[name](net.parameters())
    for _ in range(30):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, optimizer


def mapped(name: str, net: Any = None, n: int = N, y: Any = None, **options: Any) -> mm.MemoryMap:
    own, optimizer = run(name)
    x, own_y = data("classes")
    recipe = mm.FromOptimizer(optimizer, n, **options)
    y = own_y if y is None else y
    return mm.memory_map(own if net is None else net, x, y, likelihood="categorical", posterior=recipe)


def not_started(name: str) -> mm.MemoryMap:
    net = copy.deepcopy(run(name)[0])
    recipe = mm.FromOptimizer(OPTIMISERS[name](net.parameters()), N)
    return mm.memory_map(net, *data("classes"), likelihood="categorical", posterior=recipe)


FAULTS: dict[str, Callable[[str], Any]] = {
    "wrong_n": lambda name: mapped(name, n=10 * N),
    "n_of_one_batch": lambda name: mapped(name, n=8),
    "negative_prior": lambda name: mapped(name, prior=-0.5),
    "nan_prior": lambda name: mapped(name, prior=float("nan")),
    "another_network": lambda name: mapped(name, started_anew(run(name)[0])),
    "coupled_outputs": lambda name: mapped(name, coupled(name)),
    "not_started": not_started,
    "class_out_of_range": lambda name: mapped(name, y=data("classes")[1] + 1),
    "unknown_reduction": lambda name: mapped(name, loss="average"),
}


def started_anew(net: nn.Module) -> nn.Module:
    """A network of the same form with other initial weights, which the optimiser has not trained."""
    other = copy.deepcopy(net)
    torch.manual_seed(99)
    for module in other.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return other


def coupled(name: str) -> nn.Module:
    net = Around(run(name)[0], lambda f: f - f.mean(0))
    net.net = run(name)[0]
    return net


class Dropping(nn.Module):
    """The trained network with dropout before its last layer."""

    def __init__(self, change: Callable[[Any], Any] = lambda f: f):
        super().__init__()
        own: Any = copy.deepcopy(trained("classes"))
        self.inner, self.head, self.drop, self.change = own.inner, own.head, nn.Dropout(0.2), change

    def forward(self, x: Any) -> Any:
        return self.change(self.head(self.drop(torch.tanh(self.inner(x)))))


def members(change: Callable[[Any], Any] | None = None) -> list[nn.Module]:
    found = []
    for seed in range(4):
        net = copy.deepcopy(trained("classes"))
        torch.manual_seed(seed)
        for p in net.parameters():
            p.data += 0.1 * torch.randn_like(p)
        found.append(net if change is None else Around(net, change))
    return found


def sampled(sampler: Any, y: Any = None) -> mm.MemoryMap:
    return mm.memory_map(sampler, data("classes")[0], data("classes")[1] if y is None else y)


SAMPLERS: dict[str, Callable[[], Any]] = {
    "ensemble-as_it_is": lambda: sampled(ensemble(members(), Categorical())),
    "ensemble-coupled_outputs": lambda: sampled(ensemble(members(lambda f: f - f.mean(0)), Categorical())),
    "ensemble-random_outputs": lambda: sampled(ensemble(members(lambda f: f + torch.randn_like(f)), Categorical())),
    "ensemble-of_nothing": lambda: sampled(ensemble([], Categorical())),
    "ensemble-of_one": lambda: sampled(ensemble(members()[:1], Categorical())),
    "ensemble-of_functions": lambda: sampled(ensemble([torch.tanh], Categorical())),  # type: ignore[list-item]
    "ensemble-class_out_of_range": lambda: sampled(ensemble(members(), Categorical()), data("classes")[1] + 1),
    "ensemble-likelihood_by_name": lambda: sampled(ensemble(members(), "categorical")),  # type: ignore[arg-type]
    "ensemble-softmax_as_logits": lambda: sampled(ensemble(members(lambda f: f.softmax(1)), Categorical())),
    "snapshots-one": lambda: sampled(snapshots(trained("classes"), [trained("classes").state_dict()], Categorical())),
    "dropout-none_in_the_network": lambda: sampled(mc_dropout(trained("classes"), Categorical())),
    "dropout-class_out_of_range": lambda: sampled(mc_dropout(Dropping(), Categorical()), data("classes")[1] + 1),
    "dropout-one_draw": lambda: sampled(mc_dropout(Dropping(), Categorical(), draws=1)),
    "dropout-coupled_outputs": lambda: sampled(mc_dropout(Dropping(lambda f: f - f.mean(0)), Categorical(), draws=20)),
}


def optimiser_case(name: str, fault: str) -> Case:
    remedy = functools.partial(mapped, name)
    return Case(functools.partial(FAULTS[fault], name), None, remedy, "", mapped(name).summary().warnings)


def sampler_case(name: str) -> Case:
    return Case(SAMPLERS[name], None, SAMPLERS["ensemble-as_it_is"])


def cases() -> dict[str, Callable[[], Case]]:
    stateless = ("sgd", "not_started")  # SGD without momentum has no state
    found: dict[str, Callable[[], Case]] = {
        f"{name}-{fault}": functools.partial(optimiser_case, name, fault)
        for name in OPTIMISERS
        for fault in FAULTS
        if (name, fault) != stateless
    }
    return found | {name: functools.partial(sampler_case, name) for name in SAMPLERS}
