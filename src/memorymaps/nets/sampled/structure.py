"""The structure `"sampled"` as the user asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.curvature import sampled
from memorymaps.nets.sampled.posterior import sampled_posterior


@dataclass(frozen=True)
class Sampled(CurvatureStructure):
    """Rows of the weighted Jacobian drawn at random, each example's own rows left out of its own posterior.

    `S̃ = diag δ + Σ_{drawn} W a aᵀ`, `a_ij = L_ijᵀJ_i`, `Λ_i = L_iL_iᵀ`. No leverage can pass its bound, however few
    rows are drawn; four rows an effective parameter give sizes to a tenth or so, and the map states its own error.
    For networks that `"full"` and `"dual"` cannot hold.

    Parameters
    ----------
    rows : how many rows to draw. Default: 256, and twice as many until the map's own standard error is at most `error`
        or the next step would pass `minutes` or 4 GB; the map says which.
    error : relative standard error asked of leverage and sensitivity over the training examples, and of the mean
        left-out loss.
    seed : of the draw; the same seed, data and network give the same map.
    minutes : what the map may cost, in multiplications that take one core a minute: counted before, not timed, so
        that the map does not depend on the machine.

    Raises
    ------
    ValueError
        Numbers that are not positive, a seed below zero.

    Examples
    --------
    >>> Sampled(rows=4000).rows
    4000
    """

    rows: int | None = None
    error: float = 0.1
    seed: int = 0
    minutes: float = 10.0
    name = "sampled"

    def __post_init__(self) -> None:
        if self.rows is not None and (isinstance(self.rows, bool) or self.rows != int(self.rows) or self.rows < 1):
            raise ValueError(f"rows = {self.rows!r}: expected a whole number of rows ≥ 1, or None to let them grow")
        if not 0 < self.error < float("inf") or not 0 < self.minutes < float("inf"):
            raise ValueError(f"error = {self.error!r}, minutes = {self.minutes!r}: expected positive numbers")
        if self.seed != int(self.seed) or self.seed < 0:
            raise ValueError(f"seed = {self.seed!r}: expected a whole number ≥ 0")

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[SampledCovariance]:
        """Rows drawn until the requested error, the budget or memory is reached, or as many as were requested."""
        return replace(sampled(problem, self), posterior=sampled_posterior)
