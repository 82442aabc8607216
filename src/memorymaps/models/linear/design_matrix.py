"""Conversion of inputs (arrays, data frames, sparse matrices) to a finite design matrix with named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError

INTERCEPT = "(Intercept)"


@dataclass(frozen=True)
class Design:
    """The design of a fitted model: checks inputs, orders columns as in training, prepends ones for an intercept."""

    features: tuple[str, ...]
    intercept: bool
    named: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the design's columns."""
        return (INTERCEPT, *self.features) if self.intercept else self.features

    def __call__(self, inputs: Any) -> Array:
        """The design matrix `x [n, p]`, float64.

        Raises
        ------
        DataError
            Non-numeric columns, another number of features, missing columns, NaN or infinite values.
        """
        x = _matrix(_in_order(inputs, self.features) if self.named else inputs)
        self._check_shape(x)
        _check_finite(x, self.features)
        return _with_ones(x) if self.intercept else x

    def matmul(self, inputs: Any, right: Array) -> Array:
        """`x B [n, q]` for `B [p, q]`, without a dense copy of sparse inputs."""
        x = self._as_sparse(inputs)
        return self(inputs) @ right if x is None else self._sparse_product(x, right)

    def squared_matmul(self, inputs: Any, right: Array) -> Array:
        """`x² B [n, q]`, with the squares of elements."""
        x = self._as_sparse(inputs)
        return self(inputs) ** 2 @ right if x is None else self._sparse_product(x.multiply(x), right)

    def _check_shape(self, x: Any) -> None:
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise DataError(
                f"inputs of shape {x.shape}: the model was fitted on (n, {len(self.features)}). Pass the columns of "
                "the fit, no others"
            )

    def _as_sparse(self, inputs: Any) -> Any:
        """Sparse inputs with the checks of dense ones; `None` for others."""
        if not hasattr(inputs, "toarray") or not hasattr(inputs, "multiply"):
            return None
        self._check_shape(inputs)
        if not np.all(np.isfinite(inputs.data)):
            _check_finite(inputs.toarray(), self.features)
        return inputs.tocsr()

    def _sparse_product(self, x: Any, right: Array) -> Array:
        return np.asarray(x @ right[1:] + right[0]) if self.intercept else np.asarray(x @ right)


def _with_ones(x: Array) -> Array:
    """Prepend a column of ones to `x`, keeping its memory order (a data frame's is column-major)."""
    out = np.empty((len(x), x.shape[1] + 1), order="F" if x.flags.f_contiguous else "C")
    out[:, 0] = 1.0
    out[:, 1:] = x
    return out


def _in_order(inputs: Any, features: Sequence[str]) -> Any:
    columns = getattr(inputs, "columns", None)
    if columns is None or list(columns) == list(features):
        return inputs
    missing = [name for name in features if name not in set(columns)]
    if missing:
        raise DataError(f"the inputs lack columns the model was fitted on, {missing}: pass those of the fit")
    return inputs[list(features)]


def _matrix(inputs: Any) -> Array:
    if hasattr(inputs, "toarray"):
        inputs = inputs.toarray()
    try:
        return np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"non-numeric inputs{_non_numeric_columns(inputs)}: encode them first, for instance with scikit-learn's "
            "OneHotEncoder in a Pipeline"
        ) from error


def _non_numeric_columns(inputs: Any) -> str:
    """Text that names the non-numeric columns of a data frame, empty for other inputs."""
    if not hasattr(inputs, "dtypes") or not hasattr(inputs, "columns"):
        return ""
    kinds = zip(inputs.columns, list(inputs.dtypes), strict=True)
    names = [str(name) for name, kind in kinds if getattr(kind, "kind", "O") not in "biuf"]
    return f" in column(s) {names}" if names else ""


def _check_finite(x: Array, features: Sequence[str]) -> None:
    # the sum is finite unless an element is not: one pass, no temporary of the size of x
    if np.isfinite(np.sum(x)) or np.all(np.isfinite(x)):
        return
    bad = ~np.isfinite(x)
    names = [str(features[j]) for j in np.flatnonzero(bad.any(axis=0))[:5]]
    row = int(np.flatnonzero(bad.any(axis=1))[0])
    raise DataError(f"NaN or infinite values in column(s) {names}, first in row {row} of its batch: drop or impute")
