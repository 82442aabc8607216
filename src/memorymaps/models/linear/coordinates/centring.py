"""Columns whose mean is many standard deviations from zero are centred, so that no digits are lost in `S`.

With an unpenalised constant column, `x'_j = x_j − (mean_j/v) x_0` is the same model in other coordinates: only the
constant's coefficient changes, `θ_0 = θ'_0 − Σ_j (mean_j/v) θ'_j`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.model import LinearModel

_FAR = 1e3  # standard deviations between a column's mean and zero from which it is centred
_SAMPLE = 1024  # rows that means and standard deviations are taken from


def centred(model: LinearModel, examples: Examples) -> LinearModel:
    """The model in centred columns where it has any that need it and a constant to centre them by; else itself."""
    x = model.design(examples.sample(_SAMPLE).inputs)
    mean, deviation = np.mean(x, axis=0), np.std(x, axis=0)
    varies = np.ptp(x, axis=0) > 0  # of equal values the deviation may be rounding
    constant = np.flatnonzero(~varies & (mean != 0) & _is_unpenalised(model))
    far = varies & (np.abs(mean) > _FAR * deviation)
    if not np.any(far) or not len(constant):
        return model
    place = int(constant[0])
    ratio = np.where(far, mean, 0.0) / mean[place]
    coefficients = model.coefficients.copy()
    coefficients[place] += ratio @ model.coefficients
    return dataclasses.replace(
        model,
        design=CentredDesign(model.design, place, ratio),
        coefficients=coefficients,
        to_original=ConstantShift(place, ratio),
    )


def _is_unpenalised(model: LinearModel) -> Array:
    """Whether a coefficient is free and without a penalty in each output that has free coefficients: `[p]`."""
    fixed_outputs = ~np.any(model.free, axis=0)
    penalty = model.penalty(1.0) + (0.0 if model.l1 is None else model.l1(1.0))
    return np.asarray(np.all((model.free & (penalty == 0)) | fixed_outputs, axis=1))


@dataclasses.dataclass(frozen=True)
class CentredDesign:
    """`x − x_0 ratio` of another design: `[n, p]`; `place`: position of the constant column."""

    design: Any
    place: int
    ratio: Array

    def __call__(self, inputs: Any) -> Array:
        """The centred design matrix."""
        x = self.design(inputs)
        return np.asarray(x - x[:, [self.place]] * self.ratio)

    def matmul(self, inputs: Any, right: Array) -> Array:
        """`x B [n, q]`."""
        return self(inputs) @ right

    def squared_matmul(self, inputs: Any, right: Array) -> Array:
        """`x² B [n, q]`."""
        return np.asarray(self(inputs) ** 2 @ right)


@dataclasses.dataclass(frozen=True)
class ConstantShift:
    """Coefficients (or changes of them) `[..., p, c]` of centred columns → of the original ones."""

    place: int
    ratio: Array

    def __call__(self, change: Array) -> Array:
        """The same model's coefficients for the original columns."""
        original = np.array(change)
        original[..., self.place, :] -= np.einsum("p,...pc->...c", self.ratio, change)
        return original
