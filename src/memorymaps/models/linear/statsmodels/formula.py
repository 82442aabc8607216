"""Designs of statsmodels' results: columns by name, and from the variables of a formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from memorymaps.data.examples import DataError
from memorymaps.models.linear.design_matrix import Design


def design_of(model: Any, names: tuple[str, ...]) -> Design:
    """The design of a statsmodels model with columns `names`, found by name if it was made of a data frame."""
    data = model.data
    spec = getattr(data, "design_info", None) or getattr(data, "model_spec", None)  # before and from statsmodels 0.15
    variables = None if spec is None else FormulaColumns(str(getattr(model, "formula", "")), spec)
    return Design(names, intercept=False, named=hasattr(data.orig_exog, "columns"), from_variables=variables)


@dataclass(frozen=True)
class FormulaColumns:
    """A formula's design matrix of a data frame of its variables; equal to statsmodels' `predict(transform=True)`.

    `spec` is patsy's `DesignInfo` or formulaic's `ModelSpec`: it remembers levels, and the data that centring and
    splines were fitted to.
    """

    formula: str
    spec: Any

    def __call__(self, frame: Any) -> pd.DataFrame:
        """The design `[n, p]` with its columns' names.

        Raises
        ------
        DataError
            The frame lacks a variable, or has a level or a missing value that the fit had not.
        """
        try:
            x = self._matrix(frame)
        except Exception as error:  # a formula is code of the user's, and may raise anything
            raise DataError(
                f"the formula {self.formula!r} cannot be applied to these inputs: {error}. Pass a data frame with its "
                f"variables and levels, or the design's columns, {list(self.spec.column_names)}"
            ) from error
        if len(x) != len(frame):
            raise DataError(f"{len(frame) - len(x)} row(s) have missing values: drop or impute them")
        return x

    def _matrix(self, frame: Any) -> pd.DataFrame:
        if hasattr(self.spec, "get_model_matrix"):
            return pd.DataFrame(self.spec.get_model_matrix(frame), columns=list(self.spec.column_names))
        import patsy  # the formula was made with it

        (x,) = patsy.build_design_matrices([self.spec], frame, NA_action="raise")
        return pd.DataFrame(x, columns=self.spec.column_names)
