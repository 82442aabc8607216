"""What rounding may change in the map of a kernel model with Gaussian noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dpocon

from memorymaps.core.arrays import Array
from memorymaps.core.rounding_error import STATED, WARNED, stated
from memorymaps.data.examples import DataError
from memorymaps.models.kernels.gram_posterior import KernelOutput

_SAFETY, _DRAWS = 2.0, 2  # times the change by random numbers, of so many draws: above all errors that were measured


@dataclass(frozen=True)
class Rounding:
    """The condition number `κ` of `K + Λ⁻¹`, and the relative error that rounding may cause.

    `ε κ` where that is too small to be stated. It is a bound, often a hundred times too large: otherwise the error is
    twice what changes leverages or deviations when `K` is changed by random numbers of the size of rounding.
    """

    condition: float
    error: float

    @classmethod
    def of(cls, parts: Sequence[KernelOutput], epsilon: float) -> Rounding:
        """The largest of some outputs, of models that compute with the relative accuracy `epsilon`."""
        condition = max(map(condition_number, parts))
        if epsilon * condition < STATED:
            return cls(condition, epsilon * condition)
        return cls(condition, _SAFETY * max(change_by_rounding(part, epsilon) for part in parts))

    @property
    def stated(self) -> float | None:
        """The relative error; None where it is too small to be of interest."""
        return stated(self.error)

    def cautions(self, added: str, remedy: str) -> tuple[str, ...]:
        """A sentence that says to fit with `remedy`, where the error is not small; `added` is what `K` has added."""
        if self.error < WARNED:
            return ()
        size = f"by {self.error:.0%}" if self.error < 1 else "by more than their size"
        return (
            f"The kernel matrix plus {added} has condition number {self.condition:.0e}: rounding may change the "
            f"figures {size}. Fit with {remedy}",
        )


def condition_number(part: KernelOutput) -> float:
    """Condition number in the 1-norm of `I + √Λ K √Λ = LLᵀ`, scaled to a diagonal of ones; by LAPACK's `dpocon`.

    Rounding errors of Cholesky's method do not depend on the scales of rows [Demmel 1989].
    """
    factor, rows = part.conditional.cholesky_factor, part.conditional.rows
    length = np.linalg.norm(factor, axis=1)
    size = part.conditional.sqrt_curvature / length
    columns = np.abs(part.gram[np.ix_(rows, rows)]).T @ size * size + 1 / length**2  # as if all of K were positive
    reciprocal = float(dpocon(np.asfortranarray(factor / length[:, None]), np.max(columns, initial=0.0), uplo="L")[0])
    return 1 / reciprocal if reciprocal > 0 else np.inf


def change_by_rounding(part: KernelOutput, epsilon: float) -> float:
    """Relative change of leverages, or of deviations if larger, for relative changes `ε` of `K`: infinite at worst.

    Root mean square of `_DRAWS` symmetric random changes `ε √(k_ii k_jj) z_ij`, `z` standard normal.
    """
    random, size = np.random.default_rng(0), np.sqrt(np.abs(np.diagonal(part.gram)))
    found = []
    for _ in range(_DRAWS):
        z = np.triu(random.standard_normal(part.gram.shape))
        change = epsilon * size[:, None] * (z + np.triu(z, 1).T) * size
        try:
            found.append(_relative_change(part, change))
        except DataError:  # no longer positive definite
            return np.inf
    return float(np.sqrt(np.mean(np.square(found))))


def _relative_change(part: KernelOutput, change: Array) -> float:
    """Of leverages `h` or deviations `V e/(1 − h)`, in the norm over all examples, when `K` changes to `K + change`."""
    rows, other = part.conditional.rows, dataclasses.replace(part, gram=part.gram + change)
    error, root = np.asarray(part.error)[rows], part.conditional.sqrt_curvature
    moved = -change[np.ix_(rows, rows)] @ error * root
    moved = root * cho_solve((other.conditional.cholesky_factor, True), moved)  # (K + change + Λ⁻¹)⁻¹ of what is added
    pairs = (
        (part.conditional.remaining, other.conditional.remaining, 1 - part.conditional.remaining),
        (part.cavity_variance[rows] * error, other.cavity_variance[rows] * (error + moved), None),
    )
    return max(
        float(np.linalg.norm(after - before) / np.linalg.norm(before if size is None else size))
        for before, after, size in pairs
    )
