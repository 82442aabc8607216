"""What rounding may change in the map of a kernel model with Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpocon

from memorymaps.core.arrays import Array
from memorymaps.models.kernels.gram_posterior import KernelOutput

_STATED = 1e-4  # relative errors below this are not stated
_WARNED = 1e-2  # and from this on they are warned of


@dataclass(frozen=True)
class Rounding:
    """The condition number `κ` of `K + Λ⁻¹`, and the relative error `ε κ` that rounding may cause."""

    condition: float
    error: float

    @classmethod
    def of(cls, parts: Sequence[KernelOutput], precision: Any) -> Rounding:
        """The largest of some outputs, whose dual coefficients were solved for in the floating point type `precision`."""
        factors = {id(part.gram): part.conditional.cholesky_factor for part in parts}
        condition = max(map(condition_number, [part.conditional.cholesky_factor for part in parts]))
        return cls(condition, float(np.finfo(precision).eps) * condition)

    @property
    def stated(self) -> float | None:
        """The relative error; None where it is too small to be of interest."""
        return self.error if self.error >= _STATED else None

    def cautions(self, remedy: str) -> tuple[str, ...]:
        """A sentence that says to fit with `remedy`, where the error is not small."""
        if self.error < _WARNED:
            return ()
        size = f"by {self.error:.0%}" if self.error < 1 else "by more than their size"
        return (
            f"The kernel matrix plus noise has condition number {self.condition:.0e}: rounding may change the figures "
            f"{size}. Fit with {remedy}",
        )


def condition_number(cholesky_factor: Array) -> float:
    """Condition number in the 1-norm of `LLᵀ`, scaled to a diagonal of ones; estimated by LAPACK's `dpocon`.

    Rounding errors of Cholesky's method do not depend on the scales of rows [Demmel 1989].
    """
    factor = cholesky_factor / np.linalg.norm(cholesky_factor, axis=1, keepdims=True)
    norm = np.linalg.norm(factor @ factor.T, 1)
    reciprocal = float(dpocon(np.asfortranarray(factor), norm, uplo="L")[0])
    return 1 / reciprocal if reciprocal > 0 else np.inf
