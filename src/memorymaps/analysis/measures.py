"""Classical influence measures of linear models and GLMs, from a map, without refits.

Signs as in the literature: residual = truth − prediction. Leave-one-out scale: `s²_(i) = ((n−p) s² − r_i²)/(n−p−1)`
where the dispersion was estimated (one-step for GLMs), the known or held dispersion otherwise. GLM versions are
one-step, on Pearson residuals. For classifiers, to compare with: `el2n`, `grand`, `area_under_margin`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.analysis.answers.baseline_scores import area_under_margin as area_under_margin
from memorymaps.analysis.answers.baseline_scores import el2n as el2n
from memorymaps.analysis.answers.baseline_scores import grand as grand
from memorymaps.core.arrays import Array, Batch
from memorymaps.maps.memory_map import MemoryMap, require_map
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    import pandas as pd


def _one_output(m: MemoryMap) -> None:
    if "standardised_error" not in require_map(m).table.column_names:
        raise ValueError(
            f"classical measures are defined for one output; this map has {m.provenance.outputs}: use "
            "m['leverage'] and the other columns"
        )


def hat_values(m: MemoryMap) -> Array:
    """Diagonal of the hat matrix, `h_i`: `[n]`."""
    _one_output(m)
    return m["leverage"]


def pearson_residuals(m: MemoryMap) -> Array:
    """`(y − μ)√w/√(φ v(μ))`: `[n]`, in standard deviations; proportional to the square root of the weight."""
    _one_output(m)
    return -np.copysign(m["standardised_error"], m["residual"])  # a decreasing link changes the sign of e, not of y − μ


def _one_minus_leverage(m: MemoryMap) -> Array:
    """`1 − h`: `[n]`, NaN at the bound `h = 1`."""
    h = hat_values(m)
    return np.where(1 - h < 1e-10, np.nan, 1 - h)


def internally_studentised(m: MemoryMap) -> Array:
    """`r_i/√(1 − h_i)` with the dispersion of the whole fit: `[n]`. R: `rstandard`."""
    return pearson_residuals(m) / np.sqrt(_one_minus_leverage(m))


def loo_scale(m: MemoryMap) -> Array:
    """`s_(i)/s`: `[n]`, the scale without example `i` relative to that of the fit; one for known dispersion.

    One, too, where the dispersion was estimated without residual degrees of freedom (`Description.residual_df` is
    `None`, as for `BayesianRidge`, whose evidence chooses it): the scale is then held at its value, so that `rstudent`
    equals `rstandard` and `dffits` equals `dffits_internal`.
    """
    d = m.provenance.description
    if not d.dispersion_estimated or d.residual_df is None:
        return np.ones(len(m))
    r2 = internally_studentised(m) ** 2
    return np.sqrt((d.residual_df - r2) / (d.residual_df - 1))


def externally_studentised(m: MemoryMap) -> Array:
    """`r_i s/(s_(i)√(1 − h_i))`: `[n]`, t-distributed on `n − p − 1` degrees of freedom in OLS. R: `rstudent`."""
    return internally_studentised(m) / loo_scale(m)


def _num_parameters(m: MemoryMap) -> int:
    rank = m.provenance.description.rank
    if rank is None:
        raise ValueError("the posterior of this map has no number of parameters (Description.rank)")
    return rank


def cooks_distance(m: MemoryMap) -> Array:
    """`D_i = t_i² h_i/((1 − h_i) p)`: `[n]` [CW]."""
    return internally_studentised(m) ** 2 * hat_values(m) / (_one_minus_leverage(m) * _num_parameters(m))


def dffits(m: MemoryMap) -> Array:
    """Change of the fit in units of its own standard error, `t*_i √(h_i/(1 − h_i))`: `[n]`, external scale."""
    return externally_studentised(m) * np.sqrt(hat_values(m) / _one_minus_leverage(m))


def dffits_internal(m: MemoryMap) -> Array:
    """DFFITS with the dispersion of the whole fit: `[n]`."""
    return internally_studentised(m) * np.sqrt(hat_values(m) / _one_minus_leverage(m))


def covratio(m: MemoryMap) -> Array:
    """`det Cov(θ̂_(i))/det Cov(θ̂) = (s_(i)/s)^{2p}/(1 − h_i)`: `[n]`."""
    return loo_scale(m) ** (2 * _num_parameters(m)) / _one_minus_leverage(m)


def hadi(m: MemoryMap) -> Array:
    """Potential plus residual, `h_i/(1 − h_i) + p/(1 − h_i) · d_i²/(1 − d_i²)` with `d_i² = r_i²/Σ r_j²`: `[n]`.

    Large for unusual inputs, for badly fitted targets, and for both; R: `olsrr::ols_hadi` [Hadi 1992]. Of a part of a
    map `Σ r_j²` is the residual degrees of freedom; NaN where these are unknown.
    """
    share = pearson_residuals(m) ** 2 / _sum_of_squares(m)
    with np.errstate(divide="ignore"):
        return (hat_values(m) + _num_parameters(m) * share / (1 - share)) / _one_minus_leverage(m)


def _sum_of_squares(m: MemoryMap) -> float:
    """`Σ r_j²` over all training examples, in units of the dispersion."""
    d = m.provenance.description
    if len(m) == m.provenance.n:
        return float(np.sum(pearson_residuals(m) ** 2))
    return d.residual_df if d.dispersion_estimated and d.residual_df is not None else np.nan


def press_residuals(m: MemoryMap) -> Array:
    """`y_i − ŷ_(i)`: `[n]`, in units of the target."""
    _one_output(m)
    return -m["residual"] - _change_of_mean(m)


def _change_of_mean(m: MemoryMap) -> Array:
    """`μ_(i) − μ_i`, signed."""
    return np.copysign(m["sensitivity"], m["deviation"])


def press(m: MemoryMap) -> float:
    """`Σ (y_i − ŷ_(i))²`, the predicted residual sum of squares, without undefined rows."""
    return float(np.nansum(press_residuals(m) ** 2))


def dfbeta(m: MemoryMap) -> Array:
    """`θ̂ − θ̂_(i) = −S⁻¹J_iᵀ(1 − h_i)⁻¹e_i`: `[n, p]`, in one pass, without refits. R: `dfbeta`.

    Columns in the order of `m.provenance.description.parameters`; aliased parameters are NaN.

    Raises
    ------
    ValueError
        The map was read from disk, or has several outputs.
    TypeError
        The posterior has no parameters.
    """
    _one_output(m)
    _origin(m).check_unchanged()
    parts = [_parameter_changes(m, batch) for batch in _origin(m).examples]
    change = np.concatenate(parts)[m["row"]]
    return np.where(_aliased_mask(m), np.nan, change)


def _origin(m: MemoryMap) -> Origin:
    if m.origin is None:
        raise ValueError(
            "DFBETA needs the posterior, and a map read from disk has none: use the map returned by memory_map"
        )
    return m.origin


def _parameter_maps(origin: Origin) -> tuple[Callable[[Any], Array], Callable[[Array], Array]]:
    """The posterior's `covariance_root` and `from_whitened`."""
    capabilities = capabilities_of(origin.posterior)
    if capabilities.covariance_root is None or capabilities.from_whitened is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} has no parameters to compare: its capabilities lack covariance_root "
            "or from_whitened"
        )
    return capabilities.covariance_root, capabilities.from_whitened


def _parameter_changes(m: MemoryMap, batch: Batch) -> Array:
    origin = _origin(m)
    stats: Any = origin.batch_statistics(batch)
    one_minus_h = 1 - stats.leverage
    error, penalty = stats.error, capabilities_of(origin.posterior).penalty
    if penalty is not None:
        error = error + stats.curvature[..., 0] * stats.penalty_response
    scaled = error[:, 0] / np.where(one_minus_h < 1e-10, np.nan, one_minus_h)
    root, from_whitened = _parameter_maps(origin)
    u = root(batch.inputs)[:, 0] * scaled[:, None]
    return -from_whitened(u if penalty is None else u + stats.weight[:, None] * penalty.coordinates)[..., 0]


def _aliased_mask(m: MemoryMap) -> Array:
    d = m.provenance.description
    return np.asarray([name in d.aliased for name in d.parameters])


def standard_errors(m: MemoryMap) -> Array:
    """`√diag S⁻¹`: `[p]`, the parameters' posterior standard deviations."""
    _one_output(m)
    variance = capabilities_of(_origin(m).posterior).parameter_variance
    if variance is not None:
        return np.sqrt(variance()[:, 0])
    from_whitened = _parameter_maps(_origin(m))[1]
    basis = from_whitened(np.eye(_num_parameters(m)))[..., 0]
    return np.sqrt(np.sum(basis**2, axis=0))


def dfbetas(m: MemoryMap) -> Array:
    """DFBETA in units of the parameters' standard errors at the leave-one-out scale: `[n, p]`. R: `dfbetas`."""
    return dfbeta(m) / standard_errors(m) / loo_scale(m)[:, None]


def dfbetas_internal(m: MemoryMap) -> Array:
    """The same at the scale of the whole fit (statsmodels' `GLMInfluence.dfbetas`): `[n, p]`."""
    return dfbeta(m) / standard_errors(m)


def influence_table(m: MemoryMap) -> pd.DataFrame:
    """All measures, one row per example (index: id); with DFBETAS as `dfb_<parameter>` for a map in memory.

    `rstudent`, `dffits`, `covratio` and DFBETAS use the scale without the example where the dispersion was estimated
    with known degrees of freedom, else that of the whole fit (`loo_scale`). The measures of `TABLE` come first, then
    those that were added by `register`. The explorer shows all with `m.explore(path, columns=influence_table(m))`.

    Raises
    ------
    ValueError
        The map has several outputs, or a registered measure is not one number per example.
    """
    import pandas as pd

    columns = {name: evaluate(name, m) for name in (*TABLE, *REGISTERED)}
    if m.origin is not None:
        betas = dfbetas(m)
        columns |= {f"dfb_{name}": betas[:, j] for j, name in enumerate(m.provenance.description.parameters)}
    return pd.DataFrame(columns, index=pd.Index(m["id"], name="id"))


Measure = Callable[["MemoryMap"], Array]

# the package's columns of `influence_table`, in order: one number per example `[n]`
TABLE: dict[str, Measure] = {
    "hat": hat_values,
    "rstandard": internally_studentised,
    "rstudent": externally_studentised,
    "cooks_distance": cooks_distance,
    "dffits": dffits,
    "covratio": covratio,
    "press_residual": press_residuals,
    "hadi": hadi,
}

# the user's, added by `register`
REGISTERED: dict[str, Measure] = {}


def register(name: str) -> Callable[[Measure], Measure]:
    """Decorator: add a function of a map, one number per example, as the column `name`; `unregister(name)` undoes it.

    It becomes a column of `influence_table` and of the explorer, and a score of `HalfNormalDisplay`.

    Raises
    ------
    ValueError
        There is a measure of that name already.
    """
    if name in TABLE or name in REGISTERED:
        known = list(TABLE | REGISTERED)
        raise ValueError(
            f"there is a measure {name!r} already, of {known}: choose another name, or, for one of your own, "
            f"measures.unregister({name!r}) first"
        )

    def add(measure: Measure) -> Measure:
        REGISTERED[name] = measure
        return measure

    return add


def unregister(name: str) -> None:
    """Remove a measure that `register` has added.

    Raises
    ------
    ValueError
        No measure of that name was registered.
    """
    if name not in REGISTERED:
        raise ValueError(f"no measure {name!r} was registered: expected one of {list(REGISTERED)}")
    del REGISTERED[name]


def evaluate(name: str, m: MemoryMap) -> Array:
    """The measure `name`, of `TABLE` or registered, at every example of a map: `[n]`.

    Raises
    ------
    KeyError
        There is no measure of that name.
    ValueError
        It is not defined for this map, or returns something else than one number per example.
    """
    known = TABLE | REGISTERED
    if name not in known:
        raise KeyError(f"no measure {name!r}: expected one of {list(known)}")
    values = np.asarray(known[name](m))
    if values.shape != (len(m),) or values.dtype.kind not in "biuf":
        raise ValueError(
            f"the measure {name!r} returned {values.dtype} of shape {values.shape}: expected one number for each "
            f"example, shape ({len(m)},)"
        )
    return values
