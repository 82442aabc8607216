"""Support vector machines without single examples: the exact change of their dual variables, one path a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.models.kernels.dual_path import DualPath, PiecewiseLinear
from memorymaps.posteriors.capabilities import ExampleRefits, Refit

_BUDGET = 2 * 10**10  # multiplications for refits without single examples: ten seconds of one core
_EVENTS = 10  # of a path without one example (measured: 1 to 25)
_CALL = 500_000  # multiplications that take as long as NumPy's overhead at each


@dataclass(frozen=True)
class Machine:
    """One output: the rows it was trained on, their loss, and the library's `β [n]` and intercept."""

    rows: Array
    loss: PiecewiseLinear
    beta: Array
    intercept: float


@dataclass(frozen=True)
class SupportRemovals:
    """Removals from the machines of an SVC or SVR; `gram [N, N]`, and `cross`: `inputs → k(x, X) [n, N]`."""

    gram: Array
    machines: Sequence[Machine]
    cross: Callable[[Any], Array]

    @cached_property
    def paths(self) -> list[DualPath | None]:
        """The exact solution of each machine; None where the library's leads to none."""
        found = []
        for each in self.machines:
            gram = self.gram if len(each.rows) == len(self.gram) else self.gram[np.ix_(each.rows, each.rows)]
            found.append(DualPath.of(gram, each.loss, each.beta[each.rows], each.intercept))
        return found

    def without(self, row: int) -> tuple[Array, Array] | None:
        """Changes of `β [N, c]` and of the intercepts `[c]` without a training row; None where a path does not end."""
        beta, intercept = np.zeros((len(self.gram), len(self.machines))), np.zeros(len(self.machines))
        for c, (machine, path) in enumerate(zip(self.machines, self.paths, strict=True)):
            own = np.flatnonzero(machine.rows == row)
            found = (np.zeros(0), 0.0) if not len(own) else None if path is None else path.without(own)
            if found is None:
                return None
            if len(own):
                beta[machine.rows, c], intercept[c] = found
        return beta, intercept

    def at(self, inputs: Any) -> Callable[[Array], Array]:
        """`rows [b] → Δf [k, b, c]` at `k` inputs; NaN where a path does not end."""
        cross = self.cross(inputs)

        def change(row: int) -> Array:
            found = self.without(row)
            return np.full((len(cross), len(self.machines)), np.nan) if found is None else cross @ found[0] + found[1]

        return lambda rows: np.stack([change(row) for row in rows.tolist()], axis=1)

    def affordable(self) -> int:
        """How many examples are removed within ten seconds."""
        margin = [np.count_nonzero(each.loss.is_between(each.beta[each.rows])) for each in self.machines]
        sizes = zip((len(each.rows) for each in self.machines), margin, strict=True)
        return int(_BUDGET // (_EVENTS * sum(n * m + 3 * m * m + _CALL for n, m in sizes)))

    def outputs(self, wanted: Array) -> Array:
        """`f [n, c]` of training rows, of the library's solution."""
        beta = np.stack([each.beta for each in self.machines], axis=1)
        return np.asarray(self.gram[wanted] @ beta + np.array([each.intercept for each in self.machines]))

    @property
    def capability(self) -> ExampleRefits:
        """What `influence_on` takes."""
        return ExampleRefits(self.at, self.affordable)


@dataclass(frozen=True)
class SupportRefit:
    """Refits without one example by its path, `posteriors.capabilities.Refit`; by `clones` without several.

    For the checks of a map, in its own process: it holds the Gram matrix.
    """

    removals: SupportRemovals
    clones: Refit

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    def max_automatic_refits(self) -> int:
        """As many as by clones, which take ten times as long."""
        return self.clones.max_automatic_refits()

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted`, and 0, or what a clone says where a path did not end."""
        if not len(removed):
            return self.removals.outputs(wanted), 0.0
        found = self.removals.without(int(removed[0])) if len(removed) == 1 else None
        if found is None:
            f, moving = self.clones.refit(removed, wanted, steps, tolerance)
            return f - self.clones.refit(removed[:0], wanted)[0] + self.removals.outputs(wanted), moving
        return self.removals.outputs(wanted) + self.removals.gram[wanted] @ found[0] + found[1], 0.0
