"""EKFAC's variances brought to the size of sampled curvature's, by a monotone fit on examples that have both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood

_HALVINGS = 60  # of the interval that a scale is found in
_WIDEST = 30.0  # |log t| of the scales that are tried
_LARGEST = 1e9  # of the eigenvalues of `tC`: leverages that round to their bound have no removal
_TINY = 1e-300


@dataclass(frozen=True)
class Calibration:
    """`log h ↦ log h'`, non-decreasing: linear between the points, parallel to the diagonal beyond them.

    `given [p]` ascending and `fitted [p]`, the isotonic regression; `spread` is the root mean square of what it leaves
    of `log h'` on examples that it was not fitted on.
    """

    given: Array
    fitted: Array
    spread: float

    @classmethod
    def of(cls, quick: Array, exact: Array) -> Calibration:
        """From leverages `[p]` of the same examples, drawn at random; its spread by two halves, each by the other."""
        found = cls._fit(quick, exact, float("nan"))
        even = np.arange(len(quick)) % 2 == 0
        left = [
            _log(exact[~part]) - cls._fit(quick[part], exact[part], 0.0).logarithms(_log(quick[~part]))
            for part in (even, ~even)
        ]
        return cls(found.given, found.fitted, float(np.sqrt(np.mean(np.concatenate(left) ** 2))))

    @classmethod
    def _fit(cls, quick: Array, exact: Array, spread: float) -> Calibration:
        order = np.argsort(quick, kind="stable")
        return cls(_log(quick)[order], isotonic_regression(_log(exact)[order]).x, spread)

    def logarithms(self, log_h: Array) -> Array:
        """`log h' [n]`."""
        inside = np.clip(log_h, self.given[0], self.given[-1])
        return np.interp(inside, self.given, self.fitted) + log_h - inside

    def __call__(self, h: Tensor) -> Tensor:
        """`h' [n]`; zero where `h` is."""
        found = np.exp(self.logarithms(_log(h.cpu().numpy())))
        return torch.where(h > 0, torch.as_tensor(found).to(h), 0.0)


def cavity_leverage(likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, variance: Tensor) -> Tensor:
    """`tr C(I + C)⁻¹ [n]`, `C = LᵀVL`, for `V` taken as the variance without the example: below its bound."""
    return _shrunk(_eigenvalues(likelihood, f, y, w, variance), torch.ones_like(w))


def calibrated(
    likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, variance: Tensor, calibration: Calibration
) -> Tensor:
    """Variances without each example, `tV [n, c, c]`, of which the leverage `tr tC(I + tC)⁻¹` is the calibrated one."""
    values = _eigenvalues(likelihood, f, y, w, variance)
    target = calibration(_shrunk(values, torch.ones_like(w)))
    low, high = torch.full_like(w, -_WIDEST), (_LARGEST / values.amax(1).clamp(min=_TINY)).log().clamp(max=_WIDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _shrunk(values, middle.exp()) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return variance * ((low + high) / 2).exp()[:, None, None]


def _eigenvalues(likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor, variance: Tensor) -> Tensor:
    root = w[:, None, None].sqrt() * likelihood.fisher_root(f, y)
    inside = torch.matmul(root.mT, torch.matmul(variance, root))
    return torch.linalg.eigvalsh((inside + inside.mT) / 2).clamp(min=0)


def _shrunk(values: Tensor, scale: Tensor) -> Tensor:
    scaled = values * scale[:, None]
    return (scaled / (1 + scaled)).sum(1)


def _log(h: Array) -> Array:
    return np.log(np.maximum(np.asarray(h, dtype=float), _TINY))
