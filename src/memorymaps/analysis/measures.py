"""Classical case statistics under their classical names, from a linear or GLM map, without refits.

Signs are the classics': residual = truth − prediction. Leave-one-out scale: `s²_(i) = ((n−p) s² − r_i²)/(n−p−1)`
where the dispersion was estimated (one-step for GLMs), the known dispersion otherwise. GLM versions are one-step, on
Pearson residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.memory_map import MemoryMap


def _one_output(m: MemoryMap) -> None:
    if "standardised_error" not in m.table.column_names:
        raise ValueError(f"classical measures are defined for one output; this map has {m.provenance.outputs}")


def hat_values(m: MemoryMap) -> Array:
    """Diagonal of the hat matrix, `h_i`: `[n]`."""
    _one_output(m)
    return m["leverage"]


def pearson_residuals(m: MemoryMap) -> Array:
    """`(y − μ)√w/√(φ v(μ))`: `[n]`, in standard deviations; the weight counts, so a case of weight 4 counts double."""
    _one_output(m)
    return -np.copysign(m["standardised_error"], m["residual"])  # a decreasing link turns e around, not y − μ


def _room(m: MemoryMap) -> Array:
    """`1 − h`, NaN where the example cannot be left out."""
    h = hat_values(m)
    return np.where(1 - h < 1e-10, np.nan, 1 - h)


def internally_studentised(m: MemoryMap) -> Array:
    """`r_i/√(1 − h_i)` with the dispersion of the whole fit: `[n]`. R: `rstandard`."""
    return pearson_residuals(m) / np.sqrt(_room(m))


def loo_scale(m: MemoryMap) -> Array:
    """`s_(i)/s`: `[n]`, the scale without example `i` relative to the scale of the fit; one if it is known."""
    d = m.provenance.description
    if not d.dispersion_estimated or d.residual_df is None:
        return np.ones(len(m))
    r2 = internally_studentised(m) ** 2
    return np.sqrt((d.residual_df - r2) / (d.residual_df - 1))


def externally_studentised(m: MemoryMap) -> Array:
    """`r_i s/(s_(i)√(1 − h_i))`: `[n]`, t-distributed on `n − p − 1` degrees of freedom in OLS. R: `rstudent`."""
    return internally_studentised(m) / loo_scale(m)


def _parameters(m: MemoryMap) -> int:
    rank = m.provenance.description.rank
    if rank is None:
        raise ValueError("the posterior of this map does not say how many parameters it has")
    return rank


def cooks_distance(m: MemoryMap) -> Array:
    """`D_i = t_i² h_i/((1 − h_i) p)`: `[n]` [CW]."""
    return internally_studentised(m) ** 2 * hat_values(m) / (_room(m) * _parameters(m))


def dffits(m: MemoryMap) -> Array:
    """Change of the fit in units of its own standard error, `t*_i √(h_i/(1 − h_i))`: `[n]`, external scale."""
    return externally_studentised(m) * np.sqrt(hat_values(m) / _room(m))


def dffits_internal(m: MemoryMap) -> Array:
    """DFFITS with the dispersion of the whole fit: `[n]`."""
    return internally_studentised(m) * np.sqrt(hat_values(m) / _room(m))


def covratio(m: MemoryMap) -> Array:
    """`det Cov(θ̂_(i))/det Cov(θ̂) = (s_(i)/s)^{2p}/(1 − h_i)`: `[n]`."""
    return loo_scale(m) ** (2 * _parameters(m)) / _room(m)


def press_residuals(m: MemoryMap) -> Array:
    """`y_i − ŷ_(i)`: `[n]`, in units of the target."""
    _one_output(m)
    return -m["residual"] - _change_of_mean(m)


def _change_of_mean(m: MemoryMap) -> Array:
    """`μ_(i) − μ_i`, signed."""
    return np.copysign(m["sensitivity"], m["deviation"])


def press(m: MemoryMap) -> float:
    """`Σ (y_i − ŷ_(i))²`, the predicted residual sum of squares; undefined rows are left out."""
    return float(np.nansum(press_residuals(m) ** 2))


def dfbeta(m: MemoryMap) -> Array:
    """`θ̂ − θ̂_(i)`, minus the parameters' move `S⁻¹J_iᵀ(1 − h_i)⁻¹e_i`: `[n, p]`, one pass, no refit.

    Columns in the order of `m.provenance.description.parameters`; aliased parameters are NaN.

    Raises
    ------
    ValueError
        The map was read from disk, or has several outputs.
    TypeError
        The posterior has no parameters to move.
    """
    _one_output(m)
    _origin(m).check_unchanged()
    parts = [_moves(m, batch) for batch in _origin(m).examples]
    change = np.concatenate(parts)[m["row"]]
    return np.where(_aliased(m), np.nan, change)


def _origin(m: MemoryMap) -> Origin:
    if m.origin is None:
        raise ValueError("DFBETA needs the posterior, and a map read from disk has none: use the map memory_map made")
    return m.origin


def _changes(origin: Origin) -> tuple[Callable[[Any], Array], Callable[[Array], Array]]:
    """`Z` of inputs, and parameters from its coordinates."""
    able = capabilities_of(origin.posterior)
    if able.covariance_root is None or able.from_whitened is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} has no parameters to compare: its capabilities lack covariance_root "
            "or from_whitened"
        )
    return able.covariance_root, able.from_whitened


def _moves(m: MemoryMap, batch: Batch) -> Array:
    origin = _origin(m)
    at = origin.local(batch)
    room = 1 - at.leverage
    push = at.error[:, 0] / np.where(room < 1e-10, np.nan, room)
    root, from_whitened = _changes(origin)
    return -from_whitened(root(batch.inputs)[:, 0] * push[:, None])[..., 0]


def _aliased(m: MemoryMap) -> Array:
    d = m.provenance.description
    return np.asarray([name in d.aliased for name in d.parameters])


def standard_errors(m: MemoryMap) -> Array:
    """`√diag S⁻¹`: `[p]`, the parameters' posterior standard deviations."""
    _one_output(m)
    from_whitened = _changes(_origin(m))[1]
    basis = from_whitened(np.eye(_parameters(m)))[..., 0]
    return np.sqrt(np.sum(basis**2, axis=0))


def dfbetas(m: MemoryMap) -> Array:
    """DFBETA in units of the parameters' standard errors at the leave-one-out scale: `[n, p]`. R: `dfbetas`."""
    return dfbeta(m) / standard_errors(m) / loo_scale(m)[:, None]


def dfbetas_internal(m: MemoryMap) -> Array:
    """The same at the scale of the whole fit (statsmodels' `GLMInfluence.dfbetas`): `[n, p]`."""
    return dfbeta(m) / standard_errors(m)


def influence_table(m: MemoryMap) -> pd.DataFrame:
    """All measures side by side, indexed by id; DFBETAS as `dfb_<parameter>` where the posterior is at hand."""
    import pandas as pd

    named = {
        "hat": hat_values(m), "rstandard": internally_studentised(m), "rstudent": externally_studentised(m),
        "cooks_distance": cooks_distance(m), "dffits": dffits(m), "covratio": covratio(m),
        "press_residual": press_residuals(m),
    }  # fmt: skip
    if m.origin is not None:
        betas = dfbetas(m)
        named |= {f"dfb_{name}": betas[:, j] for j, name in enumerate(m.provenance.description.parameters)}
    return pd.DataFrame(named, index=pd.Index(m["id"], name="id"))
