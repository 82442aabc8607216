"""Does the map's model say what the model itself says? Its own predictions, where it makes them, for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import LazyDispatch, UnsupportedModelError

_RELATIVE = 1e-4  # of the range of the outputs: float32 predictions of large features lose this much
_ROUNDING = 1e-5  # of their size


@dataclass(frozen=True)
class AdapterOutputs:
    """What an adapter made of a model at some examples.

    Attributes
    ----------
    batch : the examples, with their inputs as the model takes them.
    rows : `[n]`, their positions in the training data.
    f : `[n, c]`, the posterior's outputs, without an offset that was passed to `memory_map`.
    total : `[n, c]`, the same with the examples' offsets.
    """

    batch: Batch
    rows: Array
    f: Array
    total: Array
    likelihood: Likelihood
    description: Description


@dataclass(frozen=True)
class Comparand:
    """The same quantity twice: `own [n, …]` by the model's method `name`, `adapted` by the adapter."""

    name: str
    own: Array
    adapted: Array


@LazyDispatch
def own_predictions(model: Any, seen: AdapterOutputs) -> Any:
    """Comparands at these examples, for kinds of models that make predictions themselves; none by default."""
    return ()


def check_reproduction(model: Any, seen: AdapterOutputs) -> None:
    """Raise `UnsupportedModelError` if the adapter's outputs are not the model's own predictions."""
    for pair in own_predictions(model, seen):
        own, adapted = _columns(pair.own), _columns(pair.adapted)
        if own.shape != adapted.shape:
            _refuse(model, pair.name, f"its shape is {own.shape}, the adapter's {adapted.shape}")
        if own.dtype.kind not in "biuf" or adapted.dtype.kind not in "biuf":
            _compare_labels(model, pair.name, own, adapted, seen)
        else:
            _compare_numbers(model, pair.name, own.astype(float), adapted.astype(float), seen)


def _columns(values: Any) -> Array:
    array = np.asarray(values)
    return array.reshape(len(array), -1)


def _compare_labels(model: Any, name: str, own: Array, adapted: Array, seen: AdapterOutputs) -> None:
    wrong = np.flatnonzero(np.any(own != adapted, axis=1))
    if len(wrong):
        row = wrong[0]
        _refuse(model, name, f"example {_id(seen, row)}: {own[row].tolist()}, by the adapter {adapted[row].tolist()}")


def _compare_numbers(model: Any, name: str, own: Array, adapted: Array, seen: AdapterOutputs) -> None:
    low, high = (adapted.min(), adapted.max()) if adapted.size else (0.0, 0.0)
    allowed = _RELATIVE * (high - low) + _ROUNDING * max(abs(low), abs(high)) + 1e-12
    gap = np.abs(own - adapted)
    if gap.size == 0 or gap.max() <= allowed:  # a NaN is not
        return
    gap = gap.max(axis=1)
    row = int(np.argmax(np.where(np.isfinite(gap), gap, np.inf)))
    _refuse(
        model, name,
        f"example {_id(seen, row)}: {_text(own[row])}, by the adapter {_text(adapted[row])} (allowed difference: "
        f"{allowed:.1g})",
    )  # fmt: skip


def _id(seen: AdapterOutputs, row: int) -> str:
    return repr(seen.batch.ids[row : row + 1].tolist()[0])


def _text(values: Array) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:3])
    return f"{shown}, …" if len(values) > 3 else shown


def _refuse(model: Any, name: str, difference: str) -> None:
    kind = type(model)
    raise UnsupportedModelError(
        f"{kind.__name__}.{name} is not what the adapter of {_parent(kind)} makes of its parameters: {difference}. "
        "Parameters or data that were changed after the fit: fit again. A class with predictions of its own: add its "
        f"posterior, @memorymaps.posterior.register({kind.__name__})"
    )


def _parent(kind: type) -> str:
    """The nearest ancestor that comes from a library."""
    libraries = ("sklearn", "statsmodels", "xgboost", "lightgbm", "catboost", "torch", "gpytorch")
    found = (each.__name__ for each in kind.__mro__ if each.__module__.partition(".")[0] in libraries)
    return next(found, kind.__name__)
