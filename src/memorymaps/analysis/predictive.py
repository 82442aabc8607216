"""Leave-one-out predictive distributions of models with Gaussian noise, in closed form from the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import NEARLY_SINGULAR
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.result_table import RemovalTable
from memorymaps.posteriors.group_refits import held_in_words

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap


@dataclass(frozen=True, repr=False)
class LooPredictive(RemovalTable):
    """`p(y_i ∣ x_i, data without i) = N(mean_i, variance_i)` including noise, for every example of the map.

    Columns: `id`; `mean`, `variance` (one or `c` values); `log_density`. `held`: what is held at its value although it
    was computed from all examples, as in `m.trust`.
    """

    @property
    def mean(self) -> Array:
        """Means, `[n, c]`, in units of the target."""
        return _by_output(self["mean"])

    @property
    def variance(self) -> Array:
        """Variances with the noise, `[n, c]`, in squared units of the target."""
        return _by_output(self["variance"])

    @property
    def log_density(self) -> Array:
        """`log p(y_i ∣ ·)` of all outputs jointly, `[n]`, in nats."""
        return self["log_density"]

    @property
    def total(self) -> float:
        """`Σ_i log p(y_i ∣ ·)`, the leave-one-out log pseudo-likelihood of the hyperparameters."""
        return float(np.sum(self.log_density))


def _by_output(values: Array) -> Array:
    return values if values.ndim == 2 else values[:, None]


def loo_predictive(m: MemoryMap) -> LooPredictive:
    """Leave-one-out predictive means, variances and log densities [Rasmussen & Williams 2006, eqs. 5.10–5.12].

    `mean = f + Δf`, `variance = φ/w + V(I − ΛV)⁻¹ = 1/[(K + φ/w)⁻¹]_ii`, its diagonal for several outputs. An
    estimated dispersion is kept fixed.

    Raises
    ------
    TypeError
        The likelihood is not Gaussian.
    ValueError
        Several outputs, and the map was read from disk.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> round(loo_predictive(memory_map(Ridge(alpha=0.1).fit(X, y), X, y)).total / 442, 3)
    -5.42
    """
    d = m.provenance.description
    if d.likelihood not in ("Gaussian", "correlated Gaussian") or (d.dispersion is None and d.likelihood == "Gaussian"):
        raise TypeError(f"the likelihood is {d.likelihood}: closed forms need Gaussian noise; see the column loo_loss")
    mean = m["loo_prediction"].reshape(len(m), -1)
    gap = mean - (m["prediction"].reshape(len(m), -1) - m["residual"].reshape(len(m), -1))
    covariance = _loo_covariances(m)
    solved = np.linalg.solve(covariance, gap[..., None])[..., 0]
    with np.errstate(invalid="ignore"):  # undefined rows are NaN
        log_determinant = np.linalg.slogdet(2 * math.pi * covariance)[1]
    log_density = -0.5 * (np.sum(gap * solved, axis=1) + log_determinant)
    columns = {"id": m["id"], "mean": mean, "variance": np.linalg.diagonal(covariance), "log_density": log_density}
    return LooPredictive(pa.Table.from_batches([to_record_batch(columns)]), held=held_in_words(d))


def _loo_covariances(m: MemoryMap) -> Array:
    """Leave-one-out predictive covariances, noise included: `[n, c, c]`; NaN at the bound and for weight 0."""
    h = m["leverage"]
    if m.provenance.outputs == 1 and (m.origin is None or not np.any(1 - h < NEARLY_SINGULAR)):
        weight = np.where(m["weight"] > 0, m["weight"], np.nan)
        noise = np.asarray(m.provenance.description.dispersion, dtype=float).reshape(1) / weight
        return np.asarray(noise / np.where(1 - h < 1e-10, np.nan, 1 - h))[:, None, None]
    if m.origin is None:
        raise ValueError("several outputs need the posterior, and a map read from disk has none: use the map in memory")
    batches: Any = (m.origin.batch_statistics(batch) for batch in m.origin.examples)
    return np.concatenate([_noise_covariance(stats) + stats.cavity_variance for stats in batches])[m["row"]]


def _noise_covariance(stats: Any) -> Array:
    """Noise covariance `(wΛ)⁻¹ [n, c, c]`; NaN for weight 0."""
    return np.linalg.inv(np.where(stats.weight[:, None, None] > 0, stats.curvature, np.nan))
