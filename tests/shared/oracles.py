"""Brute force: what the library computes in closed form, done by refitting or with dense matrices."""

from __future__ import annotations

import numpy as np


def ridge_fit(x, y, weight, delta):
    """Minimum-norm solution of `Σ w (y − xᵀb)² + bᵀ diag(δ) b`."""
    rows = np.sqrt(weight)[:, None] * x
    return np.linalg.lstsq(
        np.vstack([rows, np.diag(np.sqrt(delta))]), np.r_[np.sqrt(weight) * y, np.zeros(len(delta))]
    )[0]


def left_out(x, y, weight, delta, rows):
    """Predictions for everybody from a fit without `rows`."""
    keep = np.setdiff1d(np.arange(len(y)), rows)
    return x @ ridge_fit(x[keep], y[keep], weight[keep], delta)


def dense_leverage(x, curvature, delta):
    """`tr(Λ_i V_i)` with `S = Σ Λ_i ⊗ x_i x_iᵀ + diag(δ)` formed and inverted; `Λ [n, c, c]`, `δ [c·p]`."""
    n, c, p = len(x), curvature.shape[1], x.shape[1]
    s = np.einsum("nab,np,nq->apbq", curvature, x, x).reshape(c * p, c * p) + np.diag(delta)
    inverse = np.linalg.pinv(s, rcond=1e-12).reshape(c, p, c, p)
    variance = np.einsum("np,apbq,nq->nab", x, inverse, x)
    return np.einsum("nab,nba->n", curvature, variance), variance.reshape(n, c, c)
