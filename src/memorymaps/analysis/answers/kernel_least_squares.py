"""Least squares on class indicators with a model's own kernel, each example left out in closed form.

    f_{−i} = y_i − a_i/M_ii,    (a, b) the solution of  [[K + λI, 1], [1ᵀ, 0]] (a, b) = (Y, 0),   M its inverse

`Y` is ±1, one column a class. Source: Cawley & Talbot 2004, of least-squares support vector machines [Suykens &
Vandewalle 1999].
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.capabilities import ModelKernel, capabilities_of
from memorymaps.posteriors.origin import Origin

_MOST = 5_000  # examples: the kernel has n² numbers and its inverse takes n³ operations
_MOST_NUMBERS = 500_000_000  # of gradients that are held at once
_SHARPNESS = (-3.0, 5.0)  # range of log 1/τ


def affordable_kernel(m: MemoryMap) -> ModelKernel | None:
    """The model's kernel where it has one for which there is time and memory."""
    if m.origin is None or m["target"].ndim != 1:
        return None
    kernel, n = capabilities_of(m.origin.posterior).kernel, m.provenance.n
    return kernel if kernel is not None and n <= _MOST and n * kernel.numbers <= _MOST_NUMBERS else None


def left_out_outputs(kernel: ModelKernel, origin: Origin, classes: int) -> tuple[Array, Array]:
    """Class numbers `[n]` and left-out outputs `[n, classes]` of all training examples."""
    data = origin.examples.take(np.arange(len(origin.examples)))
    codes = np.asarray(data.target).astype(np.intp)
    return codes, least_squares_left_out(kernel.gram(data.inputs), codes, kernel.ridge, classes)


def least_squares_left_out(gram: Array, codes: Array, ridge: float, classes: int) -> Array:
    """`f_{−i} [n, classes]` for the kernel matrix `[n, n]`.

    Examples
    --------
    >>> least_squares_left_out(np.eye(3), np.array([0, 0, 1]), 1.0, 2).round(6).tolist()
    [[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]]
    """
    target, ones = 2.0 * np.eye(classes)[codes] - 1, np.ones(len(codes))
    factor = cho_factor(gram + ridge * np.eye(len(codes)))
    inverse = cho_solve(factor, np.eye(len(codes)))
    row = inverse @ ones
    a = inverse @ target - np.outer(row, row @ target) / row.sum()
    return np.asarray(target - a / (np.diagonal(inverse) - row**2 / row.sum())[:, None])


def tempered(f: Array, codes: Array) -> Array:
    """`log softmax(f/τ) [n, c]` of left-out outputs, `τ` by the maximum of the given classes' likelihood.

    Temperature scaling [Guo et al. 2017] by left-out instead of held-out outputs.

    Examples
    --------
    >>> f = np.array([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    >>> np.exp(tempered(f, np.array([0, 0, 1, 1]))).round(3)[0].tolist()
    [0.75, 0.25]
    """
    rows = np.arange(len(f))

    def loss(sharpness: float) -> float:
        return -float(np.mean(log_softmax(f * np.exp(sharpness), axis=1)[rows, codes]))

    best = minimize_scalar(loss, bounds=_SHARPNESS, method="bounded").x
    return np.asarray(log_softmax(f * np.exp(best), axis=1))
