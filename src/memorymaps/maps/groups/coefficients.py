"""Coefficients without each group, their DFBETAS, and Cook's distance of a group.

    D_M = (θ̂ − θ̂_(M))ᵀ S (θ̂ − θ̂_(M))/p = ‖u‖²/p        DFBETAS_Mj = (θ̂_j − θ̂_(M)j)/(s_(M) √(S⁻¹)_jj/s)

`s²_(M) = Σ_{i ∉ M} r_i(θ̂_(M))²/(n − p − m)` where the dispersion was estimated with known degrees of freedom, else
`s²`. Source: Cook & Weisberg 1982; Belsley, Kuh & Welsch 1980, of one row; of sets Preisser & Qaqish 1996.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description


class RestPearson:
    """`Σ_{i ∉ M} e_i²/Λ_i [c, g]`, Pearson's χ² of the other examples without each group, and what the groups weigh."""

    def __init__(self, groups: int, c: int):
        self.sum = np.zeros((c, groups))
        self.removed = np.zeros(groups)

    def add(self, k: int, inside: Array, counts: Array, f: Array, stats: Any) -> None:
        """Add a batch at outputs `f [n, c]` without group `k`."""
        fisher = stats.likelihood.fisher_diagonal(f, stats.y)
        square = stats.weight[:, None] * stats.likelihood.error(f, stats.y) ** 2
        pearson = np.divide(square, fisher, out=np.zeros_like(fisher), where=fisher > 0)
        self.sum[:, k] += np.sum(pearson[~inside], axis=0)
        self.removed[k] += np.sum(counts[inside])

    def scale(self, description: Description) -> Array:
        """`s_(M)/s [c, g]`: 1 where the dispersion is known or held; NaN without degrees of freedom left."""
        if not description.dispersion_estimated or description.residual_df is None:
            return np.ones_like(self.sum)
        left = description.residual_df - self.removed
        return np.sqrt(np.where(left > 0, self.sum / np.where(left > 0, left, 1), np.nan))


def cooks_distances(u: Array, rank: int) -> Array:
    """`‖u‖²/p [g]` for changes of the whitened parameters `u [g, r]`."""
    return np.asarray(np.sum(u**2, axis=1) / rank)


def coefficient_columns(
    capabilities: Capabilities, description: Description, u: Array | None, refitted: Array | None, scale: Array
) -> dict[str, Array]:
    """`leave_out_coefficients` and `dfbetas`, `[g, p c]` each; none for posteriors without named parameters.

    From coefficients `refitted [g, p, c]` or changes `u [g, r]`. DFBETAS are NaN where the standard error is zero
    (coefficients that an L1 penalty holds at zero).
    """
    change = _changes(capabilities, description, u, refitted)
    if change is None or capabilities.coefficients is None:
        return {}
    change[:, [name in description.aliased for name in description.parameters]] = np.nan
    rank, own = 0 if u is None else u.shape[1], capabilities.coefficients()
    if own.shape[1] != len(scale):  # outputs that share their coefficients (thresholds and slopes, hazards)
        scale = np.ones((own.shape[1], len(change)))
    error = standard_errors(capabilities, rank)
    with np.errstate(invalid="ignore", divide="ignore"):
        dfbetas = -change / (np.where(error > 0, error, np.nan) * scale.T[:, None, :])
    return {
        "leave_out_coefficients": (own + change).reshape(len(change), -1),
        "dfbetas": dfbetas.reshape(len(change), -1),
    }


def _changes(
    capabilities: Capabilities, description: Description, u: Array | None, refitted: Array | None
) -> Array | None:
    """`θ̂_(M) − θ̂ [g, p, c]`; None where it is not known."""
    if capabilities.coefficients is None or not description.parameters:  # several targets have no one list of names
        return None
    if refitted is not None:
        return refitted - capabilities.coefficients()
    return None if u is None or capabilities.from_whitened is None else capabilities.from_whitened(u)


def standard_errors(capabilities: Capabilities, rank: int) -> Array:
    """`√diag S⁻¹ [p, c]`."""
    if capabilities.parameter_variance is not None:
        return np.asarray(np.sqrt(capabilities.parameter_variance()))
    assert capabilities.from_whitened is not None
    return np.asarray(np.sqrt(np.sum(capabilities.from_whitened(np.eye(rank)) ** 2, axis=0)))


def coefficient_names(description: Description, number: int) -> tuple[str, ...]:
    """Names of the `p c` coefficients: parameters, with the class or output they belong to where there are several."""
    c = number // len(description.parameters)
    if c == 1:
        return description.parameters
    outputs = description.classes if len(description.classes) == c else range(c)
    return tuple(f"{name}:{output}" for name in description.parameters for output in outputs)
