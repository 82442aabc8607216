"""Conversion of inputs (arrays, data frames, sparse matrices) to a finite design matrix with named columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError

INTERCEPT = "(Intercept)"


@dataclass(frozen=True)
class Design:
    """The design of a fitted model: checks inputs, orders columns as in training, prepends ones for an intercept.

    `named`: the model was fitted on a data frame, and the columns of one are found by name. `from_variables` makes
    such a data frame from one of the variables of a formula.
    """

    features: tuple[str, ...]
    intercept: bool
    named: bool
    from_variables: Callable[[Any], Any] | None = None

    @classmethod
    def of_estimator(cls, model: Any, intercept: bool = False) -> Design:
        """The design of a fitted scikit-learn estimator."""
        named = hasattr(model, "feature_names_in_")
        features = model.feature_names_in_ if named else [f"x{j}" for j in range(model.n_features_in_)]
        return cls(tuple(map(str, features)), intercept, named)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the design's columns."""
        return (INTERCEPT, *self.features) if self.intercept else self.features

    def __getstate__(self) -> dict[str, Any]:
        """Without the formula, whose specification cannot be pickled: other processes take the design's columns."""
        return {**vars(self), "from_variables": None}

    def __call__(self, inputs: Any) -> Array:
        """The design matrix `x [n, p]`, float64.

        Raises
        ------
        DataError
            Non-numeric columns, another number of features, missing columns, NaN or infinite values.
        """
        x = _matrix(self.ordered(inputs))
        self._check_shape(x)
        _check_finite(x, self.features)
        return _with_ones(x) if self.intercept else x

    def ordered(self, inputs: Any) -> Any:
        """A data frame with the columns of the fit, in their order; other inputs unchanged.

        Raises
        ------
        DataError
            Missing columns.
        """
        columns = getattr(inputs, "columns", None)
        if columns is None or not self.named or _texts(columns) == self.features:
            return inputs
        missing = [name for name in self.features if name not in set(_texts(columns))]
        if missing and self.from_variables is not None:
            return self.from_variables(inputs)[list(self.features)]
        if missing:
            raise DataError(f"the inputs lack columns the model was fitted on, {missing}: pass those of the fit")
        places = dict(zip(_texts(columns), columns, strict=True))
        return inputs[[places[name] for name in self.features]]

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
        _refuse_complex(inputs)
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


def _texts(columns: Any) -> tuple[str, ...]:
    return tuple(map(str, columns))


def _matrix(inputs: Any) -> Array:
    if hasattr(inputs, "toarray"):
        inputs = inputs.toarray()
    _refuse_complex(inputs)
    try:
        return np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"non-numeric inputs{_non_numeric_columns(inputs)}: encode them first, for instance with scikit-learn's "
            "OneHotEncoder in a Pipeline"
        ) from error


def _refuse_complex(inputs: Any) -> None:
    kinds = [inputs.dtype] if hasattr(inputs, "dtype") else list(getattr(inputs, "dtypes", ()))
    if any(getattr(kind, "kind", "") == "c" for kind in kinds):
        raise DataError("complex inputs: expected real numbers. Pass real and imaginary parts as columns of the fit")


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
