"""Gaussian process classifiers without some examples, hyperparameters fixed: Newton's method to the latent mode.

With `K = L Lᵀ` the latent function `f = L b` is a linear predictor with penalty `½‖b‖²`: the mode without an example is
that of a penalised logistic regression, and refits, second steps and their bounds are those of linear models. Source:
Rasmussen & Williams 2006, section 3.4 (the mode), 2.1.2 (features).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cholesky
from scipy.linalg.lapack import dtrtri

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import CovarianceRoot
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.models.joint_refits import JointNewtonRefit
from memorymaps.models.kernels.gram_root import GramRoot
from memorymaps.models.linear.newton_refit import LinearRefit, TrainingRows
from memorymaps.posteriors.capabilities import ExampleRefits, OwnRefits

_BUDGET = 2 * 10**9  # multiplications for refits that nobody asked for: half a second of one core …
_NEWTON_STEPS = 25  # … or a fit's own, so many times `N³/6` (measured: 1.2 to 1.5 s for 1,000 examples)
_CHORD_STEPS = 6  # of refits without single examples, all together (measured: 2 to 12)
_PRODUCTS = 100  # with the data in a refit without several
_CALL = 200_000  # multiplications that take as long as NumPy's overhead of one product
_EXAMPLES_BUDGET = 2 * 10**10  # multiplications when predictions are asked about: ten seconds of one core


@dataclass(frozen=True)
class LatentProblem:
    """A binary Gaussian process classifier on those of all `N` training examples whose weight is one.

    `gram [N, N]`; targets 0 or 1 `[N]`; `weight [N]`, 0 or 1; dual variables `y − π [N]` of the fit, zero where the
    weight is; `cross`: inputs → `k(x, X) [k, N]`.
    """

    gram: Array
    target: Array
    weight: Array
    duals: Array
    cross: Callable[[Any], Array]

    @cached_property
    def root(self) -> GramRoot:
        """Features of the training inputs."""
        return GramRoot.of(self.gram)

    @cached_property
    def linear(self) -> LinearRefit:
        """Refits of the linear predictor `f = L b`, from `b = Lᵀ(y − π)`."""
        x = self.root.features
        likelihood, b = Bernoulli(), (x.T @ self.duals)[:, None]
        curvature = self.weight * likelihood.curvature(x @ b, self.target)[:, 0, 0]
        factor = cholesky(np.eye(x.shape[1]) + x.T @ (curvature[:, None] * x), lower=True)
        structure = CovarianceRoot(np.ascontiguousarray(dtrtri(factor, lower=1)[0].T)[None])
        rows = TrainingRows(x, self.target, self.weight, np.zeros((len(x), 1)))
        return LinearRefit(likelihood, b, lambda _: np.ones_like(b), structure, lambda: rows, len(x))

    def own_deviations(self, rows: Array, most: int) -> Array:
        """`Δf [k]` of each of some rows at the mode without it; NaN where that was not reached."""
        z = self.linear.structure.covariance_root(self.root.features[rows])[:, 0]
        return np.asarray(np.sum(z * self.linear.single_removals(rows, most), axis=1))

    def deviations_at(self, inputs: Any) -> Callable[[Array], Array]:
        """`rows [b] → Δf [k, b]` at `k` inputs, at the modes without each of some rows."""
        z = self.linear.structure.covariance_root(self.root.at(self.cross(inputs)))[:, 0]
        return lambda rows: np.asarray(z @ self.linear.single_removals(rows).T)


@dataclass(frozen=True)
class LatentRefit:
    """Refits of binary Gaussian process classifiers, one an output; `posteriors.capabilities.NewtonRefit`.

    `fits`: how many fits chose the hyperparameters, 1 where they were given. Refits that nobody asked for take no
    longer than these.
    """

    problems: Sequence[LatentProblem]
    fits: int

    @cached_property
    def joint(self) -> JointNewtonRefit:
        """The refits of all outputs."""
        return JointNewtonRefit(tuple(problem.linear for problem in self.problems))

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    @property
    def capability(self) -> OwnRefits:
        """Refits without single examples, of which their own outputs are asked."""
        return OwnRefits(self.own_deviations, self.affordable)

    @property
    def at_queries(self) -> ExampleRefits:
        """Refits without single examples, of which predictions are asked."""
        return ExampleRefits(self._at, lambda: int(_EXAMPLES_BUDGET // self._each(_CHORD_STEPS)))

    def max_automatic_refits(self) -> int:
        """Number of refits, one by one, that take no longer than the fit, or half a second of one core."""
        calls = _PRODUCTS * _CALL * len(self.problems)
        return int(self._budget() // (self._each(_PRODUCTS) + calls))

    def affordable(self) -> int:
        """The same for refits without single examples, all together."""
        return int(self._budget() // self._each(_CHORD_STEPS))

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` at the mode without the rows `removed`; how far it still is."""
        return self.joint.refit(np.asarray(removed, dtype=np.intp), wanted, steps, tolerance)

    def second_step(self, rows: Array) -> tuple[Array, Array]:
        """What a second Newton step would change `[k, c]` for each row left out, and a bound `[k, c]` on it."""
        return self.joint.second_step(rows)

    def own_deviations(self, rows: Array) -> Array:
        """`Δf [k, c]` of each row's own outputs without it; NaN where a mode was not reached."""
        most = self.max_automatic_refits()
        return np.stack([problem.own_deviations(rows, most) for problem in self.problems], axis=1)

    def _at(self, inputs: Any) -> Callable[[Array], Array]:
        each = [problem.deviations_at(inputs) for problem in self.problems]
        return lambda rows: np.stack([of(rows) for of in each], axis=2)

    def _budget(self) -> float:
        n = len(self.problems[0].gram)
        return max(_BUDGET, self.fits * len(self.problems) * _NEWTON_STEPS * n**3 / 6)

    def _each(self, products: int) -> float:
        """Multiplications of so many products with the data and their transposes, and with the covariance's root."""
        sizes = (problem.root.features.shape for problem in self.problems)
        return float(products * sum(2 * n * r + 2 * r * r for n, r in sizes))
