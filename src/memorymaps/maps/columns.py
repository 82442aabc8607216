"""The columns of a map, from a batch's statistics and perturbation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.estimators import Perturbation, loo_loss, memorization
from memorymaps.core.perturbation.local import BatchStatistics, FullVariance
from memorymaps.core.perturbation.sketched import SketchedVariance
from memorymaps.posteriors.contract import Description

_MAX_OUTPUT_COLUMNS = 100  # largest number of outputs with columns per output


def columns_of(
    stats: FullVariance | SketchedVariance,
    effect: Perturbation,
    description: Description,
    left_out: BatchStatistics | None = None,
) -> dict[str, Array]:
    """Columns of one batch, in the order of `maps.table.COLUMNS`, without `id` and `row`.

    `left_out`: statistics with the likelihood of left-out predictions, where it is averaged over another variance.
    """
    mean, residual = stats.likelihood.mean(stats.f), stats.likelihood.residual(stats.f, stats.y)
    loss = stats.likelihood.example_loss(stats.f, stats.y, stats.weight)
    without = loo_loss(left_out or stats, effect.deviation)
    loo_mean = mean + effect.change
    labels = _Labels(stats.likelihood, description)
    columns = {
        "target": labels.targets(stats.y),
        "prediction": labels.predictions(mean),
        "error": np.linalg.vector_norm(residual, axis=-1),
        "leverage": effect.leverage,
        "sensitivity": effect.sensitivity,
        "loss": loss,
        "loo_loss": without,
        "loo_prediction": labels.predictions(loo_mean),
        "memorization": memorization(loss, without),
        "weight": stats.weight,
        "leverage_norm": effect.leverage_norm,
        "output_sensitivity": effect.output_sensitivity,
        "warning": np.asarray(effect.warning, dtype=np.int16),
    }
    if stats.f.shape[1] <= _MAX_OUTPUT_COLUMNS:
        columns |= {"output": stats.f, "deviation": effect.deviation, "residual": residual}
        columns |= _per_output_columns(stats, mean, loo_mean)
    return {name: values for name, values in columns.items() if values is not None}


def _per_output_columns(stats: FullVariance | SketchedVariance, mean: Array, loo_mean: Array) -> dict[str, Array]:
    if stats.f.shape[1] > 1:
        return {"mean": mean, "loo_mean": loo_mean}
    scale = np.sqrt(stats.weight[:, None] * stats.likelihood.fisher_diagonal(stats.f, stats.y))
    return {"standardised_error": np.divide(stats.error, scale, out=np.zeros_like(scale), where=scale > 0)}


@dataclass(frozen=True)
class _Labels:
    """Conversion of class numbers to the user's labels, and of means to predictions."""

    likelihood: Likelihood
    description: Description

    def targets(self, y: Array) -> Array:
        classes = self.description.classes
        return np.asarray(classes)[y.astype(np.intp)] if classes else y

    def predictions(self, mean: Array) -> Array:
        predicted, classes = self.likelihood.predict_target(mean), self.description.classes
        if not classes:
            return predicted
        codes = predicted[:, 0] > 0.5 if predicted.ndim == 2 else predicted  # 2-d: probability of the second class
        return np.asarray(classes)[np.asarray(codes, dtype=np.intp)]


def to_record_batch(columns: dict[str, Array]) -> pa.RecordBatch:
    """The columns as an Arrow record batch; columns of several outputs as lists of fixed length."""
    arrays = {name: _arrow(np.asarray(values)) for name, values in columns.items()}
    return pa.RecordBatch.from_pydict(arrays)


def _arrow(values: Array) -> pa.Array:
    if values.ndim == 1:  # as Python strings: pyarrow truncates NumPy strings at null characters
        return pa.array(values.tolist() if values.dtype.kind == "U" else values)
    size = math.prod(values.shape[1:])  # of pixels, all of them
    flat = pa.array(values.reshape(-1))
    return flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)
