"""Small tables with targets of every kind, and the changes that faults make to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

N, P = 80, 3


@dataclass(frozen=True)
class Table:
    """Inputs `x [n, p]`, targets, and weights where there are any."""

    x: np.ndarray
    y: Any
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: Any) -> Table:
        return Table(self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows])

    def without(self, row: int) -> Table:
        return self.rows(np.arange(len(self)) != row)

    def with_(self, **changes: Any) -> Table:
        return dataclasses.replace(self, **changes)

    @property
    def total(self) -> float:
        return float(len(self) if self.weight is None else np.sum(self.weight))


def targets(kind: str, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Targets of a kind whose mean follows the signal `[n]`."""
    n = len(signal)
    made = {
        "real": lambda: signal + 0.7 * rng.normal(size=n),
        "two columns": lambda: np.stack([signal, -0.5 * signal], 1) + 0.7 * rng.normal(size=(n, 2)),
        "count": lambda: rng.poisson(np.exp(0.8 + 0.4 * signal)).astype(float),
        "positive": lambda: rng.gamma(3.0, np.exp(0.4 * signal) / 3),
        "two": lambda: (signal + rng.logistic(size=n) > 0).astype(int),
        "three": lambda: np.digitize(signal + rng.logistic(size=n), [-0.7, 0.7]),
    }
    return made[kind]()


def table(kind: str, n: int = N, p: int = P, seed: int = 0) -> Table:
    """A table of standard normal inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    slopes = np.resize([1.0, -0.7, 0.4], p) / max(1.0, np.sqrt(p / 3))
    return Table(x, targets(kind, x @ slopes, rng))


def weights(n: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 4.0, n)
