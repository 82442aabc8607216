"""Variational Gaussian processes without some examples: `q(u)` at the optimum of the ELBO, hyperparameters fixed.

One step removes an example's own expected loss; without it, those of the others change with the variance, too. Here the
equations of the optimum are solved again, from `q(u)` with all examples, many removals together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.variational_fixed_point import FixedPoints, VariationalObjective
from memorymaps.data.examples import DataError
from memorymaps.posteriors.capabilities import ExampleRefits, OwnRefits

_BUDGET = 4 * 10**9  # multiplications for refits that nobody asked for: a second of one core
_EXAMPLES_BUDGET = 4 * 10**10  # when predictions are asked about: ten seconds of one core
_STEPS = 20  # of a refit (measured: 6 to 44, medians of 7 to 19)
_EVALUATION = 240  # multiplications that take as long as a gradient of one output at one point of the quadrature
_ACCELERATION = 400  # multiplications of a step for each unknown
_TOLERANCE, _CONVERGED = 1e-6, 1e-4  # of the residual relative to that at the start: aimed at, accepted
_FIT_STEPS = 100  # from `q(u)` as it was trained to the optimum
_MOST_STEPS = 100  # of a refit that nobody asked for


@dataclass(frozen=True)
class ProblemSize:
    """`examples` `N`, `processes` `l`, `inducing` points `M`, `outputs` `c`, and `points` of the quadrature."""

    examples: int
    processes: int
    inducing: int
    outputs: int
    points: int

    @property
    def step(self) -> float:
        """Multiplications of a step."""
        n, l, m = self.examples, self.processes, self.inducing
        quadrature = _EVALUATION * n * self.points * self.outputs
        return float(l * (2 * n * m * m + 3 * m**3 + _ACCELERATION * m * m) + quadrature)


@dataclass(frozen=True)
class VariationalRefit:
    """Refits of a variational Gaussian process, `posteriors.capabilities.Refit`; `load` reads the examples once.

    `features`: inputs → `z [k, l, M]` in the coordinates of `load`, in which `q(u)` as trained is `N(0, I)`.
    """

    load: Callable[[], VariationalObjective]
    features: Callable[[Any], Array]
    size: ProblemSize
    _found: dict[int, tuple[Array, Array]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def trained(self) -> VariationalObjective:
        """The objective in coordinates of `q(u)` as trained."""
        return self.load()

    @cached_property
    def fit(self) -> FixedPoints:
        """`q(u)` at the optimum with all examples."""
        found = self.trained.fixed_points(self.trained.weight[None], _FIT_STEPS, _TOLERANCE)
        if not found.remaining[0] <= _CONVERGED:
            raise DataError(
                f"expected a q(u) near the optimum of the ELBO, by its own training: {_FIT_STEPS} steps from where it "
                "stands did not reach it"
            )
        return found

    @cached_property
    def optimum(self) -> VariationalObjective:
        """The objective in coordinates of the optimum."""
        return self.trained.at_optimum(self.fit.mean[0], self.fit.precision[0])

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    @property
    def distance_is_affordable(self) -> bool:
        """Whether a step takes no longer than a second of one core."""
        return self.size.step <= _BUDGET

    def max_automatic_refits(self) -> int:
        """Number of refits that take no longer than a second of one core."""
        return int(_BUDGET // (_STEPS * self.size.step))

    @property
    def own(self) -> OwnRefits:
        """Refits without single examples, of which their own outputs are asked."""
        return OwnRefits(self.own_deviations, lambda: self._affordable(_BUDGET))

    @property
    def at_queries(self) -> ExampleRefits:
        """Refits without single examples, of which predictions are asked."""
        return ExampleRefits(self._at, lambda: self._affordable(_EXAMPLES_BUDGET))

    def _affordable(self, budget: float) -> int:
        """Number of refits of so many multiplications; none where the optimum with all examples is not found."""
        affordable = int(budget // (_STEPS * self.size.step))
        try:
            return affordable if affordable and len(self.fit.mean) else 0
        except DataError:
            return 0

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` without the rows `removed`, and the residual relative to the first.

        Raises
        ------
        DataError
            The optimum with all examples was not found.
        """
        removed, losses = np.asarray(removed, dtype=np.intp), self.optimum.losses
        if not len(removed):
            return losses.output[wanted], 0.0
        found = self._without([removed], steps)
        return losses.outputs(found.mean)[0, wanted], float(min(found.residual[0], 1.0))

    def own_deviations(self, rows: Array) -> Array:
        """`Δf [k, c]` of each row's own outputs without it; NaN where the fixed point was not reached."""
        return np.stack([each[0] for each in self._own(rows)])

    def own_variances(self, rows: Array) -> Array:
        """Variances `V + r [k, c, c]` of each row's own outputs without it; NaN where that was not reached."""
        return np.stack([each[1] for each in self._own(rows)])

    def _own(self, rows: Array) -> list[tuple[Array, Array]]:
        """Deviations and variances without each row, computed once."""
        missing = np.asarray([row for row in np.asarray(rows).tolist() if row not in self._found], dtype=np.intp)
        if len(missing):
            losses, found = self.optimum.losses, self._without([missing[k : k + 1] for k in range(len(missing))])
            f, v = losses.at(missing, found.mean, found.precision)
            reached = found.residual <= _CONVERGED
            deviation = np.where(reached[:, None], f - losses.output[missing], np.nan)
            variance = np.where(reached[:, None, None], v, np.nan)
            self._found.update(zip(missing.tolist(), zip(deviation, variance, strict=True), strict=True))
        return [self._found[row] for row in np.asarray(rows).tolist()]

    def _at(self, inputs: Any) -> Callable[[Array], Array]:
        root, mixing = self.fit.root[0], self.optimum.losses.mixing
        z = np.einsum("klm,lmj->klj", self.features(inputs), root)

        def deviations(rows: Array) -> Array:
            found = self._without([np.asarray([row]) for row in rows])
            mean = np.where((found.residual <= _CONVERGED)[:, None, None], found.mean, np.nan)
            return np.asarray(np.einsum("klj,blj,cl->kbc", z, mean, mixing))

        return deviations

    def _without(self, removed: list[Array], steps: int = _MOST_STEPS) -> FixedPoints:
        weight = np.tile(self.optimum.weight, (len(removed), 1))
        for k, rows in enumerate(removed):
            weight[k, rows] = 0.0
        return self.optimum.fixed_points(weight, steps, _TOLERANCE)
