"""Training data of tree ensembles in memory: leaves, targets, weights, and the library's outputs for comparison."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import DataError, Examples
from memorymaps.posteriors.registry import UnsupportedModelError

_NO_OTHERS = 1e-9  # weight of the others in a leaf that is rounding
_CHECKED_EXAMPLES = 4_096  # number of examples whose recomputed outputs are compared with the library's


@dataclass(frozen=True)
class TrainingLeaves:
    """Leaf labels `[n, …]` of the library, targets, weights `[n]`, and the library's outputs at the examples `rows`."""

    leaves: Array
    target: Array
    weight: Array
    rows: Array
    outputs: Array

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.weight)


def collect_training_leaves(
    examples: Examples, leaves: Callable[[Any], Array], outputs: Callable[[Any, Array], Array]
) -> TrainingLeaves:
    """Collect leaves, targets and weights in one pass; outputs (by inputs and leaves) of at most 4,096 examples.

    Raises
    ------
    DataError
        An offset: the libraries do not store it for prediction.
    """
    parts = []
    for batch in examples:
        if batch.offset is not None:
            raise DataError("tree ensembles are not supported with an offset (init_score, base_margin): leave it out")
        weight = np.ones(len(batch)) if batch.weight is None else np.asarray(batch.weight, dtype=float)
        parts.append((np.asarray(leaves(batch.inputs.inputs)), np.asarray(batch.target), weight))
    labels, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    n = len(labels)
    rows = np.unique(np.linspace(0, n - 1, min(n, _CHECKED_EXAMPLES)).astype(np.int64))
    predicted = np.asarray(outputs(examples.take(rows).inputs.inputs, labels[rows]), dtype=float)
    return TrainingLeaves(labels, target, weight, rows, predicted)


def votes_of_others(leaves: Array, codes: Array, weight: Array, classes: int, counts: Array | None = None) -> Array:
    """Shares of the classes among the other examples in the same leaves, averaged over trees: `[n, classes]`.

    `leaves [n, T]` numbered from 0, class numbers and weights `[n]`; `counts [n, T]`: for which trees, default all. NaN
    for an example that has no other one in any of its leaves.

    Examples
    --------
    >>> votes_of_others(np.array([[0], [0], [0], [1]]), np.array([0, 1, 1, 0]), np.ones(4), 2)
    array([[0. , 1. ],
           [0.5, 0.5],
           [0.5, 0.5],
           [nan, nan]])
    """
    codes, rows = np.asarray(codes).astype(np.intp), np.arange(len(codes))
    total, trees = np.zeros((len(codes), classes)), np.zeros((len(codes), 1))
    for t, leaf in enumerate(leaves.T):
        in_leaf = np.bincount(leaf.astype(np.intp) * classes + codes, weight, (int(leaf.max()) + 1) * classes)
        others = in_leaf.reshape(-1, classes)[leaf]
        others[rows, codes] -= weight
        size = others.sum(axis=1, keepdims=True)
        known = size > _NO_OTHERS
        known &= True if counts is None else counts[:, t, None]
        total += np.divide(others, size, out=np.zeros_like(others), where=known)
        trees += known
    return np.divide(total, trees, out=np.full_like(total, np.nan), where=trees > 0)


def consecutive_indices(leaves: Array) -> Array:
    """Leaf labels of each tree replaced by indices from 0 without gaps, `[n, …]`."""
    table = leaves.reshape(len(leaves), -1).astype(np.int32, order="F")
    indices = np.empty(table.shape, dtype=np.int32, order="F")
    for t, column in enumerate(table.T):
        present = np.bincount(column) > 0
        indices[:, t] = (np.cumsum(present) - 1)[column]
    return indices.reshape(leaves.shape)


def check_reproduced(name: str, f: Array, outputs: Array, tolerance: float) -> None:
    """Raise unless the outputs recomputed from the targets equal the library's outputs.

    Raises
    ------
    UnsupportedModelError
        They differ: other training data, or a training procedure that leaves alone do not determine.
    """
    gap = float(np.max(np.abs(f - outputs.reshape(f.shape))))
    allowed = tolerance * (1 + float(np.max(np.abs(outputs))))
    if not gap <= allowed:
        raise UnsupportedModelError(
            f"{name}: leaf values computed from these targets differ from the model's predictions by {gap:.2g} "
            f"(allowed: {allowed:.1g}). Pass exactly the examples, in their order, and the sample_weight that it was "
            "trained with. If they are: training used what leaves alone do not determine (row subsampling, DART, "
            "GOSS, L1, path smoothing, constraints, a changed learning rate, a custom objective, "
            "linear leaves): refit without it"
        )


def check_amount(name: str, weight: Array, rows: int | None = None, total: float | None = None) -> None:
    """Raise unless there is as much data as in the fit: its number of `rows`, its `total` weight, where known.

    Rows of `weight [n]` 0 may count as rows of the fit or not. Repeated rows leave leaf values without a ridge as they
    are: only their number tells.

    Raises
    ------
    DataError
        More or fewer rows, or another sum of weights.
    """
    given = int(np.count_nonzero(weight))
    if rows is not None and not given <= rows <= len(weight):
        raise DataError(
            f"{name}: not those of the fit: rows: it was trained on {rows}, {given} were given. Pass the rows of the "
            "fit, each once and no others"
        )
    if total is not None and not np.isclose(total, np.sum(weight), rtol=1e-3):
        raise DataError(
            f"{name}: not those of the fit: rows or weights: its weights sum to {total:.6g}, those given to "
            f"{np.sum(weight):.6g}. Pass the rows of the fit, each once, and sample_weight as fit got it"
        )


@dataclass(frozen=True)
class HalfSquaredError(Gaussian):
    """Half the squared error: the loss of a model that fits every example exactly, whose noise cannot be estimated."""

    @property
    def is_density(self) -> bool:
        """No: the variance of the noise is unknown."""
        return False

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        return 0.5 * (f - y) ** 2


def noise_model(residual: Array, target: Array, weight: Array, effective: float) -> Gaussian:
    """`Gaussian` with Pearson's estimate of the dispersion, `Σ w r² / (n − tr H)`, one number or one for each output.

    `HalfSquaredError` where every example is fitted exactly. Arrays `[n, c]`, weights `[n]`.

    Raises
    ------
    DataError
        One example, or targets that are all the same.
    """
    present = target[weight > 0]
    if np.any(np.ptp(present, axis=0) == 0):
        raise DataError(
            f"{len(present)} examples with a target that is always {present[0].tolist()}: every example is fitted "
            "exactly and there is nothing to leave out. Expected examples with different targets"
        )
    df = len(present) - effective
    phi = weight @ residual**2 / max(df, 1e-300)
    if df < 1e-6 or not np.all(phi > 1e-24 * np.var(present, axis=0)):
        return HalfSquaredError()
    return Gaussian(float(phi[0]) if len(phi) == 1 else tuple(phi.tolist()))


def dispersion_of(likelihood: Likelihood) -> float | tuple[float, ...] | None:
    """The estimate of the noise variance; `None` for other likelihoods and where there is none."""
    if isinstance(likelihood, HalfSquaredError) or not isinstance(likelihood, Gaussian):
        return None
    return likelihood.dispersion


def weight_positives(examples: Examples, factor: float) -> Examples:
    """Examples with the weights of positive targets times `factor`: `scale_pos_weight` of LightGBM, XGBoost."""
    return examples if factor == 1 else examples.map(functools.partial(_with_weighted_positives, factor))


def _with_weighted_positives(factor: float, batch: Batch) -> Batch:
    weight = np.ones(len(batch)) if batch.weight is None else batch.weight
    return dataclasses.replace(batch, weight=np.where(np.asarray(batch.target) == 1, factor, 1.0) * weight)
