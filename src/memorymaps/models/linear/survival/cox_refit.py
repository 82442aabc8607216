"""Cox regression fitted again without some subjects: damped Newton steps from the fitted coefficients.

In the posterior's own coordinates, `β = β̂ + Lu`, in which nearly collinear columns lose no digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.models.linear.survival.partial_likelihood import PartialLikelihood
from memorymaps.models.linear.survival.proportional_hazards import CoxPosterior, Subjects

_BUDGET = 10**9  # multiplications for refits that nobody asked for: about half a second of one core
_STEPS = 4  # of Newton's method in a refit …
_PASSES = 12  # … over the risk sets `[n, K]` in each, besides one for each covariate
_VANISHING = 1.0  # change of `log w` by a Newton step from `w = 1` to 0
_CALLS = 2 * 10**6  # multiplications that take as long as the calls of a refit of few subjects


@dataclass(frozen=True)
class CoxRefit:
    """Refits without some subjects, `posteriors.capabilities.Refit`; equals statsmodels' fit of the others.

    The baseline hazard is that of the others. A jump at an event time of the subject alone vanishes without it; its
    logarithm moves as by the map's Newton step, so that losses of refitted and of other subjects compare.
    """

    fitted: CoxPosterior
    inputs: Array
    ties: str

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once, in threads."""
        return True

    def max_automatic_refits(self) -> int:
        """Number of refits in about half a second."""
        sets = len(self.inputs) * len(self.fitted.log_jump)
        return int(_BUDGET // (_STEPS * sets * (_PASSES + len(self.fitted.beta)) + _CALLS))

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, 2]` of the rows `wanted`, and 0 where Newton's method has converged, else 1."""
        return self.refit_with_coefficients(removed, wanted, steps)[:2]

    def refit_with_coefficients(
        self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05
    ) -> tuple[Array, float, Array]:
        """`refit`, and `β̂ [p, 1]`: `posteriors.capabilities.CoefficientRefit`."""
        rows = self._whitened[wanted]
        if not len(removed):
            return self._all.outputs(rows), 0.0, self.fitted.beta[:, None]
        likelihood = PartialLikelihood(np.delete(self._whitened, removed, axis=0), self.ties)
        u, around, moving = likelihood.minimised(self._all.beta, steps)
        rest = likelihood.posterior(u, around, self.fitted.description)
        f, alone = rest.outputs(rows), ~rest.has_event_cell(rows)
        f[alone, 1] = self._log_hazard_of_only_events(rows[alone], u)
        return f, moving, (self.fitted.beta + self.fitted.root @ u)[:, None]

    @cached_property
    def _whitened(self) -> Array:
        """The inputs with covariates `(x − x̄) L`, and `(x − x̄)ᵀβ̂` in the offset; jumps take what is left."""
        s = Subjects.of(self.inputs)
        centred = s.x - s.x.mean(axis=0)
        offset = s.offset + centred @ self.fitted.beta
        return np.column_stack([centred @ self.fitted.root, s.time, s.entry, s.stratum, offset, s.event])

    @cached_property
    def _all(self) -> CoxPosterior:
        """With all subjects, at `u = 0`."""
        likelihood, u = PartialLikelihood(self._whitened, self.ties), np.zeros(len(self.fitted.beta))
        return likelihood.posterior(u, likelihood.around(u), self.fitted.description)

    def _log_hazard_of_only_events(self, inputs: Array, u: Array) -> Array:
        """`log hazard + (x − x̄_k)ᵀu − 1 [n]`: `∂ log jump/∂u = −x̄_k`, and Newton's step in the subject's weight."""
        s = Subjects.of(inputs)
        centred = s.x - self._all.cells.event_share(s) @ self._all.means
        return np.asarray(self._all.outputs(inputs)[:, 1] + centred @ u - _VANISHING)
