"""Kernels and feature checks of scikit-learn's kernel machines, for dense and sparse inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils.validation import check_is_fitted

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.gather import gather_examples
from memorymaps.data.views import with_inputs
from memorymaps.models.kernels.gram_posterior import Kernel, KernelOutput
from memorymaps.models.linear.design_matrix import Design


def feature_map(model: Any) -> Callable[[Any], Any]:
    """A function that converts inputs for the model's kernel: sparse to CSR, all others to a finite float64 matrix.

    If the kernel is a function, inputs are passed unchanged.
    """
    if callable(model.kernel):
        return lambda inputs: inputs
    design = Design.of_estimator(model)
    return lambda inputs: inputs.tocsr() if issparse(inputs) else design(inputs)


def vector_inputs(model: Any) -> Callable[[Any], Any]:
    """A function that converts inputs for a Gaussian process's kernel: to a finite matrix, if it is one of vectors."""
    return Design.of_estimator(model) if model.kernel_.requires_vector_input else np.asarray


def kernel_function(model: Any, gamma: float | None) -> Kernel:
    """The kernel `k(x, x') [n, n']` of a model with parameters `kernel`, `degree`, `coef0`.

    Raises
    ------
    DataError
        A precomputed kernel, for which `k(x, x)` is not available.
    """
    if model.kernel == "precomputed":
        kind = "rows" if isinstance(model, KernelRidge) else "matrices"
        raise DataError(
            f"kernel='precomputed': k(x, x) of an example is not available. Fit with the kernel as a function of two "
            f"{kind}, {type(model).__name__}(kernel=lambda a, b: ...), and the inputs it was computed from"
        )
    if callable(model.kernel) and isinstance(model, KernelRidge):  # of two rows; those of libsvm are of two matrices
        return lambda a, b: np.asarray(pairwise_kernels(a, b, metric=model.kernel, **(model.kernel_params or {})))
    if callable(model.kernel):
        return lambda a, b: np.asarray(model.kernel(a, b), dtype=float)
    given = {"gamma": gamma, "degree": model.degree, "coef0": model.coef0}
    return lambda a, b: np.asarray(pairwise_kernels(a, b, metric=model.kernel, filter_params=True, **given))


def libsvm_gamma(model: Any, x: Any) -> float:
    """The number that `gamma` of an SVC or SVR stands for: `"scale"` is `1/(p Var x)`, `"auto"` is `1/p`."""
    if model.gamma == "auto":
        return 1.0 / float(x.shape[1])
    if model.gamma != "scale":
        return float(model.gamma)
    variance = x.multiply(x).mean() - x.mean() ** 2 if issparse(x) else x.var()
    return float(1 / (x.shape[1] * variance)) if variance > 0 else 1.0


def require_fitted(model: Any, attribute: str, examples: Examples | None) -> Examples:
    """Return the examples; raise unless the model is fitted and examples are given.

    Raises
    ------
    NotFittedError
        The model is not fitted.
    ValueError
        No examples given.
    """
    try:
        check_is_fitted(model, attribute)
    except NotFittedError as error:
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map") from error
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples


def gather_features(model: Any, examples: Examples) -> tuple[Batch, Array]:
    """All examples in one batch with converted inputs (`feature_map`), and their weights `[N]`."""
    data = gather_examples(examples.map(with_inputs(feature_map(model))))
    return data, np.ones(len(data)) if data.weight is None else data.weight


def with_raw_inputs(part: KernelOutput, features: Any) -> KernelOutput:
    """The output with a kernel that accepts raw inputs; `training_inputs` are converted already."""
    inner = part.kernel

    def kernel(a: Any, b: Any) -> Array:
        return inner(features(a), b if b is part.training_inputs else features(b))

    return dataclasses.replace(part, kernel=kernel)
