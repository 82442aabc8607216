"""The left-out loss of a linear regression with its noise scale estimated again without the example, in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.maps.loo_averages import weights_of

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap


def loo_loss_scale_refitted(m: MemoryMap) -> Array:
    """`−log N(y_i; ŷ_(i), s²_(i)/w_i)`: `[n]`, in nats; the column `loo_loss` holds `s²` at the value of the whole fit.

    `s²_(i) = ((n − p) s² − w_i r_i²/(1 − h_i))/(n − p − 1)`: what refitting coefficients and noise variance without the
    example gives, for ordinary and weighted least squares. A row that stands for `w` rows takes `w` degrees of freedom.
    NaN where an example cannot be left out. (R: `rstudent` uses the same scale.)

    Raises
    ------
    TypeError
        Not an unpenalised linear regression with one target and an estimated noise variance.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> m = memory_map(LinearRegression().fit(X, y), X, y)
    >>> round(float(loo_loss_scale_refitted(m).mean()), 3)
    5.425
    """
    _check(m)
    d = m.provenance.description
    weight, h = weights_of(m), m["leverage"]
    room = np.where(1 - h < 1e-10, np.nan, 1 - h)
    residual = m["residual"]
    phi, df = float(np.asarray(d.dispersion, dtype=float).reshape(-1)[0]), float(d.residual_df or 0.0)
    counts = np.where(weight > 0, 1.0, 0.0) if m.provenance.weights_are_precisions else weight
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = (df * phi - weight * residual**2 / room) / (df - counts)
        own = scale / np.where(weight > 0, weight, 1.0) if m.provenance.weights_are_precisions else scale
        return np.asarray(0.5 * ((residual / room) ** 2 / own + np.log(2 * math.pi * own)))


def _check(m: MemoryMap) -> None:
    d = m.provenance.description
    linear = d.likelihood == "Gaussian" and d.posterior == "exact Gaussian" and d.prior.startswith("none")
    if not (linear and m.provenance.outputs == 1 and d.dispersion_estimated and d.residual_df is not None):
        raise TypeError(
            f"{d.model} ({d.likelihood}, {m.provenance.outputs} output(s), prior {d.prior}): the scale without an "
            "example has a closed form for unpenalised least squares with one target only. Use the column loo_loss, "
            "which holds the scale at its value"
        )
