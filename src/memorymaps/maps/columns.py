"""From what leaving examples out does to the columns of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.estimators import Perturbation, loo_loss, memorization
from memorymaps.core.perturbation.local import Local
from memorymaps.core.perturbation.sketched import Sketched
from memorymaps.posteriors.contract import Description

_WIDE = 100  # outputs up to which a map keeps a column for each of them


def columns_of(at: Local | Sketched, effect: Perturbation, description: Description) -> dict[str, Array]:
    """One batch's rows, in the order of `maps.COLUMNS`; ids and rows are the caller's."""
    mean, residual = at.likelihood.mean(at.f), at.likelihood.residual(at.f, at.y)
    loss, without = at.likelihood.example_loss(at.f, at.y, at.weight), loo_loss(at, effect.deviation)
    loo_mean = mean + effect.change
    labels = _Labels(at.likelihood, description)
    columns = {
        "target": labels.targets(at.y),
        "prediction": labels.predictions(mean),
        "error": np.linalg.vector_norm(residual, axis=-1),
        "leverage": effect.leverage,
        "sensitivity": effect.sensitivity,
        "loss": loss,
        "loo_loss": without,
        "loo_prediction": labels.predictions(loo_mean),
        "memorization": memorization(loss, without),
        "weight": at.weight,
        "leverage_norm": effect.leverage_norm,
        "output_sensitivity": effect.output_sensitivity,
        "warning": np.asarray(effect.warning, dtype=np.int8),
    }
    if at.f.shape[1] <= _WIDE:
        columns |= {"output": at.f, "deviation": effect.deviation, "residual": residual}
        columns |= _by_outputs(at, mean, loo_mean)
    return {name: values for name, values in columns.items() if values is not None}


def _by_outputs(at: Local | Sketched, mean: Array, loo_mean: Array) -> dict[str, Array]:
    if at.f.shape[1] > 1:
        return {"mean": mean, "loo_mean": loo_mean}
    scale = np.sqrt(at.weight[:, None] * at.likelihood.fisher_diagonal(at.f, at.y))
    return {"standardised_error": np.divide(at.error, scale, out=np.zeros_like(scale), where=scale > 0)}


@dataclass(frozen=True)
class _Labels:
    """Class numbers back to the user's labels, means to predictions."""

    likelihood: Likelihood
    description: Description

    def targets(self, y: Array) -> Array:
        classes = self.description.classes
        return np.asarray(classes)[y.astype(np.intp)] if classes else y

    def predictions(self, mean: Array) -> Array:
        decided, classes = self.likelihood.predict_target(mean), self.description.classes
        if not classes:
            return decided
        second = decided[:, 0] > 0.5 if decided.ndim == 2 else decided  # a probability of the second class
        return np.asarray(classes)[np.asarray(second, dtype=np.intp)]


def record_of(columns: dict[str, Array]) -> pa.RecordBatch:
    """Columns as Arrow, several outputs as lists of fixed length."""
    arrays = {name: _arrow(np.asarray(values)) for name, values in columns.items()}
    return pa.RecordBatch.from_pydict(arrays)


def _arrow(values: Array) -> pa.Array:
    if values.ndim == 1:  # text by way of Python: pyarrow cuts NumPy's text at a null character
        return pa.array(values.tolist() if values.dtype.kind == "U" else values)
    if values.shape[1] == 1:
        return pa.array(values[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
