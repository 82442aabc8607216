"""One ordinary use: a model as its users fit it, and refits to compare its map with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import network_references
import references

import memorymaps as mm

CLONES, OWN, NEARBY = "clones", "own refits", "optimum nearby"  # by what refits are made
MANY, FEW = (10, 15), (5, 7)  # most sensitive and random rows; of networks, whose refits are long


@dataclass(frozen=True)
class Fitted:
    """A fitted model: what `memory_map` is called with, and the reference `(map, rows) → outputs before and after`."""

    arguments: tuple
    reference: Callable
    options: Mapping = field(default_factory=dict)

    def map(self, **more) -> mm.MemoryMap:
        """Its memory map."""
        return mm.memory_map(*self.arguments, progress=False, **self.options, **more)


@dataclass(frozen=True)
class Use:
    """`fit` makes the fitted model; `truth` says by what refits are made; so many top and random rows are refitted."""

    name: str
    family: str
    fit: Callable[[], Fitted]
    truth: str = CLONES
    rows: tuple[int, int] = MANY


def estimator_use(name: str, family: str, make: Callable, data: Callable, truth: str = CLONES) -> Use:
    """An estimator fitted to `X, y`."""

    def fit() -> Fitted:
        x, y = data()
        model = make()
        with warnings.catch_warnings(action="ignore"):  # of convergence: whether the map says so is the question
            model.fit(x, y)

        def clones(m, rows):
            return references.estimator_change(model, x, y, rows)

        others = {OWN: references.own_change, NEARBY: network_references.network_change}
        return Fitted((model, x, y), others.get(truth, clones))

    return Use(name, family, fit, truth, FEW if truth == NEARBY else MANY)
