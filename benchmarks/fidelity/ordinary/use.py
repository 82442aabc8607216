"""One ordinary use: a model as its users fit it, and refits to compare its map with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import references

import memorymaps as mm


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
    """`fit` makes the fitted model; `truth` says by what refits are made."""

    name: str
    family: str
    fit: Callable[[], Fitted]
    truth: str = "clones"


def estimator_use(name: str, family: str, make: Callable, data: Callable, own: bool = False) -> Use:
    """An estimator fitted to `X, y`; `own`: refits by the library itself."""

    def fit() -> Fitted:
        x, y = data()
        model = make()
        with warnings.catch_warnings(action="ignore"):  # of convergence: whether the map says so is the question
            model.fit(x, y)

        def reference(m, rows):
            return references.own_change(m, rows) if own else references.estimator_change(model, x, y, rows)

        return Fitted((model, x, y), reference)

    return Use(name, family, fit, "own refits" if own else "clones")
