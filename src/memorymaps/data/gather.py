"""All training examples as one batch in memory, for models with a Gram matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples


def gather_examples(examples: Examples) -> Batch:
    """All examples as one batch.

    Raises
    ------
    DataError
        The examples have an offset, which kernel models do not support.
    """
    batches = list(examples)
    if any(batch.offset is not None for batch in batches):
        raise DataError("kernel models have no offset: fit the residuals instead, and map with those targets")
    if len(batches) == 1:
        return batches[0]
    return Batch(
        _concatenate_inputs([b.inputs for b in batches]),
        np.concatenate([b.target for b in batches]),
        np.concatenate([b.ids for b in batches]),
        None if batches[0].weight is None else np.concatenate([np.asarray(b.weight) for b in batches]),
    )


def _concatenate_inputs(parts: list[Any]) -> Any:
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts)
    if hasattr(parts[0], "tocsr"):
        from scipy.sparse import vstack

        return vstack(parts, format="csr")
    return np.concatenate([np.asarray(part) for part in parts])


def reweight_examples(examples: Examples, weight_factor: Callable[[Batch], Array]) -> Examples:
    """The examples in one batch, with weights multiplied by `weight_factor(batch) [n]`."""
    whole = gather_examples(examples)
    factor = weight_factor(whole)
    weight = factor if whole.weight is None else factor * whole.weight
    return ArrayExamples(dataclasses.replace(whole, weight=weight), max(len(whole), 1))


def check_training_data(inputs: Any, training_inputs: Any, model: str) -> None:
    """Raise `DataError` unless `inputs` equal the training inputs that the fitted model contains."""
    a = inputs.toarray() if hasattr(inputs, "toarray") else np.asarray(inputs)
    b = training_inputs.toarray() if hasattr(training_inputs, "toarray") else np.asarray(training_inputs)
    numeric = a.dtype.kind in "biuf" and b.dtype.kind in "biuf"
    same = a.shape == b.shape and (np.allclose(a, b, rtol=1e-6) if numeric else np.array_equal(a, b))
    if not same:
        raise DataError(f"these inputs are not those {model} was fitted on: pass the training data, in its order")
