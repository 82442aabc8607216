"""Are targets, weights, penalty and rows those that a kernel machine was fitted with? Its dual variables tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError
from memorymaps.posteriors.fit_evidence import association

_SOLVED = 1e-6  # relative residual of a linear system that counts as solved
_CONSTANT = 1e-3  # relative spread of ratios that are one number
_FAR = 1.0  # posterior standard deviations from which unrelated targets are looked for


def refuse_fit(model: Any, reason: str) -> DataError:
    """The error for data or hyperparameters that are not those of the fit."""
    return DataError(f"{type(model).__name__}: not those of the fit: {reason}")


# --- Gaussian processes and kernel ridge ------------------------------------------------------------------------------


def check_regression_fit(model: Any, gram: Array, noise: Array, y: Array) -> None:
    """Raise `DataError` unless `(K + noise) alpha_ = y_train_` and `y_train_` are these targets `[n, t]`."""
    stored = np.reshape(model.y_train_, y.shape)
    mean, scale = (np.asarray(getattr(model, name, default)) for name, default in (
        ("_y_train_mean", 0.0), ("_y_train_std", 1.0),
    ))  # fmt: skip
    given = (y - mean) / scale
    if not np.allclose(given, stored, rtol=_SOLVED, atol=_SOLVED * (1 + np.max(np.abs(stored)))):
        raise refuse_fit(model, "targets. Pass those of the fit, row by row in the order of the inputs")
    alpha = np.reshape(model.alpha_, y.shape)
    residual = gram @ alpha + noise[:, None] * alpha - stored
    size = np.max(np.abs(gram)) * np.sum(np.abs(alpha)) + np.max(np.abs(stored))
    if not np.max(np.abs(residual)) <= _SOLVED * size:
        raise refuse_fit(
            model, "penalty: kernel_ or alpha were changed after the fit. Set them back, or fit again with them"
        )


def check_ridge_fit(model: Any, gram: Array, alpha: Array, y: Array, weight: Array, weighted: bool) -> None:
    """Raise `DataError` unless `K a + α a/w = y` for the dual coefficients `a [n, t]` of kernel ridge."""
    rows = weight > 0
    a = np.reshape(model.dual_coef_, y.shape)[rows]
    rest = (y - gram @ np.reshape(model.dual_coef_, y.shape))[rows]
    expected = alpha * a / weight[rows, None]
    size = np.max(np.abs(gram)) * np.sum(np.abs(a)) + np.max(np.abs(y))
    if np.max(np.abs(rest - expected)) <= _SOLVED * size:
        return
    clear = np.abs(a) > 1e-3 * np.max(np.abs(a))
    unweighted, own = (rest / a)[clear], (rest * weight[rows, None] / a)[clear]
    if _is_constant(own):
        reason = f"penalty: the fit had alpha = {np.median(own):.4g}. Set alpha back, or fit again"
    elif weighted and _is_constant(unweighted):
        reason = "weights: the model was fitted without any. Leave sample_weight out, or fit with it"
    elif not weighted and np.all(unweighted > 0):
        reason = "weights: the fit had a sample_weight. Pass it to memory_map, too"
    else:
        reason = "targets or weights. Pass y and sample_weight exactly as to fit, or fit again"
    raise refuse_fit(model, reason)


def _is_constant(values: Array) -> bool:
    middle = float(np.median(values))
    return bool(middle > 0 and np.all(np.abs(values - middle) <= _CONSTANT * middle))


# --- support vector machines ------------------------------------------------------------------------------------------


def check_rows(model: Any, n: int) -> None:
    """Raise `DataError` unless the machine was fitted on `n` rows."""
    fitted = int(model.shape_fit_[0])
    if fitted != n:
        raise refuse_fit(model, f"rows: it was fitted on {fitted}, {n} were given. Pass the rows of the fit, no others")


def check_support(model: Any) -> None:
    """Raise `DataError` for a machine without support vectors."""
    if not len(model.support_):
        raise DataError(
            f"{type(model).__name__} has no support vectors: every target is within epsilon = {model.epsilon:.4g} of a "
            "constant, and no example has any influence. Fit again with a smaller epsilon"
        )


def check_labels(model: Any, y: Array) -> None:
    """Raise `DataError` unless `y`, of the support vectors, are the classes that libsvm keeps them by."""
    kept = np.repeat(np.arange(len(model.classes_)), model.n_support_)
    wrong = np.count_nonzero(kept != y)
    if wrong:
        raise refuse_fit(
            model,
            f"targets: {wrong} of {len(kept)} support vectors have other classes now. Pass those of the fit, row by "
            "row in the order of the inputs",
        )


def check_bounds(model: Any, duals: Array, weight: Array, weighted: bool, distance: float) -> None:
    """Raise `DataError` for dual variables above `C w`, or that all stop at another `C`."""
    alpha, cost = np.abs(duals), float(model.C)
    if np.any(alpha > cost * weight[:, None] * (1 + 1e-6)):
        also = "" if weighted else ", or pass the sample_weight of the fit to memory_map"
        raise refuse_fit(
            model,
            f"weights or C: dual variables reach {np.max(alpha / np.where(weight > 0, weight, np.nan)[:, None]):.4g} "
            f"times the weight, beyond C = {cost:.4g}. Set C back, fit again{also}",
        )
    ratio = alpha[weight > 0] / weight[weight > 0, None]
    top = float(np.max(ratio, initial=0.0))
    stopped = np.count_nonzero(ratio >= top * (1 - 1e-9))
    if distance >= _FAR and stopped > 2 and top < cost * (1 - 1e-6):
        raise refuse_fit(
            model,
            f"penalty: {stopped} dual variables stop at {top:.4g}, but C = {cost:.4g}. Set C back, or fit again",
        )


def check_related(model: Any, f: Array, y: Array, distance: float) -> None:
    """Raise `DataError` where the outputs `[n, 1]` of a machine far from its optimum have nothing to do with `y`."""
    if distance >= _FAR and association(f, y) < 2:
        raise refuse_fit(
            model, "targets: the model's outputs have nothing to do with them. Pass those of the fit, row by row"
        )


def margin_violation(margin: Array, alpha: Array, top: Array) -> Array:
    """How far margins `u = ± f` are from the optimality conditions of the hinge loss, all `[n, c]`."""
    low, high = np.maximum(1 - margin, 0.0), np.maximum(margin - 1, 0.0)
    return np.where(alpha <= 0, low, np.where(alpha >= top * (1 - 1e-9), high, np.abs(margin - 1)))


def tube_violation(residual: Array, duals: Array, top: Array, epsilon: float) -> Array:
    """How far residuals `y − f` are from the optimality conditions of the ε-insensitive loss, all `[n, c]`."""
    beyond = np.where(duals == 0, np.abs(residual), np.sign(duals) * residual) - epsilon
    inside, outside = np.maximum(beyond, 0.0), np.maximum(-beyond, 0.0)
    return np.where(duals == 0, inside, np.where(np.abs(duals) >= top * (1 - 1e-9), outside, np.abs(beyond)))


def violation_in_deviations(violation: Array, variance: Array, duals: Array, tolerance: float) -> float:
    """Root mean square of `violation/√V` over support vectors and those that should be: 0 for none."""
    support = (duals != 0) | (violation > tolerance)
    if not np.any(support):
        return 0.0
    return float(np.sqrt(np.mean(violation[support] ** 2 / np.maximum(variance[support], np.finfo(float).tiny))))
