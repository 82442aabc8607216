"""What scikit-learn's estimators have learned and were told, for the fingerprint of a map's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.tree._tree import Tree

from memorymaps.posteriors.model_state import parameters_of


@parameters_of.register(BaseEstimator)
def _estimator(model: Any) -> dict[str, Any]:
    """Of estimators that are cloned before they are fitted only what they were told: their owner may fit them, too."""
    attributes = vars(model)
    cloned = {name: value for name, value in attributes.items() if _is_cloned(name, value, attributes)}
    rest = {name: value for name, value in attributes.items() if name not in cloned}
    return parameters_of_attributes(rest) | {name: _settings(value) for name, value in cloned.items()}


def _is_cloned(name: str, value: Any, attributes: Mapping[str, Any]) -> bool:
    fitted = (f"{name}_", f"best_{name}_", f"{name}s_")
    return isinstance(value, BaseEstimator) and any(each in attributes for each in fitted)


def _settings(model: BaseEstimator) -> dict[str, Any]:
    plain = (bool, int, float, str, np.generic, np.ndarray)
    return {name: value for name, value in model.get_params().items() if isinstance(value, plain)}


def parameters_of_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes that are numbers, texts, arrays, or estimators, trees and kernels."""
    found = {name: _plain(value) for name, value in attributes.items() if not name.startswith("__")}
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    """Arrays, numbers, texts, and estimators among them; None for anything else."""
    if isinstance(value, (bool, int, float, str, np.generic)):
        return value
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, BaseEstimator) or (hasattr(value, "get_params") and hasattr(value, "predict")):
        return parameters_of(value)
    if isinstance(value, Tree):
        return {"value": value.value, "threshold": value.threshold, "feature": value.feature}
    if sparse.issparse(value):
        return {"data": value.data, "shape": str(value.shape)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "theta") and hasattr(value, "get_params"):  # a kernel of a Gaussian process
        return repr(value)
    return None


def _of_array(value: np.ndarray[Any, Any]) -> Any:
    return [_plain(each) for each in value.ravel()] if value.dtype == object else value
