"""Small networks trained as PyTorch's tutorials do, mapped with Laplace's defaults and the optimiser's own prior."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import network_references
import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

import memorymaps as mm
from ordinary.sklearn_uses import CLASSES, NUMBERS, raw
from ordinary.use import FEW, NEARBY, Fitted, Use

DECAY = 1e-3


@dataclass(frozen=True)
class Recipe:
    """An optimiser, its number of epochs, and batches of this size (0: all examples at once)."""

    optimizer: Callable
    epochs: int
    batch: int = 0


RECIPES = {
    "Adam": Recipe(functools.partial(torch.optim.Adam, lr=1e-2, weight_decay=DECAY), 1000),
    "Adam, batches": Recipe(functools.partial(torch.optim.Adam, lr=1e-3, weight_decay=DECAY), 150, 32),
    "SGD": Recipe(functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=DECAY), 1500),
    "SGD, batches": Recipe(functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=DECAY), 150, 32),
    "AdamW": Recipe(functools.partial(torch.optim.AdamW, lr=1e-2), 1000),
}


def mlp(inputs: int, outputs: int, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 16), activation(), nn.Linear(16, outputs))


def cnn(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, outputs)
    )


def softmax(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def _trained(net: nn.Module, x, y, loss: Callable, recipe: Recipe):
    optimizer = recipe.optimizer(net.parameters())
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x)) if recipe.batch else torch.arange(len(x))
        for part in torch.split(order, recipe.batch or len(x)):
            optimizer.zero_grad()
            loss(net(x[part]), y[part]).backward()
            optimizer.step()
    return optimizer


def _fit(make: Callable, data: Callable, recipe: Recipe, classes: bool) -> Fitted:
    torch.manual_seed(0)
    x, y = data()
    x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
    outputs = len(np.unique(y)) if classes else 1
    y = torch.tensor(y) if classes else torch.tensor(StandardScaler().fit_transform(y[:, None]), dtype=torch.float32)
    net = make(x.shape[1], outputs)
    optimizer = _trained(net, x, y, nn.functional.cross_entropy if classes else _half_square, recipe)
    given = {"likelihood": "categorical" if classes else "gaussian"}
    given["posterior"] = mm.Laplace(prior=mm.prior_from(optimizer, n=len(x)))
    return Fitted((net, x, y), network_references.network_change, given)


def _half_square(f, y):
    return nn.functional.mse_loss(f, y) / 2


def networks() -> Iterator[Use]:
    """Multi-layer perceptrons on tables, a convolutional network on digits, softmax regression."""
    cases = [(mlp, "iris", True), (mlp, "wine", True), (mlp, "births", True), (mlp, "diabetes", False),
             (mlp, "prestige", False), (softmax, "wine", True), (cnn, "digits", True)]  # fmt: skip
    sets = {**CLASSES, **NUMBERS, "digits": raw("digits", 6)}
    for make, name, classes in cases:
        for recipe, how in RECIPES.items():
            fit = functools.partial(_fit, make, sets[name], how, classes)
            yield Use(f"torch {make.__name__} {recipe} {name}", "networks", fit, NEARBY, FEW)


SOURCES = (networks,)
